"""M3DDM's own canvas, pixels and plan, for comparison with its results: a square of at most 256 pixels, filled by Telea.

alimama-creative/M3DDM-Video-Outpainting @ e2ccd7c; ours are `Canvas`, any size, and `fill_hidden`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch

from ...plan.boxes import Box, Size
from ...plan.keyframes import CLIP, OVERLAP, ClipPlan, KeyframePlan
from .plan import m3ddm_strides

Levels = npt.NDArray[np.uint8]

LONGEST = 256
"""Pixels of the square canvas at most."""

TELEA_RADIUS = 5


class Prepared(NamedTuple):
    """Frames on the canvas, 0..1."""

    masked: torch.Tensor
    """[F, H, W, 3], black where hidden"""
    filled: torch.Tensor
    """[F, H, W, 3], hidden area filled by Telea"""
    mask: torch.Tensor
    """[H, W], 1 = generate"""


def _ratio(name: str) -> float:
    w, h = name.split(":")
    return float(w) / float(h)


def reached_size(source: Size, ratios: Sequence[str]) -> tuple[float, float]:
    """Height and width of the smallest area that holds the source in every aspect "w:h"."""
    h, w = float(source.h), float(source.w)
    for ratio in map(_ratio, ratios):
        if source.w / source.h < ratio:
            w = max(w, ratio * source.h)
        else:
            h = max(h, source.w / ratio)
    return h, w


def official_canvas(source: Size, ratios: Sequence[str]) -> tuple[int, Box]:
    """Side of the square canvas, and the scaled source's box on it."""
    longest = max(reached_size(source, ratios))
    side = int(min(longest, LONGEST))
    h, w = (min(int(side / longest * length), side) for length in source)
    return side, Box((side - h) // 2, (side - w) // 2, h, w)


def prepare_official(frames: torch.Tensor, ratios: Sequence[str]) -> Prepared:
    """Frames [F, h, w, 3] uint8 on the canvas that reaches every ratio."""
    side, box = official_canvas(Size(*frames.shape[1:3]), ratios)
    mask = np.ones((side, side), np.uint8)
    mask[box.y : box.bottom, box.x : box.right] = 0
    masked = np.zeros((len(frames), side, side, 3), np.uint8)
    for target, frame in zip(masked, frames.numpy(), strict=True):
        # Published rounding: the resized frame is cut to whole levels, not rounded.
        scaled = cv2.resize(frame.astype(np.float32), (box.w, box.h), interpolation=cv2.INTER_LINEAR)
        target[box.y : box.bottom, box.x : box.right] = scaled
    filled = np.stack([cv2.inpaint(frame, mask, TELEA_RADIUS, cv2.INPAINT_TELEA) for frame in masked])
    return Prepared(_unit(masked), _unit(filled), torch.from_numpy(mask).float())


def paste_official_m3ddm(generated: torch.Tensor, masked: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The published composite [H, W, 3] uint8: known pixels on top without a feather, levels cut instead of rounded, so that some
    known ones come out one level darker. generated and masked [H, W, 3] 0..1, mask [H, W]."""
    known = ((masked - 0.5) / 0.5 / 2 + 0.5) * 255  # the published code goes through -1..1
    mixed = torch.where(mask[..., None] > 0, (generated * 255).round(), known)
    return mixed.clamp(0, 255).byte()


def _unit(levels: Levels) -> torch.Tensor:
    return torch.from_numpy(levels).float() / 255


def official_crop(side: int, ratio: str) -> Box:
    """The part of the square canvas that an output of aspect "w:h" shows."""
    wanted = _ratio(ratio)
    h, w = (side, int(side * wanted)) if wanted < 1 else (int(side / wanted), side)
    return Box(int((side - h) / 2), int((side - w) / 2), h, w)


class OfficialPlan(NamedTuple):
    """A plan and which picture comes from which slot."""

    plan: KeyframePlan
    shows: tuple[tuple[tuple[int, int], ...], ...]
    """Of each clip: (slot, number of the picture) for each picture that it leaves; a later clip's replaces it"""

    @property
    def shown(self) -> dict[int, tuple[int, int]]:
        """Number of each picture -> (clip, slot) that it comes from."""
        return {number: (index, slot) for index, clip in enumerate(self.shows) for slot, number in clip}


def official_plan(length: int) -> OfficialPlan:
    """The plan of alimama-creative/M3DDM-Video-Outpainting @ e2ccd7c, faults included.

    Clips are filled up with copies of the last frame, whatever the stride; a frame keeps its first latent and its last
    picture; pictures of filled-up slots are numbered on, beyond the end too; a video of one frame has no clip at all, and one
    whose length exceeds a multiple of the stride may end before its last key frame. `plan_levels` does none of this.
    """
    strides, done, clips, shows = m3ddm_strides(length), set[int](), [], []
    for stride in strides:
        level = range(0, length, stride)
        for start in range(0, max(length // stride - 1, 0), CLIP - OVERLAP):
            own = tuple(level[start : start + CLIP])
            frames = own + (length - 1,) * (CLIP - len(own))
            guides = tuple(slot for slot, frame in enumerate(frames) if frame in done)
            firsts = {frame: slot for slot, frame in reversed(list(enumerate(frames))) if frame not in done}
            shows.append(tuple((slot, own[0] + slot * stride) for slot in range(CLIP)))
            clips.append(ClipPlan(stride, frames, guides, tuple(sorted(firsts.values()))))
            done.update(frames)
    return OfficialPlan(KeyframePlan(length, strides, tuple(clips)), tuple(shows))
