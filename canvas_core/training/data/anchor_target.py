"""Follow-Your-Canvas's training samples: an anchor that is known and a target window that is partly outside it."""

import random
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch.nn.functional import interpolate

from ...plan.boxes import Box, Size
from ...systems.follow_your_canvas.relative_region import RelativeRegion, relative_region

MARGIN = 16
"""Pixels the video must be larger than anchor and target together."""


@dataclass(frozen=True)
class AnchorTargetSettings:
    """Ranges the sampler draws from; defaults are the published training's. Sizes in pixels."""

    target: Size = Size(512, 512)
    overlap_h: tuple[float, float] = (0.1, 1)
    overlap_w: tuple[float, float] = (-0.1, 1)
    """Share of the target that overlaps the anchor; below 0 they do not touch."""
    anchor_h: tuple[int, int] = (1440, 512)
    anchor_w: tuple[int, int] = (1440, 512)


class AnchorTarget(NamedTuple):
    """One training sample; both crops are [..., h, w]."""

    anchor: torch.Tensor
    target: torch.Tensor
    known: Box | None
    """The part of the target that lies in the anchor, in target pixels"""
    region: RelativeRegion


def sample_anchor_target(video: torch.Tensor, settings: AnchorTargetSettings, draw: random.Random) -> AnchorTarget:
    """Crop an anchor from the centre of `video` [F, C, H, W] and a target pushed out of it on a random side per axis.

    get_anchor_target of mayuelala/FollowYourCanvas @ 2748eb1. The video is resized (bilinear) so that both just fit.
    """
    anchor = Size(int(draw.uniform(*settings.anchor_h)), int(draw.uniform(*settings.anchor_w)))
    overlap = (draw.uniform(*settings.overlap_h), draw.uniform(*settings.overlap_w))
    push = [int((1 - share) * side) for share, side in zip(overlap, settings.target, strict=True)]
    video = _resize(video, [int(2 * (p + a / 2)) + MARGIN for p, a in zip(push, anchor, strict=True)])
    centre = [side // 2 for side in video.shape[-2:]]
    box = Box(centre[0] - anchor.h // 2, centre[1] - anchor.w // 2, *anchor)
    corner = []
    for middle, p, a, side in zip(centre, push, anchor, settings.target, strict=True):
        away = int(p + a / 2 - side / 2)
        corner.append(middle + (away if draw.random() > 0.5 else -away) - side // 2)
    target = Box(corner[0], corner[1], *settings.target)
    common = box.intersect(target)
    known = common.moved(-target.y, -target.x) if common else None
    return AnchorTarget(box.crop(video), target.crop(video), known, relative_region(target, box, "centre_px"))


def _resize(video: torch.Tensor, needed: list[int]) -> torch.Tensor:
    scale = max(need / side for need, side in zip(needed, video.shape[-2:], strict=True))
    size = [max(need, int(side * scale)) for need, side in zip(needed, video.shape[-2:], strict=True)]
    return interpolate(video, size=size, mode="bilinear", align_corners=False)
