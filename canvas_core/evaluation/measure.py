"""Measures of an outpainted clip against a reference. Frames are [F, H, W, 3] float 0..1; hidden is a mask [H, W], 1 = generated."""

import math
from typing import NamedTuple

import torch
from kornia.metrics import ssim as ssim_map

from ..errors import GeometryError
from ..pixels.placing import generation_mask
from ..plan.boxes import Box, Size


class Measures(NamedTuple):
    """Numbers of one clip; dB, ratio or plain as named."""

    psnr: float
    """Peak signal to noise over the hidden area, dB"""
    ssim: float
    """Structural similarity over the hidden area, 11 x 11 Gaussian of 1.5"""
    seam: float
    """Gradient across the border of the known region over that of its surroundings; 1 = no seam"""
    flicker: float
    """Energy of frame differences in the hidden area over the reference's; 1 = as lively"""
    chunk_jump: float
    """Largest frame difference over the median one"""
    colour_drift: float
    """Distance of mean colours, hidden area of the last frame to that of the first, less the reference's"""
    known_error: float
    """Largest difference on the known region, 0..1"""


def masked_mean(values: torch.Tensor, mask: torch.Tensor) -> float:
    """Mean of [..., H, W] where the mask [H, W] is 1."""
    return values[..., mask > 0].double().mean().item()


def psnr(result: torch.Tensor, reference: torch.Tensor, mask: torch.Tensor) -> float:
    """Peak signal to noise ratio in dB where the mask is 1; infinite when equal."""
    error = masked_mean((result - reference).square().mean(-1), mask)
    return math.inf if error == 0 else -10 * math.log10(error)


def ssim(result: torch.Tensor, reference: torch.Tensor, mask: torch.Tensor) -> float:
    """Mean structural similarity where the mask is 1."""
    total = 0.0
    for one, other in zip(result, reference, strict=True):
        planes = ssim_map(one.permute(2, 0, 1)[None], other.permute(2, 0, 1)[None], window_size=11)
        total += masked_mean(planes.mean(1), mask)
    return total / len(result)


def _steps(lines: torch.Tensor) -> torch.Tensor:
    """Mean step [n - 1] between neighbouring columns of [F, h, n, 3]."""
    return lines.diff(dim=2).abs().double().mean(dim=(0, 1, 3))


def seam(frames: torch.Tensor, known: Box, reach: int = 8) -> float:
    """Mean step across the open borders of the known region over the mean of the `reach` steps on either side."""
    tall, wide = frames.shape[1:3]
    across = frames[:, known.y : known.bottom]
    along = frames[:, :, known.x : known.right].transpose(1, 2)
    borders = [(across, x) for x in (known.x, known.right) if 0 < x < wide] + [
        (along, y) for y in (known.y, known.bottom) if 0 < y < tall
    ]
    at, around = [], []
    for lines, border in borders:
        steps = _steps(lines)
        nearby = torch.cat([steps[max(border - 1 - reach, 0) : border - 1], steps[border : border + reach]])
        at.append(steps[border - 1])
        around.append(nearby.mean())
    if not at:
        raise GeometryError(
            f"the known region {known} has no border inside the frame of {Size(tall, wide)}; give the source's box with --known X,Y,W,H"
        )
    return (torch.stack(at).mean() / torch.stack(around).mean().clamp(min=1e-12)).item()


def frame_steps(frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean squared difference [F - 1] of neighbouring frames where the mask is 1."""
    return frames.diff(dim=0).square().mean(-1)[:, mask > 0].double().mean(-1)


def _mean_colour(frame: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return frame[mask > 0].double().mean(0)


def colour_drift(frames: torch.Tensor, mask: torch.Tensor) -> float:
    """Distance between the mean colours of the first and the last frame where the mask is 1."""
    return (_mean_colour(frames[-1], mask) - _mean_colour(frames[0], mask)).norm().item()


def measure(result: torch.Tensor, reference: torch.Tensor, known: Box) -> Measures:
    """All measures of `result`, whose known region is `known`. Raises GeometryError when the clips do not match."""
    if result.shape != reference.shape:
        raise GeometryError(
            f"the result is {list(result.shape)} (frames, height, width, 3) and the reference {list(reference.shape)}; give two clips of one size and length"
        )
    if known.h < 1 or known.w < 1 or not known.inside(Size(*result.shape[1:3])):
        raise GeometryError(
            f"the known region {known} leaves the frame of {Size(*result.shape[1:3])}; give it as X,Y,W,H in pixels"
        )
    hidden = generation_mask(Size(*result.shape[1:3]), known)
    if not hidden.any():
        raise GeometryError(
            "the known region covers the whole frame, so nothing was generated; give the source's box with --known X,Y,W,H"
        )
    steps, expected = frame_steps(result, hidden), frame_steps(reference, hidden)
    still = len(result) < 2
    return Measures(
        psnr=psnr(result, reference, hidden),
        ssim=ssim(result, reference, hidden),
        seam=seam(result, known),
        flicker=math.nan if still else (steps.mean() / expected.mean().clamp(min=1e-12)).item(),
        chunk_jump=math.nan if still else (steps.max() / steps.median().clamp(min=1e-12)).sqrt().item(),
        colour_drift=colour_drift(result, hidden) - colour_drift(reference, hidden),
        known_error=(result - reference).abs()[:, hidden == 0].max().item(),
    )
