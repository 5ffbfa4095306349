"""Denoising one canvas: windows in space and time, guidance, and a scheduler of diffusers. Frames are the batch."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch

from ..errors import SamplingError

Predict = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""predict(x [F, C, H, W], timestep) -> the network's prediction on the whole canvas, same shape."""

MOST_STEPS = 999
"""Leading time steps are shifted by one, so that 1,000 of them would reach beyond a schedule of 1,000."""


class Stepped(NamedTuple):
    """What a scheduler of diffusers answers to a step."""

    prev_sample: torch.Tensor


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
