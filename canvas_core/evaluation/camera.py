"""Whether a moving camera is used: pans over still pictures, whose hidden sides some other frame may show.

The window moves to the right by a whole number of pixels a frame, so what each frame hides is known exactly, and
where else it is seen.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import torch

from ..errors import GeometryError
from ..plan.boxes import Size
from ..plan.canvas import Canvas
from ..progress import Watch, count_up, unwatched
from .protocol import FRAMES, SHARES, SIZE, Outpaint, hide_sides, mean, run_hidden

STEP = 4
"""Pixels that the window moves each frame."""


class CameraGain(NamedTuple):
    """Peak signal to noise of hidden pixels that some other frame shows, and of those that none shows; dB."""

    seen: float
    """At the distances from the border where both kinds occur, each distance counted alike"""
    unseen: float
    """The same for pixels that no frame shows"""
    seen_plain: float
    """Over all hidden pixels that some other frame shows"""
    unseen_plain: float
    """Over all hidden pixels that no frame shows"""

    @property
    def gain(self) -> float:
        """Gap in dB at comparable distance; NaN when both are perfect."""
        return self.seen - self.unseen


class CameraRow(NamedTuple):
    """The camera gain of one method on one picture."""

    picture: str
    share: float
    method: str
    gain: CameraGain


def pan(picture: torch.Tensor, size: int = SIZE, frames: int = FRAMES, step: int = STEP) -> torch.Tensor:
    """A picture [h, w, 3] -> [frames, size, size, 3]: frame t starts at column t * step.

    The picture is scaled until the way just fits into it, then cut at its centre.
    """
    if frames < 2 or step < 1:
        raise GeometryError(f"the pan has {frames} frames of {step} pixels; give at least 2 frames and 1 pixel")
    h, w = picture.shape[:2]
    width = size + (frames - 1) * step
    scale = max(size / h, width / w)
    scaled = (max(round(w * scale), width), max(round(h * scale), size))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    resized = torch.from_numpy(cv2.resize(picture.numpy(), scaled, interpolation=how)).clamp(0, 1)
    y, x = (scaled[1] - size) // 2, (scaled[0] - width) // 2
    return torch.stack([resized[y : y + size, x + t * step : x + t * step + size] for t in range(frames)])


def shown_elsewhere(canvas: Canvas, frames: int, step: int) -> torch.Tensor:
    """Bool [F, W]: whether the known region of some frame of a pan shows the column that frame t has at column c."""
    shown = torch.zeros(canvas.size.w + (frames - 1) * step, dtype=torch.bool)
    for t in range(frames):
        shown[t * step + canvas.source.x : t * step + canvas.source.right] = True
    return torch.stack([shown[t * step : t * step + canvas.size.w] for t in range(frames)])


def _decibel(errors: Sequence[float]) -> float:
    if not errors:
        return math.nan
    error = mean(errors)
    return -10 * math.log10(error) if error > 0 else (math.inf if error == 0 else math.nan)


def split_gain(errors: torch.Tensor, seen: torch.Tensor, canvas: Canvas) -> CameraGain:
    """Mean squared errors [F, W] of the columns, split by `seen` [F, W] in the hidden part of the canvas."""
    columns = torch.arange(canvas.size.w)
    distance = torch.maximum(canvas.source.x - columns, columns - canvas.source.right + 1)  # 1 = beside the border
    near: list[float] = []
    far: list[float] = []
    for step in range(1, int(distance.max()) + 1):
        there = (distance == step).expand_as(seen)
        shown, never = errors[there & seen], errors[there & ~seen]
        if len(shown) and len(never):
            near.append(shown.mean().item())
            far.append(never.mean().item())
    hidden = (distance > 0).expand_as(seen)
    plain = [_decibel(errors[hidden & which].tolist()) for which in (seen, ~seen)]
    return CameraGain(_decibel(near), _decibel(far), *plain)


def camera_gain(
    outpaint: Outpaint,
    picture: torch.Tensor,
    share: float = 0.25,
    size: int = SIZE,
    frames: int = FRAMES,
    step: int = STEP,
    name: str = "given",
) -> CameraGain:
    """How much better a method paints what other frames of a pan over `picture` [h, w, 3] 0..1 show."""
    truth = pan(picture, size, frames, step)
    canvas = hide_sides(Size(size, size), share)
    result = run_hidden(outpaint, truth, canvas, name)
    errors = (result - truth).square().double().mean(dim=(1, 3))
    return split_gain(errors, shown_elsewhere(canvas, frames, step), canvas)


def camera_rows(
    methods: Mapping[str, Outpaint],
    pictures: Mapping[str, torch.Tensor],
    shares: Sequence[float] = SHARES,
    size: int = SIZE,
    watch: Watch = unwatched,
) -> list[CameraRow]:
    """The camera gain of every method on every picture [h, w, 3]. Rows are counted under "evaluate the camera"."""
    advance = count_up(watch, "evaluate the camera", len(pictures) * len(shares) * len(methods))
    rows = []
    for name, picture in pictures.items():
        for share in shares:
            for method, outpaint in methods.items():
                rows.append(CameraRow(name, share, method, camera_gain(outpaint, picture, share, size, name=method)))
                advance(1)
    return rows


def camera_means(rows: Sequence[CameraRow]) -> list[CameraRow]:
    """Rows of the picture "mean", one for each share and method in their first order; means of the decibels."""
    groups: dict[tuple[float, str], list[CameraGain]] = {}
    for row in rows:
        groups.setdefault((row.share, row.method), []).append(row.gain)
    return [
        CameraRow("mean", share, method, CameraGain(*(mean(column) for column in zip(*group, strict=True))))
        for (share, method), group in groups.items()
    ]
