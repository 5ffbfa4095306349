"""A smooth fill of hidden cells, made on the pixels that a block transform stands for.

Pull and push over a pyramid (Gortler et al., "The Lumigraph", 1996, section 3.4), from the known pixels next to the border:
each scale continues the border, blurred along it the wider the further, and finer scales win where they reach.
"""

from typing import Any

import torch
from torch import nn
from torch.nn.functional import avg_pool2d, conv2d, interpolate, max_pool2d

from ..plan.boxes import CELL
from .block_latent import decode_blocks, encode_blocks

TAPS = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
"""Blur of every scale, in its own pixels."""

ENOUGH = 0.05
"""Blurred share of the border, a line one pixel wide of the finest scale, that makes a scale count fully."""

MEAN_REACH = 75.0
"""Pixel size at which a scale has given way to the mean colour by a factor of e."""


def fill_pixels(pixels: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """Pixels [N, C, H, W] with those of hidden [N, 1, H, W] = 1 continued from the others; where nothing is known, 0."""
    known = 1 - hidden
    border = known * max_pool2d(hidden, 3, stride=1, padding=1)
    level = torch.cat([pixels * border, border], dim=1)
    scales = []
    size = 1
    while True:
        values, weight = _blur(level).split([pixels.shape[1], 1], dim=1)
        trust = (weight * size / ENOUGH).clamp(max=1) * torch.exp(torch.tensor(-size / MEAN_REACH))
        scales.append((values / weight.clamp(min=1e-8), trust))
        if max(level.shape[-2:]) == 1:
            break
        level, size = avg_pool2d(level, 2, ceil_mode=True), 2 * size
    filled = (pixels * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True).clamp(min=1)
    for values, trust in reversed(scales):
        filled = torch.lerp(interpolate(filled, size=values.shape[-2:], mode="bilinear"), values, trust)
    return torch.where(known > 0, pixels, filled)


def _blur(x: torch.Tensor) -> torch.Tensor:
    """What lies outside counts as 0."""
    taps = torch.tensor(TAPS, device=x.device).expand(x.shape[1], 1, 1, -1)
    x = conv2d(x, taps, padding=(0, 2), groups=x.shape[1])
    return conv2d(x, taps.mT, padding=(2, 0), groups=x.shape[1])


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
