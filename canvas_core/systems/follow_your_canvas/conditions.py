"""What the network is told about one clip on one canvas, and how it is asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ...plan.boxes import CELL, Box, Size
from ...sampling.denoise import Noised, Start
from ...sampling.tiling import Window
from ..system import Place
from .guidance import Branch, Guidance
from .relative_region import relative_region


@dataclass(frozen=True)
class CanvasClip:
    """One clip; a `Clip` of the tiled prediction."""

    unet: Any
    guidance: Guidance
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
    held: Mapping[int, torch.Tensor] = field(default_factory=dict)
    """Slot to the latent [4, H, W] that it keeps while others are denoised"""
    start: Start | None = None
    place: Place = Place()

    def enter(self, step: int, x: torch.Tensor, noised: Noised) -> torch.Tensor:
        """Held frames at their own latents, noised to the present time step by their own noise."""
        if not self.held:
            return x
        slots = list(self.held)
        x = x.clone()
        x[slots] = noised(torch.stack([self.held[slot] for slot in slots]), slots)
        return x

    def predict(self, x: torch.Tensor, time: torch.Tensor, windows: Sequence[Window]) -> torch.Tensor:
        """x [W, F, 4, h, w] -> the predictions of every branch, [B, W, F, 4, h, w]."""
        known = torch.cat([self.mask, self.masked_latents], dim=1)
        given = torch.cat([x, torch.stack([window.crop(known) for window in windows])], dim=2)
        regions = [self._region(window.box) for window in windows]
        answers = [self._ask(given, time, branch, windows[0].span, regions) for branch in self.guidance.branches]
        return torch.stack(answers).unflatten(1, x.shape[:2])

    def combine(self, parts: torch.Tensor) -> torch.Tensor:
        """The guided prediction."""
        return self.guidance.combine(*parts)

    def _region(self, box: Box) -> tuple[int, ...]:
        whole = box.size == Size(*self.mask.shape[-2:])
        return relative_region(box.scaled(CELL), self.anchor, self.rre, whole)

    def _ask(
        self, given: torch.Tensor, time: torch.Tensor, branch: Branch, span: range, regions: list[tuple[int, ...]]
    ) -> torch.Tensor:
        """One forward pass over windows [W, F, 9, h, w], [(W F), 4, h, w] float32 on the CPU."""
        count, (device, dtype) = len(given), self.place

        def place(tokens: torch.Tensor) -> torch.Tensor:
            return tokens.to(device, dtype).expand(count, -1, -1)

        out = self.unet(
            given.flatten(0, 1).to(device, dtype),
            time.to(device).expand(count),
            place(self.text[branch.text]),
            place(self.layout[branch.layout, span]),
            torch.full((count,), self.fps, device=device),
            torch.tensor(regions, device=device),
        )
        return out.float().cpu()
