"""The noise schedule of Follow-Your-Canvas: 1,000 linear betas, rescaled to zero terminal signal-to-noise ratio."""

from functools import lru_cache

import torch

STEPS = 1000


@lru_cache
def signal_rates() -> torch.Tensor:
    """Share [1000] of the clean latent in the noisy one at each time step: the square root of alpha bar, 0 at the last.

    Rescaled as in Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed" (2024), algorithm 1.
    """
    rates = (1 - torch.linspace(0.00085, 0.012, STEPS, dtype=torch.float64)).cumprod(0).sqrt()
    return ((rates - rates[-1]) * rates[0] / (rates[0] - rates[-1])).float()


def rates(timestep: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Signal and noise rate at time steps 0..999, fractions allowed; their squares add up to 1."""
    table = signal_rates().to(timestep.device)
    position = timestep.float().clamp(0, STEPS - 1)
    below = position.floor().long()
    signal = torch.lerp(table[below], table[(below + 1).clamp(max=STEPS - 1)], position - below)
    return signal, (1 - signal.square()).sqrt()


def trailing_times(steps: int) -> torch.Tensor:
    """Evenly spaced time steps [steps], falling from the last one, pure noise, towards the clean latent."""
    return torch.linspace(STEPS - 1, -1, steps + 1)[:-1].round().long()


def ddim_step(noisy: torch.Tensor, clean: torch.Tensor, now: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """The noisy latent at time step `after` from that at `now` and what the clean one is thought to be.

    Song et al., "Denoising Diffusion Implicit Models" (2021), equation 12 without noise.
    """
    signal, amount = rates(now)
    next_signal, next_amount = rates(after)
    return next_signal * clean + next_amount * (noisy - signal * clean) / amount
