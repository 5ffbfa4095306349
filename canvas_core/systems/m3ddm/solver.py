"""M3DDM's scheduler: PNDM, entered late. Follows alimama-creative/M3DDM-Video-Outpainting @ e2ccd7c."""

from typing import Any

import torch
from diffusers import PNDMScheduler


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


def make_scheduler() -> LatePNDMScheduler:
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
