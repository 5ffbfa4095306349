"""The source on its canvas and the mask of what is hidden. Frames are [F, H, W, C], values 0..1."""

import torch
from torch.nn.functional import max_pool2d

from ..errors import GeometryError
from ..plan.boxes import CELL, Box, Size
from ..plan.canvas import Canvas

GREY = 0.5
"""Value of the area to be generated in the placed frames, range 0..1."""


def generation_mask(size: Size, known: Box | None) -> torch.Tensor:
    """Mask [H, W] float32: 1 = generate, 0 = known. `known` None means that everything is generated."""
    mask = torch.ones(tuple(size))
    if known is not None:
        known.crop(mask).zero_()
    return mask


def cell_mask(mask: torch.Tensor, cell: int = CELL, hidden: str = "first") -> torch.Tensor:
    """Mask [F, H, W] of pixels to [F, h, w] of cells: a cell is hidden when its `first` pixel is, as in Follow-Your-Canvas, or when `any` is."""
    return mask[..., ::cell, ::cell] if hidden == "first" else max_pool2d(mask, cell)


def place_source(frames: torch.Tensor, size: Size, source: Box, fill: float = GREY) -> torch.Tensor:
    """Source frames [F, h, w, C] on a canvas [F, H, W, C] filled with `fill`. Raises GeometryError on another frame size."""
    if tuple(frames.shape[1:3]) != tuple(source.size):
        raise GeometryError(
            f"the frames are {Size(*frames.shape[1:3])}, but this canvas was made for a source of {source.size}; use the frames the canvas was made from"
        )
    placed = frames.new_full((frames.shape[0], *size, frames.shape[3]), fill)
    placed[:, source.y : source.bottom, source.x : source.right] = frames
    return placed


def trim_frames(frames: torch.Tensor, canvas: Canvas) -> torch.Tensor:
    """Frames [F, H, W, C] of the whole canvas cut to the size that was asked for."""
    return frames[:, canvas.trim.y : canvas.trim.bottom, canvas.trim.x : canvas.trim.right]
