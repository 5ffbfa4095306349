"""Pictures read and written whole."""

from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from ..atomic_write import write_whole
from ..errors import CanvasError, VideoError


def write_picture(path: Path, picture: np.ndarray) -> Path:
    """Write [H, W, 3] uint8 as .png. Raises CanvasError when the name or the folder will not do."""
    if path.suffix != ".png":
        raise CanvasError(f"the picture is {path.name}, but must end in .png; rename it")
    encoded = cv2.imencode(".png", picture[..., ::-1])[1].tobytes()
    write_whole(path, lambda temporary: temporary.write_bytes(encoded), CanvasError)
    return path


def read_picture(path: str | Path) -> torch.Tensor:
    """A picture file as [h, w, 3] 0..1. Raises VideoError when it cannot be read."""
    try:
        with Image.open(path) as image:
            return torch.from_numpy(np.array(image.convert("RGB"))).float() / 255
    except (OSError, UnidentifiedImageError) as error:
        raise VideoError(f"{Path(path).name} cannot be read as a picture ({error}); give a .png or .jpg file") from None
