"""A smooth fill of hidden pixels by a pyramid of means: pulled together, then pushed back where nothing is known."""

import torch
from torch.nn.functional import avg_pool2d, conv2d, interpolate, max_pool2d

TAPS = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
"""Blur of every scale, in its own pixels."""

ENOUGH = 0.05
"""Blurred share of the border, a line one pixel wide of the finest scale, that makes a scale count fully."""

MEAN_REACH = 75.0
"""Pixel size at which a scale has given way to the mean colour by a factor of e."""


def fill_pixels(pixels: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """Pixels [N, C, H, W] with those of hidden [N, 1, H, W] = 1 continued from the others; where nothing is known, 0."""
    known = 1 - hidden
    border = known * max_pool2d(hidden, 3, stride=1, padding=1)
    level = torch.cat([pixels * border, border], dim=1)
    scales = []
    size = 1
    while True:
        values, weight = _blur(level).split([pixels.shape[1], 1], dim=1)
        trust = (weight * size / ENOUGH).clamp(max=1) * torch.exp(torch.tensor(-size / MEAN_REACH))
        scales.append((values / weight.clamp(min=1e-8), trust))
        if max(level.shape[-2:]) == 1:
            break
        level, size = avg_pool2d(level, 2, ceil_mode=True), 2 * size
    filled = (pixels * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True).clamp(min=1)
    for values, trust in reversed(scales):
        filled = torch.lerp(interpolate(filled, size=values.shape[-2:], mode="bilinear"), values, trust)
    return torch.where(known > 0, pixels, filled)


def _blur(x: torch.Tensor) -> torch.Tensor:
    """What lies outside counts as 0."""
    taps = torch.tensor(TAPS, device=x.device).expand(x.shape[1], 1, 1, -1)
    x = conv2d(x, taps, padding=(0, 2), groups=x.shape[1])
    return conv2d(x, taps.mT, padding=(2, 0), groups=x.shape[1])
