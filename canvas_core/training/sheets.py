"""Sample sheets: what the network makes of a few training clips while it learns."""

from collections.abc import Callable

import numpy as np
import torch

from ..models.block_latent import decode_blocks
from ..schedule import STEPS, rates

FEW = 6
"""Steps of the second sample."""

Predict = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""predict(noisy latents [(B F), C, h, w], time step [B]) -> clean latents."""


def sample_few(predict: Predict, noise: torch.Tensor, clips: int, steps: int) -> torch.Tensor:
    """Clean latents from noise [(B F), C, h, w] by DDIM (Song et al., 2021, equation 12 without noise), trailing steps."""
    x = noise
    times = torch.linspace(STEPS - 1, -1, steps + 1).round().clamp(min=0)
    for now, after in zip(times[:-1], times[1:], strict=True):
        clean = predict(x, now.expand(clips))
        signal, amount = rates(now)
        next_signal, next_amount = rates(after)
        x = next_signal * clean + next_amount * (x - signal * clean) / amount
    return clean


def draw_sheet(rows: list[torch.Tensor], kernel: torch.Tensor, frames: int) -> np.ndarray:
    """Latents [(B F), C, h, w] of each row, the first frame of every clip, as one picture [H, W, 3] uint8 RGB."""
    pictures = [decode_blocks(kernel, latents[::frames]).clamp(0, 1) for latents in rows]
    sheet = torch.cat([torch.cat(list(row), dim=2) for row in pictures], dim=1)
    levels: np.ndarray = (sheet.permute(1, 2, 0) * 255).round().byte().numpy()
    return levels
