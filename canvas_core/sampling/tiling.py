"""The one tiled prediction: a canvas of any size and a clip of any length, window by window, fused."""

from collections.abc import Callable, Iterable, Iterator, Sequence
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
    """The guided prediction for x [F, C, H, W], same shape: `at_once` windows in one evaluation, evaluations by `map`."""
    boxes = settings.plan(Size(*x.shape[-2:])).windows
    spans = settings.plan_frames(len(x))
    groups = [boxes[first : first + at_once] for first in range(0, len(boxes), at_once)]
    asked = [[Window(span, box) for box in group] for span in spans for group in groups]

    def ask(windows: Sequence[Window]) -> torch.Tensor:
        return clip.combine(clip.predict(torch.stack([window.crop(x) for window in windows]), time, windows))

    answers = iter(zip(asked, map(ask, asked), strict=True))

    def fused(span: range) -> torch.Tensor:
        parts = (part for _ in groups for part in _boxes(*next(answers)))
        if len(boxes) == 1:
            return _only(parts)
        return fuse_windows(parts, settings.weigh(boxes[0].size), torch.zeros_like(x[span.start : span.stop]))

    parts = ((span, fused(span)) for span in spans)
    if len(spans) == 1:
        return _only(parts)
    return fuse_frames(parts, frame_weights(max(len(span) for span in spans)), torch.zeros_like(x))


def _only(parts: Iterable[tuple[Any, torch.Tensor]]) -> torch.Tensor:
    """A lone part as it is: weighting and dividing would round it."""
    ((_, part),) = parts
    return part


def _boxes(windows: Sequence[Window], answer: torch.Tensor) -> Iterator[tuple[Box, torch.Tensor]]:
    return zip((window.box for window in windows), answer, strict=True)
