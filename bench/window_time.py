"""Time of a tiled step over (windows x time of one window). Aim: at most 1.05.

python bench/window_time.py
"""

import time

import torch
from common import DEVICE, SETTINGS, WINDOW, latents, make_predictor, make_unet

from canvas_core.plan.boxes import Size
from canvas_core.sampling.denoise import Predict

REPEATS = 4
CANVAS = Size(2 * WINDOW + WINDOW // 4, 3 * WINDOW)


def seconds(predict: Predict, x: torch.Tensor, calls: int = 1) -> float:
    """Time of several calls in a row. Predictions come back to the CPU, so the device has finished."""
    start = time.perf_counter()
    for _ in range(calls):
        predict(x, torch.tensor(500))
    return time.perf_counter() - start


@torch.inference_mode()
def main() -> None:
    """Print both times and their ratio. They are taken in turn, so that the machine treats them alike."""
    unet = make_unet()
    windows = len(SETTINGS.plan(CANVAS))
    one, many = make_predictor(unet, WINDOW, WINDOW), make_predictor(unet, *CANVAS)
    small, large = latents(WINDOW, WINDOW), latents(*CANVAS)
    seconds(one, small)  # warm up
    pairs = [(seconds(one, small, calls=windows), seconds(many, large)) for _ in range(REPEATS)]
    single, tiled = min(pair[0] for pair in pairs), min(pair[1] for pair in pairs)
    print(f"device                 {DEVICE}")
    print(f"one window             {single / windows * 1000:.1f} ms")
    print(f"{windows} windows             {tiled * 1000:.1f} ms")
    print(f"ratio                  {tiled / single:.3f} (aim: at most 1.05)")


if __name__ == "__main__":
    main()
