"""Denoising one canvas: windows in space and time, guidance, and a scheduler of diffusers. Frames are the batch."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from diffusers import DDIMScheduler

from ..errors import SamplingError
from ..plan.boxes import CELL, Box, Size
from ..plan.windows import WindowSettings, frame_weights
from ..relative_region import relative_region
from ..schedule import STEPS, ddim_step, rates, trailing_times
from ..systems.follow_your_canvas.guidance import Branch, Guidance
from .fusion import fuse_frames, fuse_windows

Predict = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""predict(x [F, C, H, W], timestep) -> the network's prediction on the whole canvas, same shape."""

MOST_STEPS = STEPS - 1
"""Leading time steps are shifted by one, so that 1,000 of them would reach beyond the schedule."""

PREDICTIONS = {"v": "v_prediction", "x0": "sample"}
"""What a network predicts, and what diffusers calls it."""


class Stepped(NamedTuple):
    """What a scheduler of diffusers answers to a step."""

    prev_sample: torch.Tensor


class TrailingScheduler(DDIMScheduler):
    """DDIM on evenly spaced time steps that start at pure noise and end at the clean latent.

    Those of diffusers leave a little noise for counts such as 7, and end at a step -1 for counts such as 61.
    """

    def set_timesteps(self, num_inference_steps: int, device: Any = None) -> None:
        """Time steps [num_inference_steps], falling."""
        self.num_inference_steps = num_inference_steps
        self.timesteps = trailing_times(num_inference_steps)

    def step(self, model_output: torch.Tensor, timestep: torch.Tensor, sample: torch.Tensor) -> Stepped:
        """To the next time step by `ddim_step`, or to the clean latent after the last."""
        signal, amount = rates(timestep)
        clean = model_output if self.config.prediction_type == "sample" else signal * sample - amount * model_output
        left = self.timesteps[self.timesteps < timestep]
        return Stepped(ddim_step(sample, clean, timestep, left[0]) if len(left) else clean)


def make_scheduler(prediction: str = "v", spacing: str = "leading") -> DDIMScheduler:
    """Follow-Your-Canvas's DDIM: plain linear betas rescaled to zero terminal SNR; the defaults are the published ones."""
    return (TrailingScheduler if spacing == "trailing" else DDIMScheduler)(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="linear",
        steps_offset=1,
        clip_sample=False,
        prediction_type=PREDICTIONS[prediction],
        rescale_betas_zero_snr=True,
    )


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
        parts = ((span, self._predict_span(x[span.start : span.stop], timestep, span)) for span in spans)
        return fuse_frames(parts, frame_weights(max(len(span) for span in spans)), torch.zeros_like(x))

    def _predict_span(self, x: torch.Tensor, timestep: torch.Tensor, span: range) -> torch.Tensor:
        boxes = self.settings.plan(Size(*x.shape[-2:])).windows
        parts = self._predict_windows(x, timestep, span, boxes)
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


Held = Mapping[int, torch.Tensor]
"""Frame to the latent [C, H, W] that it keeps while others are denoised."""


def hold_frames(predict: Predict, scheduler: Any, held: Held, noise: torch.Tensor) -> Predict:
    """`predict` with the frames that are held at their own latents, noised to each time step by their noise [F, C, H, W].

    What the sampler makes of these frames itself is without meaning.
    """
    slots = list(held)
    finished = torch.stack([held[slot] for slot in slots])

    def predict_others(x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        x = x.clone()
        x[slots] = scheduler.add_noise(finished, noise[slots], timestep.expand(len(slots)))
        return predict(x, timestep)

    return predict_others


class Start(NamedTuple):
    """Where denoising begins when not at pure noise."""

    latents: torch.Tensor
    """[F, C, H, W], to be noised"""
    strength: float
    """Share of the schedule that is run, above 0 and up to 1, as `denoise` of ComfyUI's samplers"""


def _begin(noise: torch.Tensor, scheduler: Any, steps: int, start: Start | None) -> tuple[torch.Tensor, torch.Tensor]:
    """The time steps to run and the noisy latents at the first of them."""
    if start is None or start.strength == 1:
        scheduler.set_timesteps(steps)
        return scheduler.timesteps, noise * scheduler.init_noise_sigma
    scheduler.set_timesteps(min(int(steps / start.strength), MOST_STEPS))
    timesteps = scheduler.timesteps[-steps:]
    return timesteps, scheduler.add_noise(start.latents, noise, timesteps[:1])


def check_steps(steps: int, least: int = 1) -> None:
    """Raise SamplingError unless the number of denoising steps is `least` to MOST_STEPS."""
    if not least <= steps <= MOST_STEPS:
        raise SamplingError(f"the number of steps is {steps}, but must be {least} to {MOST_STEPS}; 40 to 50 are usual")


@torch.inference_mode()
def denoise(
    predict: Predict,
    noise: torch.Tensor,
    scheduler: Any,
    steps: int,
    on_step: Callable[[int, torch.Tensor], None] | None = None,
    start: Start | None = None,
) -> torch.Tensor:
    """Latents [F, C, H, W] from noise of that shape, or from `start`. on_step(index, latents) is called after every step.

    Raises SamplingError as soon as a prediction is not finite.
    """
    check_steps(steps)
    if not torch.isfinite(noise).all():
        raise SamplingError("the start latents hold values that are not finite; check what made them")
    timesteps, x = _begin(noise, scheduler, steps, start)
    for index, timestep in enumerate(timesteps):
        prediction = predict(x, timestep)
        if not torch.isfinite(prediction).all():
            raise SamplingError(
                f"the model gave values that are not finite at step {index + 1} of {steps}; use --dtype float32 or check the checkpoint"
            )
        x = scheduler.step(prediction, timestep, x).prev_sample
        if on_step:
            on_step(index, x)
    return x
