"""Follow-Your-Canvas's own arithmetic @ 2748eb1, for comparison with its results: known box, paste and 8-bit input."""

import cv2
import numpy as np
import torch

from ...errors import GeometryError
from ...pixels.compositing import check_frames
from ...pixels.placing import place_source
from ...plan.boxes import Box, Size
from ...plan.canvas import Canvas


def to_levels_official(frames: torch.Tensor) -> torch.Tensor:
    """Frames -1..1 to uint8 levels by truncation, the published arithmetic; most levels below 64 lose one."""
    return torch.from_numpy(np.uint8(((frames + 1) / 2 * 255).numpy()))


def official_known_box(canvas: Size, source: Size) -> Box | None:
    """Follow-Your-Canvas's known region: equal pads of int((canvas - source) / 2) on opposite sides.

    An odd difference makes the box one pixel larger than the source. Without any pad the published code
    treats everything as unknown, which is returned as None.
    """
    top, left = (canvas.h - source.h) // 2, (canvas.w - source.w) // 2
    return None if top == left == 0 else Box(top, left, canvas.h - 2 * top, canvas.w - 2 * left)


PASTES = ("feather", "official")
"""How the source is put back: exactly inside a feather, or as published."""


def require_centred(canvas: Canvas) -> None:
    """Raise GeometryError unless the source lies where the official paste expects it."""
    source, size = canvas.source, canvas.size
    if (source.y, source.x) != ((size.h - source.h) // 2, (size.w - source.w) // 2):
        raise GeometryError(
            f"the source lies off-centre on the canvas of {size} (pads {tuple(canvas.pads)}), which the official paste cannot do; use the feathered paste, or centre it on a size that is a multiple of 8"
        )


def _official_alpha(box: Box, canvas: Size) -> torch.Tensor:
    margin = max(max(canvas) // 50, 2)
    binary = np.zeros(tuple(box.size), np.float32)
    top, left = margin if box.y else 1, margin if box.x else 1
    binary[top : box.h - margin, left : box.w - margin] = 1

    def odd(side: int) -> int:
        return side + 1 if side % 2 == 0 else side + 2

    # The published code swaps the axes: the kernel made from the width acts along the height.
    return torch.from_numpy(cv2.GaussianBlur(binary, (odd(box.h), odd(box.w)), 2))


def paste_official(result: torch.Tensor, placed: torch.Tensor, source: Size) -> tuple[torch.Tensor, torch.Tensor]:
    """Follow-Your-Canvas's paste (replace_video @ 2748eb1): (smooth, replaced), both [F, H, W, C].

    placed is the canvas with the centred source on grey. Differs from `paste_source`: the placed frames are stretched so
    that their extremes over the whole clip meet the result's, the blend is Gaussian, and it also blends the bottom and
    right border of the canvas, so no source pixel is guaranteed to survive.
    """
    low, high = placed.min(), placed.max()
    mapped = (placed - low) / (high - low) * (result.max() - result.min()) + result.min()
    canvas = Size(*result.shape[1:3])
    box = official_known_box(canvas, source)
    if box is None:
        raise GeometryError(
            f"the source fills the whole canvas of {canvas}, so there is nothing to paste; ask for a larger canvas"
        )
    rows, columns = slice(box.y, box.bottom), slice(box.x, box.right)
    replaced = result.clone()
    replaced[:, rows, columns] = mapped[:, rows, columns]
    alpha = _official_alpha(box, canvas).to(result)[..., None]
    smooth = replaced.clone()
    smooth[:, rows, columns] = replaced[:, rows, columns] * alpha + result[:, rows, columns] * (1 - alpha)
    return smooth, replaced


def paste_as_published(result: torch.Tensor, source: torch.Tensor, canvas: Canvas) -> torch.Tensor:
    """`paste_official` of source frames [F, h, w, C] on a result [F, H, W, C], its smooth form.

    Raises GeometryError when the frames are not this canvas's, or the source is not centred.
    """
    check_frames(result, source, canvas)
    require_centred(canvas)
    return paste_official(result, place_source(source, canvas.size, canvas.source) * 2 - 1, canvas.source.size)[0]
