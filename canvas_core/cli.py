"""The command line: outpaint, plan, inspect, convert, measure, evaluate, train, demo. Refusals are one line and exit code 2."""

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .errors import CanvasError
from .options import (
    DTYPES,
    add_canvas_options,
    add_file_options,
    add_level_options,
    add_model_option,
    add_paste_options,
    add_sampling_options,
    add_window_options,
    numbers,
)
from .plan.boxes import Size
from .plan.canvas import Canvas, Pads, canvas_of_aspect, canvas_of_pads, canvas_of_size
from .plan.keyframes import CLIP, OVERLAP, KeyframePlan, plan_levels
from .plan.windows import WindowSettings
from .systems.catalogue import STRIDES
from .systems.follow_your_canvas.relative_region import CONVENTIONS
from .systems.presets import Preset

DEMO_CLIP = Path(__file__).resolve().parents[1] / "demo" / "clip.mp4"


def _add_training_commands(commands: Any) -> None:
    evaluate = commands.add_parser("evaluate", help="hide the sides of clips, outpaint them back and measure")
    evaluate.add_argument("clips", type=Path, nargs="+", help="videos")
    evaluate.add_argument("--pictures", type=Path, nargs="*", default=[], help="stills to pan over")
    evaluate.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for tables and pictures")
    evaluate.add_argument("--model", type=Path, help="canvas checkpoint (default: the built-in model)")
    evaluate.add_argument("--sam", type=Path, metavar="FILE", help="its image encoder")
    evaluate.add_argument("--vae", type=Path, metavar="FILE", help="its autoencoder")
    evaluate.add_argument("--presets", nargs="*", help="the model's presets to run (default: all)")
    evaluate.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    evaluate.add_argument("--device", help="cpu, cuda, mps (default: a GPU when there is one)")
    evaluate.add_argument("--dtype", choices=DTYPES, help="of the networks")
    evaluate.set_defaults(base=None)
    train = commands.add_parser("train", help="train a model, or go on where a training stopped")
    train.add_argument("config", type=Path, help="a JSON file such as recipes/built_in.json")
    train.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for states, log and model")
    train.add_argument("--minutes", type=float, help="stop after this time; the same command goes on later")
    train.add_argument("--until", type=int, metavar="STEP", help="stop there, for example to go on by another file")


def _add_demo(commands: Any) -> None:
    demo = commands.add_parser("demo", help="outpaint the bundled clip to 16:9, with figures and a picture")
    demo.add_argument("--output", type=Path, default=Path("output"), metavar="DIR", help="(default: %(default)s)")
    for add in (add_model_option, add_window_options, add_file_options, add_sampling_options, add_paste_options):
        add(demo)
    demo.set_defaults(input=DEMO_CLIP, aspect="16:9", size=None, pad=None, anchor="center", offset=(0, 0), frames=None)


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(prog="canvas-outpaint", description="Outpaint video to any size and length.")
    commands = parser.add_subparsers(dest="command", required=True)
    outpaint = commands.add_parser("outpaint", help="outpaint a video")
    plan = commands.add_parser("plan", help="print and draw what outpaint would do; runs nothing")
    for command in (outpaint, plan):
        command.add_argument("input", type=Path, help="source video")
        add_model_option(command)
        add_canvas_options(command)
        add_window_options(command)
        add_level_options(command)
    outpaint.add_argument("--output", type=Path, required=True, help=".mp4, .mov, or .mkv for a lossless result")
    add_file_options(outpaint)
    add_sampling_options(outpaint)
    add_paste_options(outpaint)
    plan.add_argument("--output", type=Path, default=Path("plan.png"), help="picture (default: %(default)s)")
    inspect = commands.add_parser("inspect", help="say what a checkpoint is")
    inspect.add_argument("file", type=Path)
    convert = commands.add_parser("convert", help="write a checkpoint as one safetensors file with metadata")
    convert.add_argument("source", type=Path)
    convert.add_argument("target", type=Path)
    convert.add_argument("--dtype", choices=DTYPES, help="store the weights as this (default: as they are)")
    convert.add_argument("--rre", choices=CONVENTIONS, help="convention to record in the file")
    _add_training_commands(commands)
    _add_demo(commands)
    measure = commands.add_parser("measure", help="compare a result with the true video")
    measure.add_argument("result", type=Path)
    measure.add_argument("reference", type=Path)
    measure.add_argument(
        "--known", type=numbers(4, ","), required=True, metavar="X,Y,W,H", help="the source's box in the frame"
    )
    return parser


def make_canvas(args: argparse.Namespace, source: Size) -> Canvas:
    """The canvas that --aspect, --size or --pad ask for."""
    if args.pad:
        return canvas_of_pads(source, Pads(*args.pad))
    if args.aspect:
        return canvas_of_aspect(source, args.aspect, args.anchor, args.offset)
    return canvas_of_size(source, Size(args.size[1], args.size[0]), args.anchor, args.offset)


DEFAULTS = {
    "fps": 8,
    "batch": 1,
    "start_from": "source",
    "paste": "feather",
    "clip": CLIP,
    "clip_overlap": OVERLAP,
}
"""Of options that not every model or run has a use for."""


def fill_in(args: argparse.Namespace, preset: Preset) -> None:
    """Give every option that was left out the value of the preset, or its default."""
    for name, value in {**DEFAULTS, **asdict(preset)}.items():
        if getattr(args, name, None) is None:
            setattr(args, name, value)


def make_windows(args: argparse.Namespace) -> WindowSettings:
    """The window settings of the command line, filled in."""
    lap = Size(*args.min_overlap) if args.min_overlap else None
    return WindowSettings(
        args.window, args.overlap, args.planner, args.weights, args.frame_window, args.frame_overlap, lap
    )


def make_levels(args: argparse.Namespace, length: int) -> KeyframePlan:
    """The clips that --levels asks for; M3DDM's when it was left out."""
    strides = args.levels or "m3ddm"
    if isinstance(strides, str):
        strides = STRIDES[strides](length)
    return plan_levels(length, strides, args.clip, args.clip_overlap)


def _join_negative(argv: Sequence[str]) -> list[str]:
    """`--offset -4,3` as `--offset=-4,3`: argparse would take the value for an option."""
    joined: list[str] = []
    for word in argv:
        if joined and re.fullmatch(r"-\d[\d,]*", word) and re.fullmatch(r"--[a-z-]+", joined[-1]):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0 done, 2 refused, 130 interrupted."""
    args = build_parser().parse_args(_join_negative(sys.argv[1:] if argv is None else argv))
    try:
        from . import commands  # heavy imports only once the arguments are sound

        getattr(commands, args.command)(args)
    except CanvasError as error:
        print(f"canvas-outpaint: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("canvas-outpaint: interrupted, nothing was written", file=sys.stderr)
        return 130
    return 0
