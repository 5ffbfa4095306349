"""Where the source lies on the canvas: sizes, boxes, anchors, snapping and trimming. Pixels unless a name says cells."""

from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from ..errors import GeometryError
from .boxes import CELL, Box, Size

ASPECTS = {
    "16:9": Fraction(16, 9),
    "9:16": Fraction(9, 16),
    "1:1": Fraction(1),
    "4:3": Fraction(4, 3),
    "3:4": Fraction(3, 4),
    "21:9": Fraction(21, 9),
    "2.39:1": Fraction(239, 100),
    "1.85:1": Fraction(185, 100),
}
"""Aspect presets: name to width / height."""

ANCHORS = {
    "center": (1, 1),
    "top": (0, 1),
    "bottom": (2, 1),
    "left": (1, 0),
    "right": (1, 2),
    "top left": (0, 0),
    "top right": (0, 2),
    "bottom left": (2, 0),
    "bottom right": (2, 2),
}
"""Where the source sits: name to (y, x) in halves of the free space."""


class Pads(NamedTuple):
    """Pixels to add on each side, in the order of the command line."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True)
class Canvas:
    """A canvas and the source's place on it, in pixels.

    `size` is what gets generated, a multiple of the asked step; `source` is the known region; `trim` is the
    part that was asked for and is given back. Raises GeometryError when a box leaves the canvas.
    """

    size: Size
    source: Box
    trim: Box

    def __post_init__(self) -> None:
        for name, box in (("source", self.source), ("asked area", self.trim)):
            if box.h < 1 or box.w < 1 or not box.inside(self.size):
                raise GeometryError(
                    f"the {name} is {box}, but must lie inside the canvas of {self.size}; enlarge the canvas or move the source"
                )

    @property
    def pads(self) -> Pads:
        """Generated pixels on each side of the source, up to the canvas border."""
        return Pads(self.source.x, self.source.y, self.size.w - self.source.right, self.size.h - self.source.bottom)

    @property
    def cells(self) -> Size:
        """Size of its latents."""
        return Size(self.size.h // CELL, self.size.w // CELL)

    def __str__(self) -> str:
        trimmed = "" if self.trim.size == self.size else f", trimmed to {self.trim.size}"
        return f"canvas {self.size}, source {self.source}{trimmed}"


def _even(length: int) -> int:
    return length + length % 2


def _snap(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple


def _snapped(asked: Size, source: Box, multiple: int) -> Canvas:
    if multiple < 2 or multiple % 2:
        raise GeometryError(
            f"the multiple is {multiple}, but must be even and at least 2; use 8 for Stable Diffusion models"
        )
    canvas = Canvas(Size(_snap(asked.h, multiple), _snap(asked.w, multiple)), source, Box(0, 0, *asked))
    if source.size == asked:
        raise GeometryError(
            f"the canvas of {asked} equals the source, so there is nothing to generate; ask for a larger size, another aspect or pads above 0"
        )
    return canvas


def _anchored(free: int, halves: int, offset: int, axis: str) -> int:
    start = free * halves // 2 + offset
    if not 0 <= start <= free:
        low, high = -(free * halves // 2), free - free * halves // 2
        raise GeometryError(
            f"offset {axis} is {offset}, which pushes the source off the canvas; use {low} to {high} with this anchor"
        )
    return start


def canvas_of_size(
    source: Size, size: Size, anchor: str = "center", offset: tuple[int, int] = (0, 0), multiple: int = CELL
) -> Canvas:
    """A canvas of exactly `size` after trimming; `offset` is (x, y) in pixels from the anchor.

    Raises GeometryError when the size is odd or smaller than the source, or the offset leaves the canvas.
    """
    if size.h % 2 or size.w % 2:
        raise GeometryError(
            f"the canvas size is {size}, but both sides must be even for video; use {Size(_even(size.h), _even(size.w))}"
        )
    if size.h < source.h or size.w < source.w:
        raise GeometryError(
            f"the canvas of {size} is smaller than the source of {source}; ask for at least {source} or scale the source down first"
        )
    if anchor not in ANCHORS:
        raise GeometryError(f"the anchor is {anchor!r}, but must be one of {', '.join(ANCHORS)}")
    vertical, horizontal = ANCHORS[anchor]
    x = _anchored(size.w - source.w, horizontal, offset[0], "x")
    y = _anchored(size.h - source.h, vertical, offset[1], "y")
    return _snapped(size, Box(y, x, *source), multiple)


def canvas_of_aspect(
    source: Size, aspect: str, anchor: str = "center", offset: tuple[int, int] = (0, 0), multiple: int = CELL
) -> Canvas:
    """The smallest even canvas of a preset aspect that holds the source."""
    if aspect not in ASPECTS:
        raise GeometryError(f"the aspect is {aspect!r}, but must be one of {', '.join(ASPECTS)}")
    ratio = ASPECTS[aspect]
    h, w = _even(source.h), _even(source.w)
    if w < h * ratio:
        w = _even(round(h * ratio))
    else:
        h = _even(round(w / ratio))
    return canvas_of_size(source, Size(max(h, source.h), max(w, source.w)), anchor, offset, multiple)


def canvas_of_pads(source: Size, pads: Pads, multiple: int = CELL) -> Canvas:
    """The source with `pads` around it; an odd total gets one more pixel on the right or at the bottom."""
    if min(pads) < 0:
        raise GeometryError(
            f"the pads are {tuple(pads)} (left, top, right, bottom), but none may be negative; crop the source beforehand instead"
        )
    asked = Size(_even(source.h + pads.top + pads.bottom), _even(source.w + pads.left + pads.right))
    return _snapped(asked, Box(pads.top, pads.left, *source), multiple)


def require_cells(canvas: Canvas, cell: int = CELL) -> None:
    """Raise GeometryError unless the canvas is made of whole cells, as the latents of a canvas model are."""
    if canvas.size.h % cell or canvas.size.w % cell:
        fitting = Size(_snap(canvas.size.h, cell), _snap(canvas.size.w, cell))
        raise GeometryError(
            f"the canvas is {canvas.size}, but the latents need multiples of {cell}; snap it to {fitting} by setting the multiple to {cell}"
        )
