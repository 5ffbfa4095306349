"""Weighted means of overlapping predictions, one window in memory at a time."""

from collections.abc import Iterable

import torch

from ..plan.boxes import Box, Size


def fuse_windows(parts: Iterable[tuple[Box, torch.Tensor]], weights: torch.Tensor, size: Size) -> torch.Tensor:
    """Weighted mean [..., H, W] float32 of windows. parts yields (box in cells, [..., h, w]), weights [h, w], size (H, W).

    A window that covers all is taken as it is: weighting and dividing would round it. Fusing predictions equals fusing x_(t-1),
    as MultiDiffusion writes it, for every sampler step that is linear in the prediction with the same coefficients in all
    windows; it also commutes with linear guidance.
    """
    total = norm = torch.empty(0)
    for index, (box, part) in enumerate(parts):
        if box.size == size:
            return part
        if index == 0:
            total = part.new_zeros(*part.shape[:-2], *size, dtype=torch.float32)
            norm, weights = part.new_zeros(tuple(size), dtype=torch.float32), weights.to(part.device)
        box.crop(total).add_(part * weights)
        box.crop(norm).add_(weights)
    return total.div_(norm)


def fuse_frames(parts: Iterable[tuple[range, torch.Tensor]], weights: torch.Tensor, frames: int) -> torch.Tensor:
    """Weighted mean [F, ...] float32 of time windows of a clip of `frames`. parts yields (span, [f, ...]), weights [at least f].

    A span of all frames is taken as it is.
    """
    total = norm = torch.empty(0)
    for index, (span, part) in enumerate(parts):
        if len(span) == frames:
            return part
        if index == 0:
            total = part.new_zeros(frames, *part.shape[1:], dtype=torch.float32)
            norm, weights = part.new_zeros(frames, dtype=torch.float32), weights.to(part.device)
        share = weights[: len(span)]
        total[span.start : span.stop] += part * share.view(-1, *[1] * (part.ndim - 1))
        norm[span.start : span.stop] += share
    return total.div_(norm.view(-1, *[1] * (total.ndim - 1)))
