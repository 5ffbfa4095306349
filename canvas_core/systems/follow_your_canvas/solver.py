"""Follow-Your-Canvas's schedulers."""

from typing import Any

import torch
from diffusers import DDIMScheduler

from ...sampling.denoise import Stepped
from .schedule import ddim_step, rates, trailing_times

PREDICTIONS = {"v": "v_prediction", "x0": "sample"}
"""What a network predicts, and what diffusers calls it."""


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
