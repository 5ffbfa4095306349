"""Time of a tiled step over (windows x time of one window). Aim: at most 1.05.

python bench/window_time.py
"""

import time

import torch
from common import DEVICE, SETTINGS, WINDOW, latents, make_predictor, make_unet

from canvas_core.canvas import Size

REPEATS = 7
CANVAS = Size(2 * WINDOW + WINDOW // 4, 3 * WINDOW)


def seconds(predict: object, x: torch.Tensor) -> float:
    """Shortest of several runs."""
    best = float("inf")
    for _ in range(REPEATS):
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        predict(x, torch.tensor(500))  # returns on the CPU, so the device has finished
        best = min(best, time.perf_counter() - start)
    return best


@torch.inference_mode()
def main() -> None:
    """Print both times and their ratio."""
    unet = make_unet()
    windows = len(SETTINGS.plan(CANVAS))
    one = make_predictor(unet, WINDOW, WINDOW)
    many = make_predictor(unet, *CANVAS)
    seconds(one, latents(WINDOW, WINDOW))  # warm up
    single, tiled = seconds(one, latents(WINDOW, WINDOW)), seconds(many, latents(*CANVAS))
    print(f"device                 {DEVICE}")
    print(f"one window             {single * 1000:.1f} ms")
    print(f"{windows} windows             {tiled * 1000:.1f} ms")
    print(f"ratio                  {tiled / (windows * single):.3f} (aim: at most 1.05)")


if __name__ == "__main__":
    main()
