"""Which frames of the whole video M3DDM is shown, and how they look to it."""

import torch
from torch.nn.functional import interpolate

GLOBAL_FRAMES = 16


def global_frames(length: int, count: int = GLOBAL_FRAMES) -> tuple[int, ...]:
    """Frames spread evenly over a video, as M3DDM shows them to every clip; short videos repeat some."""
    return tuple(int(index * (length - 1) / max(count - 1, 1)) for index in range(count))


GLOBAL_SIDE = 256
"""Pixels; global frames are stretched to this square, as published."""


def stretch(frame: torch.Tensor) -> torch.Tensor:
    """A global frame [h, w, 3] 0..1 as [1, 256, 256, 3] 0..1, whatever its shape, as published."""
    x = frame.permute(2, 0, 1)[None]
    side = (GLOBAL_SIDE, GLOBAL_SIDE)
    return interpolate(x, size=side, mode="bilinear", antialias=True).clamp(0, 1).permute(0, 2, 3, 1)
