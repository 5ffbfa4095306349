"""How a small network is helped: a smooth fill of what is hidden, and a prediction that starts from the best linear guess.

The network then only has to tell what fill and noisy latent cannot: Karras et al., "Elucidating the Design Space of
Diffusion-Based Generative Models" (2022), section 5, with the fill as the mean instead of zero.
"""

import math

import torch

from ..schedule import rates

ENOUGH = 0.15
"""Share of a Gaussian that must lie on known cells for its scale to count fully; a straight border gives it one sigma away."""


def fill_cells(latents: torch.Tensor, mask: torch.Tensor, frames: int, carry: tuple[float, ...]) -> torch.Tensor:
    """Latents [(B F), C, H, W] with the cells of mask [(B F), 1, H, W] = 1 filled smoothly from the known ones.

    Each hidden cell is the Gaussian mean of known cells at the finest scale that reaches enough of them, so that the border
    is carried outwards and blurred the wider the further, times the channel's number in `carry`. Frames without a known cell
    take those of the nearest frames; a clip without any stays 0.
    """
    known = 1 - mask
    with torch.autocast(latents.device.type, enabled=False):
        filled = _fill_space(latents, known)
    filled = torch.where(known > 0, latents, filled * torch.tensor(carry, device=latents.device)[:, None, None])
    present = known.flatten(1).amax(1).unflatten(0, (-1, frames))  # B F
    return _fill_frames(filled.unflatten(0, (-1, frames)), present).flatten(0, 1)


def _fill_space(latents: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Each frame on its own; 0 in frames without a known cell."""
    stacked = torch.cat([latents * known, known], dim=1)
    filled = torch.zeros_like(latents)
    for index, sigma in enumerate(_scales(max(known.shape[-2:]))):
        values, weight = _blur(stacked, sigma).split([latents.shape[1], 1], dim=1)
        trust = (weight / ENOUGH).clamp(max=1) if index else torch.ones_like(weight)
        filled = torch.lerp(filled, values / weight.clamp(min=1e-8), trust)
    return filled


def _scales(side: int) -> list[float]:
    """Sigmas in cells, coarse to fine; the coarsest sees the whole side."""
    count = math.ceil(math.log2(max(2, side)))
    return [0.7 * 2**k for k in reversed(range(count + 2))]


def _blur(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian blur of [N, C, H, W]; what lies outside counts as 0."""

    def matrix(side: int) -> torch.Tensor:
        index = torch.arange(side, device=x.device, dtype=torch.float32)
        kernel = torch.exp(-(index[:, None] - index[None]).square() / (2 * sigma**2))
        return (kernel / (sigma * math.sqrt(2 * math.pi))).to(x)

    return matrix(x.shape[-2]) @ x @ matrix(x.shape[-1])


def _fill_frames(filled: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Frames [B, F, C, H, W] that are not `present` [B, F] become the mean of those that are, weighted by 1 / distance^2."""
    if present.all():
        return filled
    index = torch.arange(filled.shape[1], device=filled.device)
    distance = (index[:, None] - index[None]).abs().clamp(min=1)
    weight = present[:, None] / distance.square()  # B to from
    weight = weight / weight.sum(2, keepdim=True).clamp(min=1e-6)
    borrowed = torch.einsum("bij,bjchw->bichw", weight.to(filled), filled)
    return torch.where(present[..., None, None, None] > 0, filled, borrowed)


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
