"""From 0..1 to 8 bits."""

import torch


def to_levels(frames: torch.Tensor) -> torch.Tensor:
    """Frames 0..1 to uint8 levels by rounding, so that an 8-bit source comes back as it was."""
    return frames.mul(255).round().clamp(0, 255).to(torch.uint8)
