"""A smooth fill of hidden cells, made on the pixels that a block transform stands for.

Pull and push over a pyramid (Gortler et al., "The Lumigraph", 1996, section 3.4), from the known pixels next to the border:
each scale continues the border, blurred along it the wider the further, and finer scales win where they reach.
"""

from typing import Any

import torch
from torch import nn
from torch.nn.functional import interpolate

from ...pixels.pull_push import fill_pixels
from ...plan.boxes import CELL
from .block_latent import decode_blocks, encode_blocks


class SmoothFill(nn.Module):
    """Fills the hidden cells of latents whose block transform it keeps under `blocks` [C, 3, 8, 8]."""

    blocks: torch.Tensor

    def __init__(self, channels: int, dtype: torch.dtype | None = None, device: Any = None):
        super().__init__()
        self.register_buffer("blocks", torch.zeros(channels, 3, CELL, CELL, dtype=dtype, device=device))

    def forward(self, latents: torch.Tensor, mask: torch.Tensor, frames: int) -> torch.Tensor:
        """Latents [(B F), C, H, W] with the cells of mask [(B F), 1, H, W] = 1 filled, float32.

        Frames without a known cell take those of the nearest frames; a clip without any stays 0.
        """
        latents, mask = latents.float(), mask.float()
        blocks = self.blocks.to(latents)
        with torch.autocast(latents.device.type, enabled=False):
            pixels = decode_blocks(blocks, latents * (1 - mask))
            hidden = interpolate(mask, scale_factor=CELL, mode="nearest")
            filled = encode_blocks(blocks, fill_pixels(pixels, hidden))
        present = (1 - mask).flatten(1).amax(1)
        filled = torch.where(mask > 0, filled * present[:, None, None, None], latents)
        return _borrow(filled.unflatten(0, (-1, frames)), present.unflatten(0, (-1, frames))).flatten(0, 1)


def _borrow(filled: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Frames [B, F, C, H, W] that are not `present` [B, F] become the mean of those that are, weighted by 1 / distance^2."""
    if present.all():
        return filled
    index = torch.arange(filled.shape[1], device=filled.device)
    distance = (index[:, None] - index[None]).abs().clamp(min=1)
    weight = present[:, None] / distance.square()  # B to from
    weight = weight / weight.sum(2, keepdim=True).clamp(min=1e-6)
    borrowed = torch.einsum("bij,bjchw->bichw", weight.to(filled), filled)
    return torch.where(present[..., None, None, None] > 0, filled, borrowed)
