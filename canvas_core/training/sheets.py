"""Sample sheets: what the network makes of a few training clips while it learns."""

from collections.abc import Callable

import numpy as np
import torch

from ..systems.follow_your_canvas.block_latent import decode_blocks
from ..systems.follow_your_canvas.schedule import ddim_step, trailing_times

FEW = 6
"""Steps of the second sample."""

Predict = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""predict(noisy latents [(B F), C, h, w], time step [B]) -> clean latents."""


def sample_few(predict: Predict, noise: torch.Tensor, clips: int, steps: int) -> torch.Tensor:
    """Clean latents from noise [(B F), C, h, w] by DDIM with trailing steps."""
    now, *later = trailing_times(steps)
    clean = predict(noise, now.expand(clips))
    x = noise
    for after in later:
        x, now = ddim_step(x, clean, now, after), after
        clean = predict(x, now.expand(clips))
    return clean


def draw_sheet(rows: list[torch.Tensor], kernel: torch.Tensor, frames: int) -> np.ndarray:
    """Latents [(B F), C, h, w] of each row, the first frame of every clip, as one picture [H, W, 3] uint8 RGB."""
    pictures = [decode_blocks(kernel, latents[::frames]).clamp(0, 1) for latents in rows]
    sheet = torch.cat([torch.cat(list(row), dim=2) for row in pictures], dim=1)
    levels: np.ndarray = (sheet.permute(1, 2, 0) * 255).round().byte().numpy()
    return levels
