"""Sampling one clip with M3DDM: noised Telea fill, context and guide frames, two-condition guidance, PNDM entered late.

Follows alimama-creative/M3DDM-Video-Outpainting @ e2ccd7c, whose fourth guidance branch is computed there and never used.
Frames are the batch: latents are [F, 4, h, w].
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from diffusers import PNDMScheduler

from .plan.boxes import Box, Size
from .plan.windows import WindowSettings
from .sampling.denoise import denoise
from .sampling.fusion import fuse_windows
from .sampling.guidance import context_global_guidance
from .systems.m3ddm.layers import GlobalKeys
from .systems.m3ddm.network import M3DDMUNet

CONTEXT_SCALE, GLOBAL_SCALE = 2.0, 4.0
"""Published guidance scales."""

STEPS = 50

LEAST_STEPS = 2
"""The first time step is left out, see `LatePNDMScheduler`."""


class LatePNDMScheduler(PNDMScheduler):
    """PNDM whose first time step is left out, as M3DDM's pipeline runs it.

    The published loop starts at the second entry of the timetable, at which the start is noised too, but the solver counts
    from the first: its first transfer is repeated from the wrong time and the third step skips one. That is kept, because the
    published results come from it.
    """

    timesteps: torch.Tensor

    def set_timesteps(self, num_inference_steps: int, device: Any = None) -> None:
        """Time steps [num_inference_steps], falling, the first one doubled."""
        super().set_timesteps(num_inference_steps, device)
        self.timesteps = self.timesteps[1:]


def make_m3ddm_scheduler() -> LatePNDMScheduler:
    """The scheduler of Stable Diffusion 1.5, which M3DDM was trained with, entered late."""
    return LatePNDMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        skip_prk_steps=True,
        set_alpha_to_one=False,
        steps_offset=1,
    )


@dataclass(frozen=True)
class M3DDMClip:
    """What the network is told about one clip."""

    context: torch.Tensor
    """[F, 4, h, w], scaled latents of the source on black"""
    mask: torch.Tensor
    """[F, 1, h, w], 1 = generate"""
    black: torch.Tensor
    """[1, 4, h, w], scaled latent of a black frame"""
    guides: Mapping[int, torch.Tensor]
    """Slot to its finished latent [4, h, w]"""
    keys: list[GlobalKeys]
    """Of the global frames"""
    null_keys: list[GlobalKeys]
    """Of zeros"""
    fps: float
    """Frames of the clip per second of the video: its rate over the stride"""

    def inputs(self, known: bool) -> torch.Tensor:
        """Context and mask [F, 5, h, w]; without `known` those of a clip of which only the guide frames are given."""
        context = self.context if known else self.black.expand_as(self.context)
        mask = self.mask if known else torch.ones_like(self.mask)
        given = torch.cat([context, mask], dim=1)
        for slot, latent in self.guides.items():
            given[slot] = torch.cat([latent, torch.zeros_like(mask[0])])
        return given

    def crop(self, box: Box) -> "M3DDMClip":
        """What one window of it is told; the global frames are those of the whole video."""
        guides = {slot: box.crop(latent) for slot, latent in self.guides.items()}
        return replace(
            self, context=box.crop(self.context), mask=box.crop(self.mask), black=box.crop(self.black), guides=guides
        )


@dataclass(frozen=True)
class M3DDMPredictor:
    """The guided noise of one clip; predict(x [F, 4, h, w], time step)."""

    unet: M3DDMUNet
    clip: M3DDMClip
    context_scale: float = CONTEXT_SCALE
    global_scale: float = GLOBAL_SCALE

    def branches(self, x: torch.Tensor, timestep: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Noise [F, 4, h, w] for nothing, the context, context and global frames."""
        clip = self.clip
        nothing, context = (torch.cat([x, clip.inputs(known)], dim=1) for known in (False, True))
        pairs = ((nothing, clip.null_keys), (context, clip.null_keys), (context, clip.keys))
        null, first, both = (self._evaluate(given, timestep, keys) for given, keys in pairs)
        return null, first, both

    def __call__(self, x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        return context_global_guidance(*self.branches(x, timestep), self.context_scale, self.global_scale)

    def _evaluate(self, x: torch.Tensor, timestep: torch.Tensor, keys: list[GlobalKeys]) -> torch.Tensor:
        fps = torch.tensor([self.clip.fps], device=x.device)
        return self.unet(x, timestep.to(x.device).expand(1), keys, fps)


@dataclass(frozen=True)
class TiledM3DDMPredictor:
    """Evaluates windows of the canvas and fuses their predictions; the published code knows only canvases of one window.

    Takes x [F, 4, h, w] of any device and precision; fuses in float32, because weights fall too low for less, and gives that.
    """

    predictor: M3DDMPredictor
    windows: WindowSettings

    def __call__(self, x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        boxes = self.windows.plan(Size(*x.shape[-2:])).windows
        clip = self.predictor.clip
        given = x.to(clip.context)  # the network's device and precision
        if len(boxes) == 1:
            return self.predictor(given, timestep).to(x.device, torch.float32)
        parts = ((box, replace(self.predictor, clip=clip.crop(box))(box.crop(given), timestep)) for box in boxes)
        total = torch.zeros_like(given, dtype=torch.float32)
        return fuse_windows(parts, self.windows.weigh(boxes[0].size), total).to(x.device)


def sample_clip(
    predict: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    start: torch.Tensor,
    noise: torch.Tensor,
    steps: int = STEPS,
    on_step: Callable[[int, torch.Tensor], None] | None = None,
) -> torch.Tensor:
    """Latents [F, 4, h, w] from the scaled latents `start` of the Telea fill. Raises SamplingError, see `denoise`."""
    scheduler = make_m3ddm_scheduler()
    scheduler.set_timesteps(steps)
    noised = scheduler.add_noise(start, noise, scheduler.timesteps[:1])
    return denoise(predict, noised, scheduler, steps, on_step)
