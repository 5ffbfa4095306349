"""The quality protocol: hide the sides of real clips, outpaint them back, compare the hidden area only.

Every method runs next to fills that need no model. A method is any function of the source frames and the canvas.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch

from ..errors import GeometryError, SamplingError, VideoError
from ..media.video import read_clip
from ..pixels.fill import FILLS
from ..pixels.placing import generation_mask, place_source, trim_frames
from ..plan.boxes import Box, Size
from ..plan.canvas import Canvas
from ..progress import Watch, count_up, unwatched
from .bands import BandRatios, band_ratios
from .measure import Measures, measure

Outpaint = Callable[[torch.Tensor, Canvas], torch.Tensor]
"""Source frames [F, h, w, 3] 0..1 and a canvas -> frames [F, H, W, 3] 0..1 of the canvas's asked area."""

Keep = Callable[[str, float, str, torch.Tensor], None]
"""Is called with clip, share, method and the frames [F, H, W, 3] of each result."""

RATE = 24.0
"""Frames a second that methods are told: cuts come from files of many rates."""

SHARES = (0.25, 0.5)
"""Hidden parts of the width, half on either side."""

SIZE, FRAMES = 256, 16
"""Side of a cut in pixels, and its length."""

LONGEST = 240
"""Frames of a file that cuts are taken from, for the memory's sake."""

TRUTH = "truth"
"""Name of the rows that compare the true frames with themselves: what a perfect result measures."""


class Row(NamedTuple):
    """The figures of one method on one clip."""

    clip: str
    share: float
    method: str
    measures: Measures
    bands: BandRatios


def square(frames: torch.Tensor, size: int) -> torch.Tensor:
    """Frames [F, h, w, 3] uint8 -> [F, size, size, 3] 0..1: short side to `size` by area, then the centre."""
    h, w = frames.shape[1:3]
    scale = size / min(h, w)
    scaled = (max(round(w * scale), size), max(round(h * scale), size))
    resized = np.stack([cv2.resize(frame, scaled, interpolation=cv2.INTER_AREA) for frame in frames.numpy()])
    y, x = (scaled[1] - size) // 2, (scaled[0] - size) // 2
    return torch.from_numpy(resized[:, y : y + size, x : x + size].copy()).float() / 255


def _read(path: str | Path, frames: int, limit: int) -> torch.Tensor:
    found = read_clip(path, limit).frames
    if len(found) < frames:
        raise VideoError(
            f"{Path(path).name} has {len(found)} frames, but the evaluation needs {frames}; use a longer clip"
        )
    return found


def load_cut(path: str | Path, size: int = SIZE, frames: int = FRAMES) -> torch.Tensor:
    """The first `frames` frames of a video as [frames, size, size, 3] 0..1. Raises VideoError when it is shorter."""
    return square(_read(path, frames, frames), size)


def cuts(path: str | Path, count: int = 3, size: int = SIZE, frames: int = FRAMES) -> dict[str, torch.Tensor]:
    """Up to `count` cuts that do not overlap, spread over a video, by name: `clip`, or `clip@start` when there are more."""
    path = Path(path)
    found = _read(path, frames, LONGEST)
    parts = min(count, len(found) // frames)
    if parts < 2:
        return {path.stem: square(found[:frames], size)}
    starts = [index * (len(found) - frames) // (parts - 1) for index in range(parts)]
    return {f"{path.stem}@{start}": square(found[start : start + frames], size) for start in starts}


def hide_sides(size: Size, share: float) -> Canvas:
    """A canvas that hides `share` of the width, half on either side. Raises GeometryError unless both parts remain."""
    side = round(size.w * share / 2)
    if not 0 < side < size.w / 2:
        raise GeometryError(
            f"the share is {share:g}, but of a width of {size.w} at least a pixel must stay hidden on each side and known between; use 0.25 or 0.5"
        )
    return Canvas(size, Box(0, side, size.h, size.w - 2 * side), Box(0, 0, *size))


def filling(fill: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Outpaint:
    """A fill (frames [F, H, W, 3], mask [F, H, W] -> frames) as a method."""

    def outpaint(source: torch.Tensor, canvas: Canvas) -> torch.Tensor:
        mask = generation_mask(canvas.size, canvas.source).expand(len(source), -1, -1)
        return trim_frames(fill(place_source(source, canvas.size, canvas.source), mask), canvas)

    return outpaint


BASELINES: Mapping[str, Outpaint] = {name: filling(fill) for name, fill in FILLS.items()}
"""What needs no model: the fills of this package by name."""


def run_hidden(outpaint: Outpaint, truth: torch.Tensor, canvas: Canvas, name: str = "given") -> torch.Tensor:
    """Hide all but the canvas's source of `truth` [F, H, W, 3] and outpaint it back. Raises SamplingError on another shape."""
    box = canvas.source
    with torch.no_grad():
        result = outpaint(truth[:, box.y : box.bottom, box.x : box.right].clone(), canvas)
    if result.shape != truth.shape:
        raise SamplingError(
            f"the method {name!r} gave frames of {list(result.shape)} for a clip of {list(truth.shape)} (frames, height, width, 3); return the whole asked area of the canvas"
        )
    return result.detach().float().cpu()


def compare(clip: str, share: float, method: str, result: torch.Tensor, truth: torch.Tensor) -> Row:
    """The figures of a result with hidden sides."""
    canvas = hide_sides(Size(*truth.shape[1:3]), share)
    hidden = generation_mask(canvas.size, canvas.source)
    return Row(clip, share, method, measure(result, truth, canvas.source), band_ratios(result, truth, hidden))


def all_methods(methods: Mapping[str, Outpaint]) -> dict[str, Outpaint]:
    """The baselines and the methods. Raises SamplingError when a name is taken."""
    taken = [name for name in methods if name in BASELINES or name == TRUTH]
    if taken:
        raise SamplingError(f"a method is called {taken[0]!r}, which is the name of a baseline; choose another name")
    return {**BASELINES, **methods}


def evaluate(
    methods: Mapping[str, Outpaint],
    clips: Mapping[str, torch.Tensor],
    shares: Sequence[float] = SHARES,
    keep: Keep = lambda clip, share, method, frames: None,
    watch: Watch = unwatched,
) -> list[Row]:
    """Figures of the baselines, the methods and the truth on clips [F, H, W, 3] 0..1, one row for each combination.

    Rows are counted under "evaluate".
    """
    runs = all_methods(methods)
    advance = count_up(watch, "evaluate", len(clips) * len(shares) * (len(runs) + 1))
    advance(0)
    rows = []
    for clip, truth in clips.items():
        for share in shares:
            canvas = hide_sides(Size(*truth.shape[1:3]), share)
            for method in (*runs, TRUTH):
                result = truth if method == TRUTH else run_hidden(runs[method], truth, canvas, method)
                rows.append(compare(clip, share, method, result, truth))
                keep(clip, share, method, result)
                advance(1)
    return rows


def mean(values: Iterable[float]) -> float:
    """Arithmetic mean."""
    found = list(values)
    return sum(found) / len(found)


def geometric_mean(values: Iterable[float]) -> float:
    """Mean of ratios, in octaves: 4 and 0.25 have the mean 1."""
    return math.exp(mean(math.log(value) for value in values))


def _mean_bands(bands: Sequence[BandRatios]) -> BandRatios:
    return BandRatios(
        luma=tuple(geometric_mean(level) for level in zip(*(one.luma for one in bands), strict=True)),
        chroma=geometric_mean(one.chroma for one in bands),
        chroma_fine=geometric_mean(one.chroma_fine for one in bands),
    )


def means(rows: Iterable[Row]) -> list[Row]:
    """Rows of the clip "mean", one for each share and method in their first order; band ratios by geometric mean."""
    groups: dict[tuple[float, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.share, row.method), []).append(row)
    return [
        Row(
            "mean",
            share,
            method,
            Measures(*(mean(column) for column in zip(*(row.measures for row in group), strict=True))),
            _mean_bands([row.bands for row in group]),
        )
        for (share, method), group in groups.items()
    ]
