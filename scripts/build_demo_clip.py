"""Make demo/clip.mp4 and demo/truth.mp4 from rocket.jpg, a picture that was held out of the training.

    python scripts/build_demo_clip.py output/pictures/rocket.jpg

The camera pans over the picture. The clip is the middle square of what it sees, the truth all of it in 16:9.
"""

import sys
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import torch

from canvas_core.media.video import write_clip

FRAMES, RATE = 32, Fraction(16)
WIDTH, HEIGHT = 456, 256
FOLDER = Path(__file__).parents[1] / "demo"


def view(picture: np.ndarray, share: float) -> np.ndarray:
    """What the camera sees at a share 0..1 of its way, [256, 456, 3]: from left to right, rising a little, closing in."""
    zoom = 0.98 - 0.06 * share
    w, h = WIDTH * zoom, HEIGHT * zoom
    x = (picture.shape[1] - w) * (0.02 + 0.96 * share)
    y = (picture.shape[0] - h) * (0.95 - 0.25 * share)
    matrix = np.array([[zoom, 0, x], [0, zoom, y]])
    return cv2.warpAffine(picture, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)


def main() -> None:
    """Write both clips."""
    picture = cv2.imread(sys.argv[1])[..., ::-1]
    eased = (1 - np.cos(np.linspace(0, np.pi, FRAMES))) / 2
    truth = [torch.from_numpy(view(picture, share).copy()) for share in eased]
    side = (WIDTH - HEIGHT) // 2
    FOLDER.mkdir(exist_ok=True)
    write_clip(FOLDER / "truth.mp4", truth, RATE)
    write_clip(FOLDER / "clip.mp4", (frame[:, side : side + HEIGHT] for frame in truth), RATE)


if __name__ == "__main__":
    main()
