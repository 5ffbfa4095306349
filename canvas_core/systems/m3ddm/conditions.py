"""What M3DDM is told about one clip, and how it is asked: context and guide frames, two-condition guidance.

Follows alimama-creative/M3DDM-Video-Outpainting @ e2ccd7c, whose fourth guidance branch is computed there and never used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from ...sampling.denoise import Noised, Start
from ...sampling.guidance import context_global_guidance
from ...sampling.tiling import Window
from ..system import Place
from .layers import GlobalKeys
from .network import M3DDMUNet


def tell(latents: torch.Tensor, mask: torch.Tensor, guides: Mapping[int, torch.Tensor]) -> torch.Tensor:
    """What a branch is told, [F, 5, h, w]: latents [F, 4, h, w] and mask [F, 1, h, w], but guides (slot to [4, h, w]) are known."""
    told = torch.cat([latents, mask], dim=1)
    for slot, latent in guides.items():
        told[slot] = torch.cat([latent, torch.zeros_like(mask[0])])
    return told


class Scales(NamedTuple):
    """Guidance scales."""

    context: float
    around: float
    """Of the global frames"""


@dataclass(frozen=True)
class M3DDMClip:
    """One clip; a `Clip` of the tiled prediction. What is told lies where the network runs."""

    unet: M3DDMUNet
    start: Start
    """The noised Telea fill"""
    nothing: torch.Tensor
    """[F, 5, h, w], of a clip of which only the guide frames are given"""
    context: torch.Tensor
    """[F, 5, h, w], of what is known"""
    keys: list[GlobalKeys]
    """Of the global frames"""
    null_keys: list[GlobalKeys]
    """Of zeros"""
    fps: float
    """Frames of the clip per second of the video: its rate over the stride"""
    scales: Scales
    place: Place = Place()

    def enter(self, step: int, x: torch.Tensor, noised: Noised) -> torch.Tensor:
        """Guide frames run free, as published."""
        return x

    def predict(self, x: torch.Tensor, time: torch.Tensor, windows: Sequence[Window]) -> torch.Tensor:
        """Noise [3, W, F, 4, h, w] for nothing, the context, context and global frames; x [W, F, 4, h, w]."""
        return torch.stack([self._predict(one, time, window) for one, window in zip(x, windows, strict=True)], dim=1)

    def combine(self, parts: torch.Tensor) -> torch.Tensor:
        """The guided noise."""
        null, context, both = parts
        return context_global_guidance(null, context, both, *self.scales)

    def _predict(self, x: torch.Tensor, time: torch.Tensor, window: Window) -> torch.Tensor:
        """The branches of one window, [3, F, 4, h, w]; the global frames are those of the whole video."""
        x, time = x.to(*self.place), time.to(self.place.device).expand(1)
        fps = torch.tensor([self.fps], device=self.place.device)
        pairs = ((self.nothing, self.null_keys), (self.context, self.null_keys), (self.context, self.keys))
        answers = (self.unet(torch.cat([x, window.crop(told)], dim=1), time, keys, fps) for told, keys in pairs)
        return torch.stack([answer.float().cpu() for answer in answers])
