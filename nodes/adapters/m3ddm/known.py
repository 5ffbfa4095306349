"""What M3DDM's conditioning says of the whole video."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from comfy.conds import CONDRegular

from ....canvas_core.plan.keyframes import ClipPlan
from ....canvas_core.systems.m3ddm.plan import clip_rate


@dataclass(frozen=True, eq=False)
class GlobalContext:
    """What Canvas Global Frames puts into a conditioning under the key `canvas`."""

    latents: torch.Tensor = field(repr=False)
    """[G, 4, h, w] of the global frames, as the VAE makes them"""
    fps: float
    """Of the source, or of the level that a clip belongs to"""
    null: bool = False
    """Whether the model is shown zeros in place of the frames"""

    def nulled(self) -> "GlobalContext":
        """The same without the frames."""
        return replace(self, null=True)

    def of_clip(self, clip: ClipPlan, latents: torch.Tensor) -> "GlobalContext":
        """The same at the rate of a clip's frames."""
        return replace(self, fps=clip_rate(self.fps, clip.stride))


@dataclass(frozen=True, eq=False)
class SeenFrames:
    """The global frames of one condition in one sampling run."""

    latents: torch.Tensor
    """[1, G, 4, h, w], scaled"""
    lasting: bool
    """Whether their keys hold for the whole run"""


class CONDGlobalFrames(CONDRegular):
    """SeenFrames, the same in every window. They reach the network as a tuple, one for each clip, which core passes on as it is."""

    def process_cond(self, batch_size: int, **kwargs: object) -> CONDRegular:
        return self

    def can_concat(self, other: CONDRegular) -> bool:
        return self.cond.latents.shape == other.cond.latents.shape

    def concat(self, others: Sequence[CONDRegular]) -> tuple[SeenFrames, ...]:
        return (self.cond, *(other.cond for other in others))

    def size(self) -> list[int]:
        return list(self.cond.latents.shape)
