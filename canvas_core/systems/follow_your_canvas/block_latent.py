"""Latents that are a linear transform of 8x8 blocks of pixels: one strided convolution there, its pseudo-inverse back."""

import torch
from torch.nn.functional import conv2d, conv_transpose2d

from ...plan.boxes import CELL


def encode_blocks(kernel: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
    """Frames [N, 3, H, W] 0..1 to latents [N, C, H / 8, W / 8]; kernel [C, 3, 8, 8]."""
    return conv2d(frames - 0.5, kernel.to(frames), stride=CELL)


def decode_blocks(kernel: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    """Frames [N, 3, H, W], about 0..1, that encode to latents [N, C, H / 8, W / 8] with the least energy."""
    inverse = torch.linalg.pinv(kernel.flatten(1)).T.unflatten(1, kernel.shape[1:])
    return conv_transpose2d(latents, inverse.to(latents), stride=CELL) + 0.5
