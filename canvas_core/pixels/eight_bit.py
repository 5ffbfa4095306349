"""From 0..1 to 8 bits and back."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch


def to_levels(frames: torch.Tensor) -> torch.Tensor:
    """Frames 0..1 to uint8 levels by rounding, so that an 8-bit source comes back as it was."""
    return frames.mul(255).round().clamp(0, 255).to(torch.uint8)


def from_levels(frames: torch.Tensor) -> torch.Tensor:
    """Frames 0..1 of uint8 levels."""
    return frames.float() / 255


@dataclass(frozen=True)
class FromLevels:
    """Frames [h, w, 3] 0..1 of uint8 ones, as often as those can be read."""

    frames: Iterable[torch.Tensor]

    def __iter__(self) -> Iterator[torch.Tensor]:
        return map(from_levels, self.frames)
