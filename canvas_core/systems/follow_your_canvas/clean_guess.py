"""A prediction that starts from the best linear guess, so that the network only tells what fill and noisy latent cannot.

Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models" (2022), section 5, with a fill of the
hidden cells as the mean instead of zero.
"""

import torch

from .schedule import rates


class CleanGuess:
    """The clean latent as fill + k (noisy / signal - fill) + s' x network output, for a fill that errs by `spread` where hidden.

    noisy, fill [(B F), C, H, W]; mask [(B F), 1, H, W]; timestep [B]; spread: standard deviation of a clean hidden latent
    around its fill, one number a channel. Known cells are the fill itself.
    """

    def __init__(
        self,
        noisy: torch.Tensor,
        fill: torch.Tensor,
        mask: torch.Tensor,
        timestep: torch.Tensor,
        spread: tuple[float, ...],
    ):
        frames = noisy.shape[0] // timestep.shape[0]
        signal, noise = (rate.repeat_interleave(frames)[:, None, None, None] for rate in rates(timestep))
        deviation = torch.tensor(spread, device=noisy.device)[:, None, None]
        total = (signal * deviation).square() + noise.square()
        self.start = fill + mask * signal * deviation.square() / total * (noisy - signal * fill)
        self.scale = mask * deviation * noise / total.sqrt()

    def finish(self, output: torch.Tensor) -> torch.Tensor:
        """The clean latent, float32, from the network's output."""
        return self.start + self.scale * output.float()
