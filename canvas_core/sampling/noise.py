"""Start noise."""

import torch


def share_noise(noise: torch.Tensor, share: float) -> torch.Tensor:
    """Noise [F, ...] of independent frames, mixed so that `share` of its variance is common to all frames. Stays of unit variance."""
    if share == 0 or len(noise) == 1:
        return noise
    own, mean = (1 - share) ** 0.5, noise.sum(0, keepdim=True) / len(noise) ** 0.5
    overlap = own / len(noise) ** 0.5  # the mean holds a part of each frame already
    return ((overlap**2 + share) ** 0.5 - overlap) * mean + own * noise
