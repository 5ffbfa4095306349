"""Whether key frames earn their place: a long clip with hidden sides, outpainted by levels, clip after clip, and by time windows.

    python bench/level_quality.py CLIP [--frames N] [--output DIR]
    python bench/level_quality.py CLIP --distances

Same model, noise and number of steps for all. "alone" is the network without what needs no network (borrowed pixels, refinement,
border match, texture). A border is a pair of neighbouring frames that were not sampled together: their difference in the hidden area
(root of the mean square) over the median of all pairs, and the same pairs in the true clip.

--distances tells how far apart frames may lie to be of use to each other: frames at each distance, sampled together and one by one.
"""

import argparse
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import torch

from canvas_core.engine import outpaint, seeded_draw
from canvas_core.evaluation.measure import frame_steps, measure, psnr
from canvas_core.evaluation.methods import model_method
from canvas_core.evaluation.protocol import RATE, SHARES, SIZE, Outpaint, hide_sides, square
from canvas_core.media.video import read_clip, write_clip
from canvas_core.pixels.eight_bit import FromLevels, to_levels
from canvas_core.pixels.placed import Video
from canvas_core.pixels.placing import generation_mask
from canvas_core.pixels.store import ON_DISK
from canvas_core.plan.boxes import Size
from canvas_core.plan.canvas import Canvas
from canvas_core.plan.keyframes import KeyframePlan, plan_levels
from canvas_core.systems import built_in
from canvas_core.systems.checkpoint import open_checkpoint
from canvas_core.systems.presets import DEFAULT
from canvas_core.systems.system import HERE, Files, Model

STRIDES, NEAR = (15, 5, 1), (2, 1)
"""M3DDM's, and such that neighbouring key frames still show the same to a model that was trained on slow motion."""

DISTANCES, TOGETHER = (1, 2, 3, 5, 15), 9
"""Frames between neighbours, and how many are sampled together."""


def load_model() -> Model:
    """The built-in model by its default settings."""
    checkpoint = open_checkpoint(built_in.MODEL)
    return checkpoint.system.open(checkpoint, built_in.complete(Files()), checkpoint.presets[DEFAULT], HERE)


def alone(model: Model) -> Model:
    """The network without what needs no network."""
    return model.with_settings(replace(model.settings, propagate=False, refine=False, match=0, texture=0.0))


def by_levels(model: Model, plan: KeyframePlan) -> Outpaint:
    """Clip after clip of a plan."""

    def run(frames: torch.Tensor, canvas: Canvas) -> torch.Tensor:
        video = Video(FromLevels(to_levels(frames)), RATE)
        return torch.stack(list(outpaint(model, video, canvas, plan, seeded_draw(0), ON_DISK)))

    return run


def by_time_windows(model: Model) -> Outpaint:
    """All frames at once, predictions fused over overlapping windows of time: what core's context windows do."""
    return model_method(model, 0)


def plan_borders(plan: KeyframePlan) -> list[int]:
    """First frame of each pair of neighbours that different clips have finished."""
    maker = plan.finished
    return [frame for frame in range(plan.length - 1) if maker[frame][0] != maker[frame + 1][0]]


def window_borders(spans: Iterable[range], length: int) -> list[int]:
    """First frame of each pair of neighbours between which a time window begins or ends."""
    return sorted({edge - 1 for span in spans for edge in (span.start, span.stop) if 0 < edge < length})


def border_jump(frames: torch.Tensor, hidden: torch.Tensor, borders: list[int]) -> float:
    """Mean difference across borders over the median difference."""
    steps = frame_steps(frames, hidden).sqrt()
    return (steps[borders].mean() / steps.median()).item()


def make_methods(model: Model, length: int) -> dict[str, tuple[Outpaint, list[int]]]:
    """What is compared, and where its borders are."""
    plans = {f"levels {', '.join(map(str, strides))}": plan_levels(length, strides) for strides in (STRIDES, NEAR)}
    plans["clip after clip, one guide frame"] = plan_levels(length, (1,))
    methods = {name: (by_levels(model, plan), plan_borders(plan)) for name, plan in plans.items()}
    windows = model.settings.windows
    spans = windows.plan_frames(length)
    methods[f"time windows of {windows.frames}"] = (by_time_windows(model), window_borders(spans, length))
    return methods


def describe(result: torch.Tensor, truth: torch.Tensor, canvas: Canvas, borders: list[int]) -> str:
    """The figures of a result, as cells of a table."""
    hidden = generation_mask(canvas.size, canvas.source)
    found = measure(result, truth, canvas.source)
    ours, true = (border_jump(frames, hidden, borders) for frames in (result, truth))
    return f"{ours:.2f} | {true:.2f} | {found.chunk_jump:.2f} | {found.flicker:.2f} | {found.psnr:.2f}"


def print_distances(model: Model, truth: torch.Tensor) -> None:
    """PSNR of frames that are sampled together, for several distances, over that of the same frames one by one."""
    run = by_time_windows(model)
    print("| hidden | distance | together, dB | one by one, dB |")
    print("|---|---|---|---|")
    for share in SHARES:
        canvas = hide_sides(Size(*truth.shape[1:3]), share)
        hidden = generation_mask(canvas.size, canvas.source)
        for distance in DISTANCES:
            frames = truth[::distance][:TOGETHER]
            source = frames[:, :, canvas.source.x : canvas.source.right]
            results = run(source, canvas), torch.cat([run(one[None], canvas) for one in source])
            together, apart = (psnr(result, frames, hidden) for result in results)
            print(f"| {share:g} | {distance} | {together:.2f} | {apart:.2f} |", flush=True)


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("clip", type=Path)
    parser.add_argument("--frames", type=int)
    parser.add_argument("--output", type=Path, help="folder for the results as videos")
    parser.add_argument("--distances", action="store_true", help="compare distances between frames instead")
    args = parser.parse_args()
    clip = read_clip(args.clip, args.frames)
    truth = square(clip.frames, SIZE)
    default = load_model()
    if args.distances:
        print_distances(alone(default), truth)
        return
    print("| hidden | run | method | clip border | the same in the truth | largest jump | flicker | PSNR, dB | s |")
    print("|---|---|---|---|---|---|---|---|---|")
    for share in SHARES:
        canvas = hide_sides(Size(*truth.shape[1:3]), share)
        source = truth[:, :, canvas.source.x : canvas.source.right]
        for run, model in (("default", default), ("alone", alone(default))):
            for name, (method, borders) in make_methods(model, len(truth)).items():
                began = time.perf_counter()
                result = method(source, canvas)
                seconds = time.perf_counter() - began
                print(
                    f"| {share:g} | {run} | {name} | {describe(result, truth, canvas, borders)} | {seconds:.0f} |",
                    flush=True,
                )
                if args.output:
                    target = args.output / f"{share:g} {run} {name.replace(', ', '-')}.mp4"
                    write_clip(target, (to_levels(frame) for frame in result), clip.rate)


if __name__ == "__main__":
    main()
