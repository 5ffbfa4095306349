"""Putting the true source pixels back on the generated canvas. Frames are [F, H, W, C], values 0..1."""

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
import numpy.typing as npt
import torch

from ..errors import GeometryError
from ..plan.boxes import Size
from ..plan.canvas import Canvas
from .placing import trim_frames


def inward_alpha(canvas: Canvas, feather: int) -> torch.Tensor:
    """Weight [h, w] of the source: 1 inside, falling over `feather` pixels towards sides that have generated neighbours.

    Raises GeometryError when the feather is negative or would leave no source pixel untouched.
    """
    source, frame = canvas.source, canvas.trim
    open_sides = (source.y > frame.y, source.x > frame.x, source.bottom < frame.bottom, source.right < frame.right)
    if feather < 0 or 2 * feather >= min(source.h, source.w):
        raise GeometryError(
            f"the feather is {feather} px, but must be 0 to {(min(source.h, source.w) - 1) // 2} for a source of {source.size}; lower it"
        )

    def ramp(length: int, before: bool, after: bool) -> torch.Tensor:
        inside = torch.arange(length) + 1.0
        rising = (inside / (feather + 1)).clamp(max=1)
        return torch.minimum(rising if before else torch.ones(length), rising.flip(0) if after else torch.ones(length))

    top, left, bottom, right = open_sides
    return torch.minimum(ramp(source.h, top, bottom)[:, None], ramp(source.w, left, right)[None])


def paste_source(result: torch.Tensor, source: torch.Tensor, canvas: Canvas, feather: int = 0) -> torch.Tensor:
    """The result with the source on top, bit-identical to the source outside an inward feather of `feather` pixels.

    result [F, H, W, C] of the whole canvas, source [F, h, w, C]. Raises GeometryError when the shapes do not fit the canvas.
    """
    check_frames(result, source, canvas)
    box = canvas.source
    alpha = inward_alpha(canvas, feather).to(result)[..., None]
    out = result.clone()
    known = out[:, box.y : box.bottom, box.x : box.right]
    known.copy_(torch.where(alpha < 1, source * alpha + known * (1 - alpha), source))
    return out


def paste_frames(
    result: Iterable[torch.Tensor], source: Iterable[torch.Tensor], canvas: Canvas, feather: int
) -> Iterator[torch.Tensor]:
    """`paste_source` frame by frame: result [H, W, C] 0..1 of the whole canvas, source [h, w, C] 0..1 -> [H', W', C] trimmed."""
    for frame, known in zip(result, source, strict=True):
        yield trim_frames(paste_source(frame[None], known[None].to(frame), canvas, feather), canvas)[0]


def paste_borrowed(result: torch.Tensor, frames: torch.Tensor, mask: torch.Tensor, feather: int = 0) -> torch.Tensor:
    """The result [F, H, W, C] with the pixels of `frames` on top wherever mask [F, H, W] is 0, blended over `feather` pixels inwards.

    For what is known beyond the source, such as pixels borrowed from other frames. Raises GeometryError on other shapes.
    """
    if result.shape != frames.shape or result.shape[:3] != mask.shape:
        raise GeometryError(
            f"the result is {list(result.shape)}, the frames {list(frames.shape)} and the mask {list(mask.shape)}; give frames and mask of the whole canvas, as many as the result has"
        )
    known = (mask < 0.5).cpu().numpy().astype(np.uint8)
    inside = np.stack([_depth(frame) for frame in known])
    alpha = torch.from_numpy((inside / (feather + 1)).clip(0, 1)).to(result)[..., None]
    return torch.where(alpha < 1, frames * alpha + result * (1 - alpha), frames.to(result))


def _depth(known: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Pixels from each known pixel to the nearest hidden one, [H, W]; 0 where hidden. The edge of the frame is no border."""
    return cv2.distanceTransform(known, cv2.DIST_L2, cv2.DIST_MASK_5)


def check_frames(result: torch.Tensor, source: torch.Tensor, canvas: Canvas) -> None:
    """Raise GeometryError unless result and source are the frames of this canvas."""
    if tuple(result.shape[1:3]) != tuple(canvas.size):
        raise GeometryError(
            f"the result is {Size(*result.shape[1:3])}, but the canvas is {canvas.size}; composite the decoded canvas before any resize"
        )
    if tuple(source.shape[1:3]) != tuple(canvas.source.size):
        raise GeometryError(
            f"the source is {Size(*source.shape[1:3])}, but the canvas was made for {canvas.source.size}; connect the same frames as to the canvas"
        )
    if result.shape[0] != source.shape[0]:
        raise GeometryError(
            f"the result has {result.shape[0]} frames and the source {source.shape[0]}, but both need the same number; connect the same clip to both"
        )
