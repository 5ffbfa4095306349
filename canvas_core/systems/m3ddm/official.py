"""M3DDM's own canvas and pixels, for comparison with its results: a square of at most 256 pixels, filled by Telea.

alimama-creative/M3DDM-Video-Outpainting @ e2ccd7c; ours are `Canvas`, any size, and `fill_hidden`.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import torch

from ...m3ddm_video import Prepared
from ...plan.boxes import Box, Size

Levels = npt.NDArray[np.uint8]

LONGEST = 256
"""Pixels of the square canvas at most."""

TELEA_RADIUS = 5


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
