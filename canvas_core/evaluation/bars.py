"""What a method has to reach on the mean over the clips, in figures.

A draft is a smooth mean picture and answers for its distance to the truth; any other setting answers for looking real.
"""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

from ..errors import GeometryError
from .camera import CameraRow, camera_means
from .protocol import BASELINES, TRUTH, Row, means

DRAFT_GAIN = {0.25: 0.1, 0.5: 0.2}
"""Share to the decibels that a draft must be above the best baseline."""

UNDER_TELEA = {0.25: -0.4, 0.5: 0.0}
"""Share to the decibels that any other setting must have over Telea."""

OCTAVE = (0.5, 2.0)
SEAM = (0.6, 1.4)
FLICKER = (0.6, 1.5)
CAMERA_GAIN = 3.0
"""Decibels."""


class Bar(NamedTuple):
    """One requirement: the figure must lie between low and high."""

    method: str
    share: float
    name: str
    figure: float
    low: float
    high: float
    lowest: float
    """The same figure on the clip or picture where it is lowest"""
    highest: float

    @property
    def passed(self) -> bool:
        """False for NaN too: what is not defined is not reached."""
        return self.low <= self.figure <= self.high


class _Group(NamedTuple):
    """The rows of one method and share, the mean first."""

    rows: list[Row]

    def bar(self, name: str, figure: Callable[[Row], float], low: float, high: float = math.inf) -> Bar:
        first, each = self.rows[0], [figure(row) for row in self.rows[1:]]
        return Bar(first.method, first.share, name, figure(first), low, high, min(each), max(each))


def _nearest(table: dict[float, float], share: float) -> float:
    return table[min(table, key=lambda known: abs(known - share))]


Figure = Callable[[Row], float]


def _over(rows: Sequence[Row], rival: str, field: str) -> Figure:
    """A measure of a row less that of the method `rival` on the same clip and share."""
    others = {(row.clip, row.share): getattr(row.measures, field) for row in rows if row.method == rival}
    return lambda row: getattr(row.measures, field) - others[(row.clip, row.share)]


def _best(averages: Sequence[Row], share: float, field: str) -> str:
    """Name of the baseline with the highest mean."""
    candidates = [row for row in averages if row.share == share and row.method in BASELINES]
    return max(candidates, key=lambda row: getattr(row.measures, field)).method


def _luma(level: int) -> Figure:
    return lambda row: row.bands.luma[level]


def _draft_bars(rows: Sequence[Row], averages: Sequence[Row], group: _Group) -> Iterator[Bar]:
    share = group.rows[0].share
    for field, name, gain in (("psnr", "PSNR, dB,", _nearest(DRAFT_GAIN, share)), ("ssim", "SSIM", 0.0)):
        rival = _best(averages, share, field)
        yield group.bar(f"{name} over the best baseline ({rival})", _over(rows, rival, field), gain)


def _default_bars(rows: Sequence[Row], averages: Sequence[Row], group: _Group) -> Iterator[Bar]:
    for level in range(len(group.rows[0].bands.luma)):
        yield group.bar(f"luma {level + 1}, energy", _luma(level), *OCTAVE)
    yield group.bar("chroma, energy", lambda row: row.bands.chroma, *OCTAVE)
    yield group.bar("chroma 1 (speckle), energy", lambda row: row.bands.chroma_fine, 0, OCTAVE[1])
    yield group.bar("PSNR over Telea, dB", _over(rows, "telea", "psnr"), _nearest(UNDER_TELEA, group.rows[0].share))
    yield group.bar("seam", lambda row: row.measures.seam, *SEAM)
    yield group.bar("flicker", lambda row: row.measures.flicker, *FLICKER)


def _camera_bar(average: CameraRow, gains: Sequence[CameraRow]) -> Bar:
    each = [row.gain.gain for row in gains if (row.method, row.share) == (average.method, average.share)]
    name = "camera gain, dB"
    return Bar(average.method, average.share, name, average.gain.gain, CAMERA_GAIN, math.inf, min(each), max(each))


def bars(rows: Sequence[Row], gains: Sequence[CameraRow] = (), drafts: Collection[str] = ()) -> list[Bar]:
    """Every bar of every method in `rows` that is not a baseline; `drafts` names the smooth settings.

    Raises GeometryError when the baselines are missing, because most bars are relative to them.
    """
    averages = means(rows)
    missing = [name for name in BASELINES if not any(row.method == name for row in rows)]
    if missing:
        raise GeometryError(f"the rows have no {', '.join(missing)}, but bars are relative to them; keep all rows")
    found: list[Bar] = []
    for average in averages:
        if average.method in BASELINES or average.method == TRUTH:
            continue
        same = [row for row in rows if (row.method, row.share) == (average.method, average.share)]
        group = _Group([average, *same])
        kind = _draft_bars if average.method in drafts else _default_bars
        found += kind([*averages, *rows], averages, group)
        found.append(group.bar("largest error on known pixels", lambda row: row.measures.known_error, 0, 0))
    chosen = [row for row in gains if row.method not in BASELINES and row.method not in drafts]
    return found + [_camera_bar(average, chosen) for average in camera_means(chosen)]
