"""The camera's motion between the frames of a clip, tracked on what is known of them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from .fill import Bools, Image

Matrix = npt.NDArray[np.float64]
"""Homography [3, 3] between pixels (x, y) of two frames."""

TRACKED_SIDE = 512
"""Longest side, in pixels, of the pictures in which the camera is tracked."""

TRACK: dict[str, Any] = {
    "winSize": (15, 15),
    "maxLevel": 3,
    "criteria": (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 0.005),
    "flags": cv2.OPTFLOW_USE_INITIAL_FLOW,
}

MARGIN = 7
"""Pixels between a tracked point and the hidden area, half of the tracker's window."""

ROUND_TRIP = 0.5
"""Pixels a point may move when tracked there and back."""

TRACKING_NOISE, INLIER = 0.35, 1.0
"""Pixels: standard error of a tracked point, and the largest error of one that follows the camera."""

MIN_POINTS, MIN_SHARE = 24, 0.5
"""Points that must follow the camera, and their share of all; below that the motion is not trusted."""


class View(NamedTuple):
    """One frame as the tracker sees it."""

    grey: npt.NDArray[np.uint8]
    trackable: npt.NDArray[np.uint8]
    """[h, w] 1 far enough from the hidden area"""
    corners: npt.NDArray[np.float32]
    """[N, 2] points x, y"""


def shrink(known: npt.NDArray[np.uint8], by: int) -> npt.NDArray[np.uint8]:
    """A mask [H, W] of 0 and 1 without its outer `by` pixels; the edge of the frame is no border."""
    return cv2.erode(known, np.ones((2 * by + 1, 2 * by + 1), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=1)


def _view(image: Image, hidden: Bools, scale: float) -> View:
    levels = (image.clip(0, 1) * 255).astype(np.uint8)
    grey = cv2.cvtColor(levels, cv2.COLOR_RGB2GRAY)
    known = (~hidden).astype(np.uint8)
    if scale < 1:
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        known = cv2.resize(known, grey.shape[::-1], interpolation=cv2.INTER_NEAREST)
    if known.any():
        grey[known == 0] = int(grey[known > 0].mean())
    trackable = shrink(known, MARGIN)
    corners = cv2.goodFeaturesToTrack(grey, 400, 0.01, 5, mask=trackable)
    return View(grey, trackable, np.zeros((0, 2), np.float32) if corners is None else corners.reshape(-1, 2))


def _moved(motion: Matrix, points: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return cv2.perspectiveTransform(points.reshape(-1, 1, 2).astype(np.float64), motion)[:, 0].astype(np.float32)


def _tracks(one: View, other: View, guess: Matrix) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Points of one view and where they are in the other, both [N, 2]; only those that find their way back."""
    start = one.corners
    if len(start) < MIN_POINTS:
        return start[:0], start[:0]
    there, found, _ = cv2.calcOpticalFlowPyrLK(one.grey, other.grey, start, _moved(guess, start), **TRACK)
    back, found_back, _ = cv2.calcOpticalFlowPyrLK(other.grey, one.grey, there, start.copy(), **TRACK)
    last = np.array(other.grey.shape[::-1]) - 1
    at = np.round(np.nan_to_num(there, nan=-1, posinf=-1, neginf=-1)).clip(-1, last + 1).astype(int)
    column, row = at.clip(0, last).T
    good = (found[:, 0] > 0) & (found_back[:, 0] > 0) & (np.linalg.norm(back - start, axis=1) < ROUND_TRIP)
    good &= (at >= 0).all(1) & (at <= last).all(1) & (other.trackable[row, column] > 0)
    return start[good], there[good]


def _models(start: npt.NDArray[np.float32], end: npt.NDArray[np.float32]) -> Iterator[tuple[int, Matrix]]:
    """Degrees of freedom and motion: shift with rotation and zoom, and a plane seen in perspective."""
    similar, _ = cv2.estimateAffinePartial2D(start, end, method=cv2.RANSAC, ransacReprojThreshold=INLIER, maxIters=500)
    if similar is not None:
        yield 4, np.vstack([similar, [0, 0, 1]])
    plane, _ = cv2.findHomography(start, end, cv2.RANSAC, INLIER, maxIters=500)
    if plane is not None:
        yield 8, plane


def _fit(start: npt.NDArray[np.float32], end: npt.NDArray[np.float32]) -> Matrix | None:
    """The simplest motion that explains the tracks (Bayesian information criterion, outliers capped), if one does."""
    best: tuple[float, Matrix | None, int] = (np.inf, None, 0)
    if len(start) < MIN_POINTS:
        return None
    for freedom, motion in _models(start, end):
        error = np.square(_moved(motion, start) - end).sum(1)
        cost = np.minimum(error / TRACKING_NOISE**2, 8).sum() + freedom * np.log(4 * len(start)) * 2
        if cost < best[0]:
            best = (cost, motion, int((error < INLIER**2).sum()))
    _, motion_or_none, followers = best
    return motion_or_none if followers >= max(MIN_POINTS, MIN_SHARE * len(start)) else None


class Camera:
    """Motions between the frames of a clip, from the known area of frames [F, H, W, 3] and hidden [F, H, W]."""

    def __init__(self, images: Image, hidden: Bools) -> None:
        scale = min(1.0, TRACKED_SIDE / max(hidden.shape[1:]))
        self._views = [_view(image, holes, scale) for image, holes in zip(images, hidden, strict=True)]
        shift = (scale - 1) / 2  # pixel centres lie at halves
        self._to_view = np.array([[scale, 0, shift], [0, scale, shift], [0, 0, 1.0]])
        self._known: dict[tuple[int, int], Matrix | None] = {}
        self._steps: list[Matrix | None] = []
        for index in range(len(images) - 1):
            last = self._steps[-1] if self._steps else None
            self._steps.append(self._fitted(index, index + 1, np.eye(3) if last is None else last))

    def _fitted(self, start: int, end: int, guess: Matrix) -> Matrix | None:
        return _fit(*_tracks(self._views[start], self._views[end], guess))

    def _forward(self, start: int, end: int) -> Matrix | None:
        """Tracked directly, because chained steps drift; the chain says where to look, and stands in where nothing is found."""
        if (start, end) not in self._known:
            guess: Matrix | None = np.eye(3)
            for step in self._steps[start:end]:
                guess = None if guess is None or step is None else step @ guess
            direct = guess if end == start + 1 or guess is None else self._fitted(start, end, guess)
            direct = guess if direct is None else direct
            self._known[start, end] = direct
        return self._known[start, end]

    def motion(self, start: int, end: int) -> Matrix | None:
        """Where pixels of frame `start` lie in frame `end`, or None when that cannot be trusted."""
        motion = self._forward(min(start, end), max(start, end))
        if motion is None or abs(np.linalg.det(motion)) < 1e-6:
            return None
        motion = np.linalg.inv(self._to_view) @ motion @ self._to_view
        return motion if start < end else np.asarray(np.linalg.inv(motion), np.float64)
