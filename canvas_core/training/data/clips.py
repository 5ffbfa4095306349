"""Cuts of real videos, read with OpenCV."""

from pathlib import Path

import cv2
import numpy as np

from ...errors import TrainingError
from ...plan.boxes import Size

SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi")
STRIDES = (2, 16)
"""Published range of the frame stride, which is also what the network is told as fps."""


def find_videos(folder: Path) -> list[Path]:
    """Every video of a folder, sorted by name. Raises TrainingError when there is no such folder."""
    if not folder.is_dir():
        raise TrainingError(
            f"there is no folder {folder} with videos; create it or leave 'videos' out of the configuration"
        )
    return [path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES]


def cut_clip(path: Path, draw: np.random.Generator, frames: int, size: Size) -> tuple[np.ndarray, int]:
    """A random cut [F, h, w, 3] uint8 of a video and its frame stride; the stride shrinks where the video is too short.

    Raises TrainingError when the video cannot be read or has fewer than `frames` frames.
    """
    video = cv2.VideoCapture(str(path))
    count = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    if count < frames:
        raise TrainingError(f"{path} has {count} readable frames, but a clip takes {frames}; take it out of the folder")
    longest = max(1, (count - 1) // max(1, frames - 1))
    stride = min(int(draw.integers(STRIDES[0], STRIDES[1] + 1)), longest)
    video.set(cv2.CAP_PROP_POS_FRAMES, int(draw.integers(count - stride * (frames - 1))))
    corner = draw.random(2)
    kept = []
    for index in range(stride * (frames - 1) + 1):
        whole, frame = video.read()
        if not whole:
            raise TrainingError(f"{path} ends before its {count} frames; save it again or take it out of the folder")
        if index % stride == 0:
            kept.append(_crop(frame, corner, size))
    return np.stack(kept)[..., ::-1], stride


def _crop(frame: np.ndarray, corner: np.ndarray, size: Size) -> np.ndarray:
    scale = max(size.h / frame.shape[0], size.w / frame.shape[1])
    if scale < 1:
        scale = max(scale, 0.5)  # half size at most, so that a crop shows a part and not the whole scene
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    frame = cv2.resize(frame, None, fx=scale + 1e-3, fy=scale + 1e-3, interpolation=interpolation)
    y, x = (int(share * (side - part + 1)) for share, side, part in zip(corner, frame.shape[:2], size, strict=True))
    return frame[y : y + size.h, x : x + size.w]
