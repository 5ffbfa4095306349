"""Relative region: size and offset of a window as seen from the anchor, six integers for the RRE."""

from typing import NamedTuple

from ...errors import ConditioningError
from ...plan.boxes import CELL, Box

CONVENTIONS = ("centre_px", "official")
"""centre_px: centre offsets in pixels, as in training. official: the published inference code's arithmetic."""


class RelativeRegion(NamedTuple):
    """Offset target - anchor, then both sizes; the order the network was trained with."""

    dy: int
    dx: int
    anchor_h: int
    anchor_w: int
    target_h: int
    target_w: int


def _centre_px(window: Box, anchor: Box, whole: bool) -> RelativeRegion:
    # Training halves odd sizes with integer division, before subtracting.
    dy = (window.y + window.h // 2) - (anchor.y + anchor.h // 2)
    dx = (window.x + window.w // 2) - (anchor.x + anchor.w // 2)
    return RelativeRegion(dy, dx, anchor.h, anchor.w, window.h, window.w)


def _official(window: Box, anchor: Box, whole: bool) -> RelativeRegion:
    if whole:
        return RelativeRegion(0, 0, anchor.h, anchor.w, 512, 512)
    return RelativeRegion(
        window.y // CELL - anchor.y, window.x // CELL - anchor.x, anchor.h, anchor.w, window.h, window.w
    )


def relative_region(window: Box, anchor: Box, convention: str, whole: bool = False) -> RelativeRegion:
    """The six integers for a window, both boxes in canvas pixels; `whole` when one window is the whole canvas.

    `official` reproduces Follow-Your-Canvas @ 2748eb1: corner offsets, the window's in cells and the anchor's in pixels,
    and fixed numbers for a single window. Raises ConditioningError on an unknown convention.
    """
    if convention not in CONVENTIONS:
        raise ConditioningError(f"the RRE convention is {convention!r}, but must be one of {', '.join(CONVENTIONS)}")
    return (_official if convention == "official" else _centre_px)(window, anchor, whole)
