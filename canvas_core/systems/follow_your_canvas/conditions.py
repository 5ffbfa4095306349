"""What Follow-Your-Canvas is told about one clip, and how its windows are evaluated and fused."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ...plan.boxes import CELL, Box, Size
from ...plan.windows import WindowSettings, frame_weights
from ...sampling.fusion import fuse_frames, fuse_windows
from .guidance import Branch, Guidance
from .relative_region import relative_region


@dataclass(frozen=True)
class ClipConditions:
    """What the network is told about one clip on one canvas."""

    mask: torch.Tensor
    """[F, 1, H, W], 1 = generate"""
    masked_latents: torch.Tensor
    """[F, 4, H, W], scaled latents of the source on grey"""
    text: Mapping[str, torch.Tensor]
    """positive and negative, each [1, L, D]"""
    layout: Mapping[tuple[str, range], torch.Tensor]
    """(real or null, time window) to tokens [1, N, D]"""
    anchor: Box
    """The region the layout was read from, canvas pixels"""
    rre: str
    """Convention of the relative region"""
    fps: int = 8
    """Frame stride the network imagines, 2 to 16; not the clip's rate"""


@dataclass(frozen=True)
class TiledPredictor:
    """Evaluates the network window by window and fuses its predictions over the canvas and the clip."""

    unet: Any
    clip: ClipConditions
    settings: WindowSettings
    guidance: Guidance
    windows_at_once: int = 1
    device: Any = "cpu"
    dtype: torch.dtype = torch.float32

    def __call__(self, x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """x [F, 4, H, W] float32 -> prediction of the same shape."""
        spans = self.settings.plan_frames(x.shape[0])
        if len(spans) == 1:
            return self._predict_span(x, timestep, spans[0])
        parts = ((span, self._predict_span(x[span.start : span.stop], timestep, span)) for span in spans)
        return fuse_frames(parts, frame_weights(max(len(span) for span in spans)), torch.zeros_like(x))

    def _predict_span(self, x: torch.Tensor, timestep: torch.Tensor, span: range) -> torch.Tensor:
        boxes = self.settings.plan(Size(*x.shape[-2:])).windows
        parts = self._predict_windows(x, timestep, span, boxes)
        if len(boxes) == 1:
            ((_, whole),) = parts
            return whole
        return fuse_windows(parts, self.settings.weigh(boxes[0].size), torch.zeros_like(x))

    def _predict_windows(
        self, x: torch.Tensor, timestep: torch.Tensor, span: range, boxes: tuple[Box, ...]
    ) -> Iterator[tuple[Box, torch.Tensor]]:
        frames = slice(span.start, span.stop)
        known = torch.cat([self.clip.mask[frames], self.clip.masked_latents[frames]], dim=1)
        for first in range(0, len(boxes), self.windows_at_once):
            group = boxes[first : first + self.windows_at_once]
            inputs = [torch.cat([box.crop(x), box.crop(known)], dim=1) for box in group]
            regions = [self._region(box, whole=len(boxes) == 1) for box in group]
            predictions = [self._evaluate(inputs, timestep, branch, span, regions) for branch in self.guidance.branches]
            yield from zip(group, self.guidance.combine(*predictions).chunk(len(group)), strict=True)

    def _region(self, box: Box, whole: bool) -> tuple[int, ...]:
        return relative_region(box.scaled(CELL), self.clip.anchor, self.clip.rre, whole)

    def _evaluate(
        self,
        inputs: list[torch.Tensor],
        timestep: torch.Tensor,
        branch: Branch,
        span: range,
        regions: list[tuple[int, ...]],
    ) -> torch.Tensor:
        """One forward pass over a group of windows, [(windows F), 4, h, w] float32."""
        count = len(inputs)

        def place(tokens: torch.Tensor) -> torch.Tensor:
            return tokens.to(self.device, self.dtype).expand(count, -1, -1)

        out = self.unet(
            torch.cat(inputs).to(self.device, self.dtype),
            timestep.to(self.device).expand(count),
            place(self.clip.text[branch.text]),
            place(self.clip.layout[branch.layout, span]),
            torch.full((count,), self.clip.fps, device=self.device),
            torch.tensor(regions, device=self.device),
        )
        return out.float().cpu()
