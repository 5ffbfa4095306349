"""Rounds: growing the canvas step by step when it must grow further than a window reaches."""

from typing import NamedTuple

from .boxes import CELL, Box, Size
from .canvas import Canvas
from .windows import WindowSettings

START_FROM = ("source", "previous")
"""source: every round starts from the result so far with the true source pixels on it. previous: from the raw decode, as published."""


class Round(NamedTuple):
    """One growth of the canvas.

    `canvas.source` is the region this round starts from, the whole canvas of the round before; `original` is the
    true source inside this round's canvas.
    """

    canvas: Canvas
    original: Box

    @property
    def target(self) -> Canvas:
        """The same canvas around the true source, which is put back on it."""
        return Canvas(self.canvas.size, self.original, self.canvas.trim)

    def __str__(self) -> str:
        return f"{self.canvas}, original {self.original}"


def count_rounds(canvas: Canvas, settings: WindowSettings) -> int:
    """Rounds needed so that every window overlaps the known region by `settings.round_overlap`.

    For a centred source this is get_canvas_size of Follow-Your-Canvas @ 2748eb1; off-centre, the widest side counts.
    """
    pads, window, lap = canvas.pads, settings.sides, settings.round_overlap
    tall, wide = max(pads.top, pads.bottom), max(pads.left, pads.right)
    return max(1, -(-tall // (window.h - lap.h)), -(-wide // (window.w - lap.w)))


def _round_size(canvas: Canvas, index: int, count: int) -> Size:
    """Linear growth, floored to 8 pixels as published, but never below the source."""
    if index == count:
        return canvas.size

    def grow(source: int, target: int) -> int:
        floored = (source + index * ((target - source) // count)) // CELL * CELL
        return floored if floored >= source else min(floored + CELL, target)

    return Size(*(grow(s, t) for s, t in zip(canvas.source.size, canvas.size, strict=True)))


def _source_in(canvas: Canvas, size: Size) -> Box:
    """The source on an intermediate canvas, sharing out the pads as on the final one."""

    def share(pad: int, grown: int, total: int) -> int:
        return grown * pad // total if total else 0

    source = canvas.source
    y = share(source.y, size.h - source.h, canvas.size.h - source.h)
    x = share(source.x, size.w - source.w, canvas.size.w - source.w)
    return Box(y, x, *source.size)


def plan_rounds(canvas: Canvas, settings: WindowSettings) -> list[Round]:
    """The rounds from the source to `canvas`; only the last one is trimmed."""
    count = count_rounds(canvas, settings)
    rounds: list[Round] = []
    known = canvas.source.moved(-canvas.source.y, -canvas.source.x)  # the source before anything grew
    for index in range(1, count + 1):
        size = _round_size(canvas, index, count)
        original = _source_in(canvas, size)
        earlier = rounds[-1] if rounds else None
        grown_from = earlier.canvas.size if earlier else known.size
        inner = earlier.original if earlier else known
        region = Box(original.y - inner.y, original.x - inner.x, *grown_from)
        trim = canvas.trim if index == count else Box(0, 0, *size)
        rounds.append(Round(Canvas(size, region, trim), original))
    return rounds
