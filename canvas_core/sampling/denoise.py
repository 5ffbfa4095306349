"""The one loop over denoising steps, for any network and any scheduler of diffusers. Frames are the batch."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import torch

from ..errors import SamplingError

MOST_STEPS = 999
"""Leading time steps are shifted by one, so that 1,000 of them would reach beyond a schedule of 1,000."""

Draw = Callable[[tuple[int, ...]], torch.Tensor]
"""draw(shape) -> the next random numbers of a run, float32 on the CPU."""

Predict = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""predict(x [F, C, H, W], time step) -> what the network says of the whole canvas, same shape."""

Noised = Callable[[torch.Tensor, Sequence[int]], torch.Tensor]
"""noised(clean [n, C, H, W], slots) -> these slots of the clip at the present time step, by their own noise."""

Enter = Callable[[int, torch.Tensor, Noised], torch.Tensor]
"""enter(step, x [F, C, H, W], noised) -> what the step starts from, for prediction and scheduler alike."""


class Stepped(NamedTuple):
    """What a scheduler answers to a step."""

    prev_sample: torch.Tensor


class Scheduler(Protocol):
    """What is used of diffusers' schedulers. One that adds noise at each step is given a `Draw` when it is made."""

    timesteps: torch.Tensor
    """[T], falling"""
    init_noise_sigma: float

    def set_timesteps(self, num_inference_steps: int) -> None:
        """Choose `num_inference_steps` time steps."""

    def add_noise(self, original_samples: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """Clean latents [n, C, H, W] at time steps [n] or [1]."""

    def step(self, model_output: torch.Tensor, timestep: torch.Tensor, sample: torch.Tensor) -> Any:
        """From one time step to the next; the answer has the field `prev_sample`."""


class Start(NamedTuple):
    """Where denoising begins when not at pure noise."""

    latents: torch.Tensor
    """[F, C, H, W], to be noised to the first time step"""
    strength: float
    """Share of the schedule that is run, above 0 and up to 1, as `denoise` of ComfyUI's samplers"""


def check_steps(steps: int, least: int = 1) -> None:
    """Raise SamplingError unless the number of denoising steps is `least` to MOST_STEPS."""
    if not least <= steps <= MOST_STEPS:
        raise SamplingError(f"the number of steps is {steps}, but must be {least} to {MOST_STEPS}; 40 to 50 are usual")


def _begin(
    noise: torch.Tensor, scheduler: Scheduler, steps: int, start: Start | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The time steps to run and the noisy latents at the first of them."""
    if start is None:
        scheduler.set_timesteps(steps)
        return scheduler.timesteps, noise * scheduler.init_noise_sigma
    scheduler.set_timesteps(min(int(steps / start.strength), MOST_STEPS))
    times = scheduler.timesteps[-steps:]
    return times, scheduler.add_noise(start.latents, noise, times[:1])


@torch.inference_mode()
def denoise(
    predict: Predict,
    noise: torch.Tensor,
    scheduler: Scheduler,
    steps: int,
    enter: Enter | None = None,
    start: Start | None = None,
    on_step: Callable[[int, torch.Tensor], None] | None = None,
) -> torch.Tensor:
    """Latents [F, C, H, W] from noise of that shape, or from `start`. on_step(index, latents) is called after every step.

    Raises SamplingError as soon as a prediction is not finite.
    """
    check_steps(steps)
    if not torch.isfinite(noise).all():
        raise SamplingError("the start latents hold values that are not finite; check what made them")
    times, x = _begin(noise, scheduler, steps, start)
    for index, time in enumerate(times):
        if enter:
            x = enter(index, x, partial(_at, scheduler, noise, time))
        prediction = predict(x, time)
        if not torch.isfinite(prediction).all():
            raise SamplingError(
                f"the model gave values that are not finite at step {index + 1} of {steps}; use --dtype float32 or check the checkpoint"
            )
        x = scheduler.step(prediction, time, x).prev_sample
        if on_step:
            on_step(index, x)
    return x


def _at(
    scheduler: Scheduler, noise: torch.Tensor, time: torch.Tensor, clean: torch.Tensor, slots: Sequence[int]
) -> torch.Tensor:
    """`Noised` of one time step, from the noise [F, C, H, W] of all slots."""
    return scheduler.add_noise(clean, noise[list(slots)], time.expand(len(slots)))
