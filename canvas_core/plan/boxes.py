"""Sizes and boxes, in pixels unless a name says cells."""

from typing import NamedTuple

import torch

CELL = 8
"""Pixels per latent position along one axis, for the Stable Diffusion VAE."""


class Size(NamedTuple):
    """Height and width."""

    h: int
    w: int

    def __str__(self) -> str:
        return f"{self.w}x{self.h}"


class Box(NamedTuple):
    """A rectangle, origin top left."""

    y: int
    x: int
    h: int
    w: int

    @property
    def bottom(self) -> int:
        return self.y + self.h

    @property
    def right(self) -> int:
        return self.x + self.w

    @property
    def size(self) -> Size:
        return Size(self.h, self.w)

    def inside(self, other: "Box | Size") -> bool:
        """Whether every point of this box lies in `other`."""
        outer = other if isinstance(other, Box) else Box(0, 0, *other)
        return outer.y <= self.y and outer.x <= self.x and self.bottom <= outer.bottom and self.right <= outer.right

    def intersect(self, other: "Box") -> "Box | None":
        """The common part, or None when the boxes do not touch."""
        y, x = max(self.y, other.y), max(self.x, other.x)
        h, w = min(self.bottom, other.bottom) - y, min(self.right, other.right) - x
        return Box(y, x, h, w) if h > 0 and w > 0 else None

    def moved(self, y: int, x: int) -> "Box":
        """The same box, shifted by (y, x)."""
        return Box(self.y + y, self.x + x, self.h, self.w)

    def scaled(self, factor: int) -> "Box":
        """Every number times `factor`, for example cells to pixels."""
        return Box(self.y * factor, self.x * factor, self.h * factor, self.w * factor)

    def crop(self, tensor: torch.Tensor) -> torch.Tensor:
        """View of the box in a tensor [..., H, W]."""
        return tensor[..., self.y : self.bottom, self.x : self.right]

    def __str__(self) -> str:
        return f"{self.w}x{self.h}+{self.x}+{self.y}"
