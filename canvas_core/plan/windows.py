"""Window plans: boxes that cover a canvas, spans that cover a clip, and the weights that fuse them."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch

from ..errors import GeometryError
from .boxes import CELL, Box, Size

VARIANCE = 0.01
"""Variance of the Gaussian weights in squared window lengths, as published with Follow-Your-Canvas."""

Planner = Callable[[int, int, int], list[int]]


def even_starts(length: int, window: int, overlap: int) -> list[int]:
    """Starts of the fewest equally spaced windows that share at least `overlap`."""
    if window >= length:
        return [0]
    steps = -(-(length - window) // (window - overlap))
    return [i * (length - window) // steps for i in range(steps + 1)]


def official_starts(length: int, window: int, overlap: int) -> list[int]:
    """Follow-Your-Canvas's starts: a quarter window of overlap whatever was asked, the last one shifted back to the border."""
    if window >= length:
        return [0]
    step = window - window // 4
    steps = -(-(length - window) // step)
    return [i * step for i in range(steps)] + [length - window]


PLANNERS: dict[str, Planner] = {"even": even_starts, "official": official_starts}
"""Spatial planners by name; each maps (length, window, overlap) to starts along one axis."""


def _gaussian(length: int, centre: float) -> torch.Tensor:
    position = (torch.arange(length, dtype=torch.float64) - centre) / length
    return torch.exp(-position.square() / (2 * VARIANCE)) / math.sqrt(2 * math.pi * VARIANCE)


def centred_weights(size: Size) -> torch.Tensor:
    """Gaussian weights [h, w] float32, symmetric on both axes."""
    weights = torch.outer(_gaussian(size.h, (size.h - 1) / 2), _gaussian(size.w, (size.w - 1) / 2))
    return weights.float()


def official_weights(size: Size) -> torch.Tensor:
    """Gaussian weights [h, w] float32 of Follow-Your-Canvas @ 2748eb1, whose y centre lies half a cell too low."""
    weights = torch.outer(_gaussian(size.h, size.h / 2), _gaussian(size.w, (size.w - 1) / 2))
    return weights.float()


WEIGHTS: dict[str, Callable[[Size], torch.Tensor]] = {"centred": centred_weights, "official": official_weights}
"""Spatial weights by name; each maps a window's size to [h, w] float32. Half precision would turn corners into 0 / 0."""


def frame_weights(frames: int) -> torch.Tensor:
    """Gaussian weights [frames] float32 of a window in time."""
    return _gaussian(frames, (frames - 1) / 2).float()


def plan_frames(total: int, window: int, overlap: int) -> list[range]:
    """Spans of frames that cover 0..total: steps of window - overlap, the last one shifted back to the end.

    Published with Follow-Your-Canvas; core's `standard_static` schedule gives the same. Raises GeometryError on a bad overlap.
    """
    if not 0 <= overlap < window:
        raise GeometryError(
            f"the frame overlap is {overlap}, but must be at least 0 and less than the window of {window} frames; lower it or use longer windows"
        )
    if total <= window:
        return [range(total)]
    step = window - overlap
    steps = -(-(total - window) // step)
    return [range(i * step, i * step + window) for i in range(steps)] + [range(total - window, total)]


@dataclass(frozen=True)
class WindowPlan:
    """Boxes that together cover `size`, in cells, in the order they are evaluated (x outer, y inner)."""

    size: Size
    windows: tuple[Box, ...]

    def __len__(self) -> int:
        return len(self.windows)

    def __str__(self) -> str:
        return f"{len(self)} windows of {self.windows[0].size} cells on {self.size}"


@dataclass(frozen=True)
class WindowSettings:
    """How to cut canvases into windows and clips into time windows.

    `window` (one side, or h and w) and `overlap` are pixels, `frames` and `frame_overlap` frames. `min_overlap` (h, w in pixels) is the least
    overlap of a window with what an earlier round knows; None means the published 150 x 100 of 512, scaled to the window.
    """

    window: int | Size = 512
    overlap: int = 128
    planner: str = "even"
    weights: str = "centred"
    frames: int = 64
    frame_overlap: int = 16
    min_overlap: Size | None = None

    def __post_init__(self) -> None:
        short = min(self.sides)
        if short < 2 * CELL or any(side % CELL for side in self.sides):
            raise GeometryError(
                f"the window is {self.sides} px, but each side must be a multiple of {CELL} and at least {2 * CELL}; 512 suits Stable Diffusion"
            )
        if not 0 <= self.overlap <= short - CELL:
            raise GeometryError(
                f"the overlap is {self.overlap} px, but must be 0 to {short - CELL} with a window of {self.sides} px; lower it or use larger windows"
            )
        for name, value, known in (("planner", self.planner, PLANNERS), ("weights", self.weights, WEIGHTS)):
            if value not in known:
                raise GeometryError(f"the {name} is {value!r}, but must be one of {', '.join(known)}")
        if not all(0 <= lap < side for lap, side in zip(self.round_overlap, self.sides, strict=True)):
            raise GeometryError(
                f"the minimum overlap is {self.round_overlap} px, but must be less than the window of {self.sides}; lower it or use larger windows"
            )
        if self.frames < 1:
            raise GeometryError(
                f"a time window has {self.frames} frames, but needs at least 1; use as many as the model was trained with"
            )
        plan_frames(self.frames, self.frames, self.frame_overlap)

    @property
    def sides(self) -> Size:
        """Height and width of a window in pixels."""
        return self.window if isinstance(self.window, Size) else Size(self.window, self.window)

    @property
    def round_overlap(self) -> Size:
        """`min_overlap` with its default filled in."""
        return self.min_overlap or Size(self.sides.h * 150 // 512, self.sides.w * 100 // 512)

    def window_on(self, size: Size, cell: int = CELL) -> Size:
        """Window size in cells on a canvas of `size` cells; a window larger than the canvas is clipped to it."""
        if min(self.sides) < cell:
            raise GeometryError(
                f"the window is {self.sides} px, but one latent cell of this model is {cell} px; use larger windows"
            )
        return Size(min(self.sides.h // cell, size.h), min(self.sides.w // cell, size.w))

    def plan(self, size: Size, cell: int = CELL, step: int = 1) -> WindowPlan:
        """The spatial windows on a canvas of `size` cells of `cell` pixels each.

        Windows start at multiples of `step` cells, the patch of a transformer; only where the canvas itself does not
        divide does the last one start where it must to end with the canvas.
        """
        coarse = Size(-(-size.h // step), -(-size.w // step))
        starts, shape = PLANNERS[self.planner], self.window_on(coarse, cell * step)
        lap = self.overlap // (cell * step)
        columns = starts(coarse.w, shape.w, min(lap, shape.w - 1))
        rows = starts(coarse.h, shape.h, min(lap, shape.h - 1))
        window = Size(min(shape.h * step, size.h), min(shape.w * step, size.w))
        corners = (
            (min(y * step, size.h - window.h), min(x * step, size.w - window.w)) for x, y in product(columns, rows)
        )
        return WindowPlan(size, tuple(Box(y, x, *window) for y, x in corners))

    def plan_frames(self, total: int) -> list[range]:
        """The time windows of a clip of `total` frames."""
        return plan_frames(total, self.frames, self.frame_overlap)

    def weigh(self, size: Size) -> torch.Tensor:
        """Fusion weights [h, w] of a window of `size` cells."""
        return WEIGHTS[self.weights](size)

    def __str__(self) -> str:
        return f"windows of {self.window} px, overlap {self.overlap} ({self.planner}, {self.weights}), {self.frames} frames, overlap {self.frame_overlap}"


def shares(plan: WindowPlan, settings: WindowSettings, device: Any = "cpu") -> dict[Box, torch.Tensor]:
    """The part that each window has in the fused canvas, [h, w] float32 and 0 outside it; together they are 1 everywhere."""
    weights = {box: torch.zeros(tuple(plan.size), device=device) for box in plan.windows}
    for box, canvas in weights.items():
        box.crop(canvas).copy_(settings.weigh(box.size))
    total = torch.stack(list(weights.values())).sum(0)
    return {box: canvas / total for box, canvas in weights.items()}
