"""Still pictures to train on: a folder of files, and random views of them."""

from pathlib import Path

import cv2
import numpy as np

from ...errors import TrainingError
from ...plan.boxes import Size

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def read_pictures(folder: Path, exclude: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """Every picture of a folder by file name, [H, W, 3] uint8 RGB, but those named in `exclude`. Raises TrainingError."""
    if not folder.is_dir():
        raise TrainingError(f"there is no folder {folder} with pictures; fetch them as CONTRIBUTING.md says")
    pictures = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES and path.name not in exclude:
            picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if picture is None:
                raise TrainingError(f"the picture {path} cannot be read; delete it or save it as .png")
            pictures[path.name] = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    return pictures


def cut_view(picture: np.ndarray, draw: np.random.Generator, size: Size) -> np.ndarray:
    """A random part of a picture at a random scale, mirrored at random, [h, w, 3]; small pictures are enlarged to fit."""
    least = max(size.h / picture.shape[0], size.w / picture.shape[1])
    scale = max(least, draw.uniform(0.4, 1.1))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    picture = cv2.resize(picture, None, fx=scale + 1e-3, fy=scale + 1e-3, interpolation=interpolation)
    y = draw.integers(picture.shape[0] - size.h + 1)
    x = draw.integers(picture.shape[1] - size.w + 1)
    view = picture[y : y + size.h, x : x + size.w]
    return view[:, ::-1] if draw.random() < 0.5 else view
