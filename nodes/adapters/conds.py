"""Conditioning values of the canvas model, and how core cuts them to a window in space or time."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from comfy.conds import CONDRegular

from ...canvas_core.canvas import CELL, Box, Size
from ...canvas_core.errors import ConditioningError
from ...canvas_core.relative_region import relative_region

Tokens = Mapping[range, torch.Tensor]
"""Time window to layout tokens [1, N, D]."""


@dataclass(frozen=True)
class Layout:
    """What CanvasEncodeLayout puts into a conditioning under the key `canvas`."""

    tokens: Tokens
    null_tokens: Tokens
    anchor: Box
    rre: str
    fps: int

    def nulled(self) -> "Layout":
        """The same with the null layout's tokens."""
        return Layout(self.null_tokens, self.null_tokens, self.anchor, self.rre, self.fps)


class CONDExpanded(CONDRegular):
    """One row [1, ...] for the whole clip, seen once per frame without being copied."""

    def process_cond(self, batch_size: int, **kwargs: object) -> CONDRegular:
        return CONDRegular(self.cond.expand(batch_size, *self.cond.shape[1:]))


class CONDLayout(CONDExpanded):
    """Layout tokens, one set for each planned time window."""

    def __init__(self, tokens: Tokens, span: range | None = None):
        super().__init__(tokens[span] if span else next(iter(tokens.values())))
        self.tokens, self.span = tokens, span

    def _copy_with(self, cond: torch.Tensor) -> CONDExpanded:
        return CONDExpanded(cond)

    def to_window(self, span: range) -> "CONDLayout":
        """The tokens of one time window. Raises ConditioningError when none were encoded for it."""
        if span not in self.tokens:
            known = ", ".join(f"{s.start}-{s.stop - 1}" for s in self.tokens)
            raise ConditioningError(
                f"there are no layout tokens for frames {span.start}-{span.stop - 1}, only for {known}; connect the same Canvas Windows node to "
                "Canvas Encode Layout and to Canvas Time Windows (or Canvas Tiled Sampler), and encode as many frames as the latent has"
            )
        return CONDLayout(self.tokens, span)

    def process_cond(self, batch_size: int, **kwargs: object) -> CONDRegular:
        window = self if self.span else self.to_window(range(batch_size))
        return super(CONDLayout, window).process_cond(batch_size, **kwargs)


class CONDRelativeRegion(CONDExpanded):
    """Where the evaluated window lies, seen from the anchor. Whole numbers: core would round floats to bfloat16."""

    def __init__(self, anchor: Box, rre: str, canvas: Size):
        super().__init__(torch.tensor([relative_region(Box(0, 0, *canvas), anchor, rre, whole=True)]))
        self.anchor, self.rre = anchor, rre

    def process_cond(self, batch_size: int, area: object = None, **kwargs: object) -> CONDRegular:
        if area is None:
            return super().process_cond(batch_size)
        n = len(area) // 2  # sizes, then offsets, the last two of each in space
        window = Box(area[-2], area[-1], area[n - 2], area[n - 1]).scaled(CELL)
        row = torch.tensor([relative_region(window, self.anchor, self.rre)], device=self.cond.device)
        return CONDExpanded(row).process_cond(batch_size)
