"""Peak memory of a canvas of nine windows' area over that of one window, one window per call.

    python bench/window_memory.py

On a GPU by torch's own count; on the CPU as peak resident memory of a fresh process, less what it held before.
"""

import argparse
import resource
import subprocess
import sys

import torch
from common import DEVICE, FRAMES, WINDOW, latents, make_predictor, make_unet

MEGABYTE = 2**20


def resident() -> int:
    """Bytes of resident memory at their peak so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@torch.inference_mode()
def peak(h: int, w: int) -> int:
    """Bytes that one step over h x w cells needs beyond the network and its inputs."""
    unet = make_unet()
    predictor, x = make_predictor(unet, h, w), latents(h, w)
    if DEVICE == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        predictor(x, torch.tensor(500))
        return torch.cuda.max_memory_allocated() - before
    before = resident()
    predictor(x, torch.tensor(500))
    return resident() - before


def measured(h: int, w: int) -> int:
    """`peak` in a process of its own."""
    answer = subprocess.run(
        [sys.executable, __file__, "--size", f"{h}x{w}"], capture_output=True, text=True, check=True
    )
    return int(answer.stdout)


def main() -> None:
    """Print both peaks and their ratio."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size")
    size = parser.parse_args().size
    if size:
        print(peak(*(int(side) for side in size.split("x"))))
        return
    side = 3 * WINDOW
    one, nine = measured(WINDOW, WINDOW), measured(side, side)
    canvas = FRAMES * 4 * side * side * 4
    print(f"device                 {DEVICE}")
    print(f"one window             {one / MEGABYTE:.1f} MiB")
    print(
        f"nine times the area    {nine / MEGABYTE:.1f} MiB, of which one copy of the canvas latents is {canvas / MEGABYTE:.1f} MiB"
    )
    print(f"ratio                  {nine / one:.3f}")


if __name__ == "__main__":
    main()
