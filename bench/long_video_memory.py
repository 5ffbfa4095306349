"""Peak memory of a clip of 2,000 frames over that of 200: pixels are streamed, so only latents may grow.

    python bench/long_video_memory.py [--frames 200 2000]

The built-in model by its default preset, key frames at 15, 5, 1. Peak resident memory of a fresh process for each length, less what it
held before the clip. The latents that are held are those of the source, the result and two of noise.
"""

import argparse
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from level_quality import STRIDES, load_model

from canvas_core.engine import outpaint, seeded_draw
from canvas_core.evaluation.protocol import RATE
from canvas_core.pixels.eight_bit import FromLevels
from canvas_core.pixels.placed import Video
from canvas_core.pixels.store import ON_DISK
from canvas_core.plan.boxes import CELL, Size
from canvas_core.plan.canvas import Pads, canvas_of_pads
from canvas_core.plan.keyframes import plan_levels

MEGABYTE = 2**20
SIZE = Size(96, 128)
PADS = Pads(32, 0, 32, 0)
HELD = 4
"""Latents of the whole clip that are held at once."""


@dataclass(frozen=True)
class Pan:
    """A picture that drifts by, made frame by frame."""

    length: int

    def __iter__(self) -> Iterator[torch.Tensor]:
        noise = torch.rand(1, 3, SIZE.h, 4 * SIZE.w, generator=torch.Generator().manual_seed(0))
        picture = torch.nn.functional.avg_pool2d(noise, 7, 1, 3)[0].permute(1, 2, 0)
        picture = ((picture - 0.5) * 4 + 0.5).clamp(0, 1).mul(255).byte()
        for frame in range(self.length):
            yield picture.roll(-frame, dims=1)[:, : SIZE.w].clone()


def resident() -> int:
    """Bytes of resident memory at their peak so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def peak(length: int) -> int:
    """Bytes that a clip of `length` frames needs beyond the networks."""
    model = load_model()
    canvas, plan = canvas_of_pads(SIZE, PADS), plan_levels(length, STRIDES)
    video = Video(FromLevels(Pan(length)), RATE)
    before = resident()
    for _ in outpaint(model, video, canvas, plan, seeded_draw(0), ON_DISK):
        pass
    return resident() - before


def measured(length: int) -> int:
    """`peak` in a process of its own."""
    call = [sys.executable, __file__, "--only", str(length)]
    return int(subprocess.run(call, stdout=subprocess.PIPE, text=True, check=True).stdout)


def main() -> None:
    """Print both peaks and what their difference is made of."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, nargs=2, default=(200, 2000), metavar=("SHORT", "LONG"))
    parser.add_argument("--only", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        print(peak(args.only))
        return
    short, long = args.frames
    one, other = measured(short), measured(long)
    canvas = canvas_of_pads(SIZE, PADS)
    frame = 32 * (canvas.size.h // CELL) * (canvas.size.w // CELL) * 4
    latents, pixels = ((long - short) * size for size in (HELD * frame, canvas.size.h * canvas.size.w * 3 * 4))
    print(f"{short:5} frames            {one / MEGABYTE:.0f} MiB")
    print(f"{long:5} frames            {other / MEGABYTE:.0f} MiB")
    print(f"difference              {(other - one) / MEGABYTE:.0f} MiB")
    print(f"latents that are held   {latents / MEGABYTE:.0f} MiB of it")
    print(f"one copy of the pixels  {pixels / MEGABYTE:.0f} MiB, had they been held")


if __name__ == "__main__":
    main()
