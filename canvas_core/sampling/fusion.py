"""Weighted means of overlapping predictions, one window in memory at a time."""

from collections.abc import Iterable

import torch

from ..plan.boxes import Box


def fuse_windows(parts: Iterable[tuple[Box, torch.Tensor]], weights: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
    """Weighted mean of windows. parts yields (box in cells, [..., h, w]), weights [h, w]; total is zeros [..., H, W] float32.

    Fusing predictions equals fusing x_(t-1), as MultiDiffusion writes it, for every sampler step that is linear in
    the prediction with the same coefficients in all windows; it also commutes with linear guidance.
    """
    norm = total.new_zeros(total.shape[-2:], dtype=torch.float32)
    weights = weights.to(total.device)
    for box, part in parts:
        box.crop(total).add_(part * weights)
        box.crop(norm).add_(weights)
    return total.div_(norm)


def fuse_frames(
    parts: Iterable[tuple[range, torch.Tensor]], weights: torch.Tensor, total: torch.Tensor
) -> torch.Tensor:
    """Weighted mean of time windows. parts yields (span, [f, ...]), weights [at least f]; total is zeros [F, ...] float32."""
    norm = total.new_zeros(total.shape[0], dtype=torch.float32)
    for span, part in parts:
        share = weights[: len(span)].to(total.device)
        total[span.start : span.stop] += part * share.view(-1, *[1] * (part.ndim - 1))
        norm[span.start : span.stop] += share
    return total.div_(norm.view(-1, *[1] * (total.ndim - 1)))
