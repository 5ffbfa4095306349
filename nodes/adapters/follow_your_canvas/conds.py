"""Conditioning values of the canvas model, and how core cuts them to a window in space or time."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from comfy.conds import CONDRegular

from ....canvas_core.errors import ConditioningError
from ....canvas_core.plan.boxes import CELL, Box, Size
from ....canvas_core.plan.keyframes import ClipPlan
from ....canvas_core.systems.follow_your_canvas.relative_region import relative_region
from ....canvas_core.systems.follow_your_canvas.settings import clip_stride
from ..base import CONDExpanded
from ..clip_conds import Span, span_of

Tokens = Mapping[Span, torch.Tensor]
"""Layout tokens [1, N, D] of each span: time windows, or the clips of a key-frame plan"""

NAMED = 4
"""Spans that an error message names."""


def _name(span: Span) -> str:
    step = f" by {span.step}" if isinstance(span, range) and len(span) > 1 and span.step > 1 else ""
    return f"{span[0]}-{span[-1]}{step}"


def _names(tokens: Tokens) -> str:
    rest = f" and {len(tokens) - NAMED} more" if len(tokens) > NAMED else ""
    return ", ".join(_name(span) for span in list(tokens)[:NAMED]) + rest


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

    def of_clip(self, clip: ClipPlan, latents: torch.Tensor) -> "Layout":
        """The layout of a clip alone. Raises ConditioningError when no tokens were encoded for its frames."""
        span = span_of(clip.frames)
        if span not in self.tokens:
            raise ConditioningError(
                f"there are no layout tokens for the clip of frames {_name(span)}, only for {_names(self.tokens)}; connect the same Canvas Keyframe "
                "Plan to Canvas Encode Layout and to Canvas Hierarchical Sampler"
            )
        whole = range(len(clip.frames))
        real, null = ({whole: tokens[span]} for tokens in (self.tokens, self.null_tokens))
        return replace(self, tokens=real, null_tokens=null, fps=clip_stride(self.fps, clip.stride))


class CONDLayout(CONDExpanded):
    """Layout tokens, one set for each planned time window or clip."""

    def __init__(self, tokens: Tokens, span: Span | None = None):
        super().__init__(tokens[span] if span else next(iter(tokens.values())))
        self.tokens, self.span = tokens, span

    def _copy_with(self, cond: torch.Tensor) -> CONDExpanded:
        return CONDExpanded(cond)

    def to_window(self, span: range) -> "CONDLayout":
        """The tokens of one time window. Raises ConditioningError when none were encoded for it."""
        if span not in self.tokens:
            raise ConditioningError(
                f"there are no layout tokens for frames {_name(span)}, only for {_names(self.tokens)}; connect the same Canvas Windows node to Canvas Encode "
                "Layout and to Canvas Time Windows (or Canvas Tiled Sampler), and encode as many frames as the latent has; a layout made with 'levels' "
                "is for Canvas Hierarchical Sampler and clips within one time window"
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
