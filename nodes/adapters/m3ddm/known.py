"""What M3DDM's conditioning says of the known pixels and the whole video."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import torch
from comfy.conds import CONDRegular

from ....canvas_core.errors import ConditioningError
from ....canvas_core.plan.boxes import CELL
from ....canvas_core.plan.keyframes import ClipPlan
from ....canvas_core.systems.m3ddm.pixels import global_pixels, known_pixels, start_pixels
from ....canvas_core.systems.m3ddm.plan import clip_rate
from ..guider import Conditioning
from ..progress import watch_stages

STAGES = ("encode global frames", "encode what is known", "encode black", "encode the start")


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


class Known(NamedTuple):
    """What Canvas Global Frames makes."""

    positive: Conditioning
    """Known pixels and global frames"""
    negative: Conditioning
    """Neither"""
    start: torch.Tensor
    """Latents [F, 4, h, w] of a rough fill, as the VAE makes them"""


def know_video(vae: Any, frames: torch.Tensor, mask: torch.Tensor, video: torch.Tensor, fps: float) -> Known:
    """Encode a canvas [F, H, W, 3] with mask [F, H, W], and 16 frames of the video [N, h, w, C], which has `fps` a second.

    Raises ConditioningError when the VAE is not one of images, and core's InterruptProcessingException when the user cancels.
    """
    watch = watch_stages("fill", *STAGES)
    filled = start_pixels(frames, mask, watch)
    parts = (global_pixels(video[..., :3]), known_pixels(frames, mask), torch.zeros_like(frames[:1]), filled)
    shown, context, black, start = (
        _encode(vae, part, partial(watch, stage)) for part, stage in zip(parts, STAGES, strict=True)
    )
    whole = GlobalContext(shown, fps)
    positive = _conditioning(context, mask, whole)
    negative = _conditioning(black.expand_as(context), torch.ones_like(mask[:1]).expand_as(mask), whole.nulled())
    return Known(positive, negative, start)


def _encode(vae: Any, frames: torch.Tensor, report: Callable[[int, int], None]) -> torch.Tensor:
    """Latents [F, C, h, w], not scaled, of frames [F, H, W, 3]. Raises ConditioningError when the VAE is not one of images."""
    report(0, 1)
    latents = vae.encode(frames)
    wanted = (len(frames), *(side // CELL for side in frames.shape[1:3]))
    if latents.ndim != 4 or (len(latents), *latents.shape[2:]) != wanted:
        raise ConditioningError(
            f"the VAE makes latents of {list(latents.shape)}, but M3DDM needs one for each frame at an eighth of its size; use the VAE of Stable Diffusion 1.5"
        )
    report(1, 1)
    return latents


def _conditioning(latents: torch.Tensor, mask: torch.Tensor, context: GlobalContext) -> Conditioning:
    """What core takes for a prompt, which M3DDM does not read, with latents [F, C, h, w] and mask [F, H, W] of what is known."""
    values = {"concat_latent_image": latents, "concat_mask": mask[:, None], "canvas": context}
    return [[torch.zeros(1, 1, 1), values]]
