"""The one tiled prediction: a canvas of any size and a clip of any length, window by window, fused."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import torch

from ..plan.boxes import Box, Size
from ..plan.windows import WindowSettings, frame_weights
from .denoise import Noised, Start
from .fusion import fuse_frames, fuse_windows

Map = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""`map` or one that works in parallel; answers come in the order of what is asked."""


class Window(NamedTuple):
    """What one evaluation of a network sees of a clip."""

    span: range
    """Frames of the clip"""
    box: Box
    """Cells of the canvas"""

    def crop(self, x: torch.Tensor) -> torch.Tensor:
        """View of the window in x [F, ..., H, W]."""
        return self.box.crop(x[self.span.start : self.span.stop])


class Clip(Protocol):
    """One clip on one canvas, as its network is told of it. Latents are float32 on the CPU."""

    start: Start | None
    """Where denoising begins; None at pure noise"""

    def enter(self, step: int, x: torch.Tensor, noised: Noised) -> torch.Tensor:
        """What a step starts from, [F, C, H, W] like x: held frames and known regions are put in here."""

    def predict(self, x: torch.Tensor, time: torch.Tensor, windows: Sequence[Window]) -> torch.Tensor:
        """Predictions [B, W, f, C, h, w] of B guidance branches for W windows of equal size, x [W, f, C, h, w]."""

    def combine(self, parts: torch.Tensor) -> torch.Tensor:
        """One prediction [...] from those of all branches, [B, ...]."""


def predict_canvas(
    clip: Clip, settings: WindowSettings, x: torch.Tensor, time: torch.Tensor, at_once: int = 1, map: Map = map
) -> torch.Tensor:
    """The guided prediction for x [F, C, H, W], same shape: `at_once` windows in one evaluation, evaluations by `map`.

    Each branch of guidance is fused before they are combined, so that a formula may look at the whole canvas.
    """
    size = Size(*x.shape[-2:])
    boxes, spans = settings.plan(size).windows, settings.plan_frames(len(x))
    groups = [boxes[first : first + at_once] for first in range(0, len(boxes), at_once)]
    asked = [[Window(span, box) for box in group] for span in spans for group in groups]

    def ask(windows: Sequence[Window]) -> torch.Tensor:
        answer = clip.predict(torch.stack([window.crop(x) for window in windows]), time, windows)  # B W f C h w
        return answer.movedim((1, 2), (0, 1))  # W f B C h w

    answers = iter(map(ask, asked))

    def fuse(span: range) -> torch.Tensor:
        parts = (pair for group in groups for pair in zip(group, next(answers), strict=True))
        return fuse_windows(parts, settings.weigh(boxes[0].size), size)

    longest = max(len(span) for span in spans)
    fused = fuse_frames(((span, fuse(span)) for span in spans), frame_weights(longest), len(x))
    return clip.combine(fused.movedim(1, 0))
