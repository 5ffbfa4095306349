"""The command line: outpaint, plan, inspect, convert, measure. Refusals are one line and exit code 2."""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from .canvas import ANCHORS, ASPECTS, Canvas, Pads, Size, canvas_of_aspect, canvas_of_pads, canvas_of_size
from .errors import CanvasError
from .relative_region import CONVENTIONS
from .windows import PLANNERS, WEIGHTS, WindowSettings

DTYPES = ("float32", "float16", "bfloat16")


def _numbers(count: int, separator: str) -> Callable[[str], tuple[int, ...]]:
    def parse(text: str) -> tuple[int, ...]:
        parts = text.lower().split(separator)
        if len(parts) != count or not all(part.strip().lstrip("-").isdigit() for part in parts):
            example = separator.join(str(8 * (i + 1)) for i in range(count))
            raise argparse.ArgumentTypeError(f"{text!r} is not {count} whole numbers such as {example}")
        return tuple(int(part) for part in parts)

    return parse


def _add_canvas_options(parser: argparse.ArgumentParser) -> None:
    canvas = parser.add_argument_group("canvas")
    how = canvas.add_mutually_exclusive_group(required=True)
    how.add_argument("--aspect", choices=ASPECTS, help="smallest canvas of this aspect that holds the source")
    how.add_argument("--size", type=_numbers(2, "x"), metavar="WxH", help="exact size of the result")
    how.add_argument("--pad", type=_numbers(4, ","), metavar="L,T,R,B", help="pixels to add on each side")
    canvas.add_argument(
        "--anchor",
        choices=ANCHORS,
        default="center",
        help="where the source sits (default: %(default)s); --pad ignores it",
    )
    canvas.add_argument(
        "--offset",
        type=_numbers(2, ","),
        default=(0, 0),
        metavar="X,Y",
        help="pixels to move it from there; --pad ignores it",
    )
    canvas.add_argument("--frames", type=int, metavar="N", help="use only the first N frames")
    windows = parser.add_argument_group("windows")
    windows.add_argument("--window", type=int, default=512, help="window side in pixels (default: %(default)s)")
    windows.add_argument("--overlap", type=int, default=128, help="least overlap in pixels (default: %(default)s)")
    windows.add_argument(
        "--planner", choices=PLANNERS, default="even", help="even spacing, or the published quarter-window overlap"
    )
    windows.add_argument("--weights", choices=WEIGHTS, default="centred", help="fusion weights (default: %(default)s)")
    windows.add_argument("--frame-window", type=int, default=64, help="frames of a time window (default: %(default)s)")
    windows.add_argument(
        "--frame-overlap", type=int, default=16, help="frames shared by time windows (default: %(default)s)"
    )
    windows.add_argument(
        "--min-overlap",
        type=_numbers(2, ","),
        metavar="H,W",
        help="least overlap of a window with what is known, sets the rounds",
    )


def _add_outpaint_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, required=True, help=".mp4, .mov, or .mkv for a lossless result")
    files = parser.add_argument_group("models")
    files.add_argument(
        "--model", type=Path, required=True, help="Follow-Your-Canvas checkpoint (.ckpt or .safetensors)"
    )
    files.add_argument(
        "--base", type=Path, metavar="DIR", help="Stable Diffusion 2.1 folder with vae, tokenizer and text_encoder"
    )
    files.add_argument("--vae", type=Path, metavar="FILE", help="VAE file instead of the one in --base")
    files.add_argument("--sam", type=Path, metavar="FILE", help="sam_vit_b_01ec64.pth")


def _add_sampling_options(parser: argparse.ArgumentParser) -> None:
    how = parser.add_argument_group("sampling")
    how.add_argument("--prompt", default="", help="what the whole canvas shows")
    how.add_argument("--negative", default="", help="what it must not show")
    how.add_argument(
        "--rre", choices=CONVENTIONS, help="relative region convention (default: the file's, else centre_px)"
    )
    how.add_argument(
        "--start-from",
        choices=("source", "previous"),
        default="source",
        help="what later rounds start from (default: %(default)s)",
    )
    how.add_argument("--steps", type=int, default=40, help="denoising steps (default: %(default)s)")
    how.add_argument("--cfg", type=float, default=8.0, help="text guidance scale (default: %(default)s)")
    how.add_argument("--layout-cfg", type=float, help="layout guidance scale; off by default, as published")
    how.add_argument(
        "--fps", type=int, default=8, help="training frame stride, 2 to 16 (default: %(default)s); not the clip's rate"
    )
    how.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    how.add_argument(
        "--feather", type=int, default=8, help="inward blend of the source's border in pixels (default: %(default)s)"
    )
    how.add_argument(
        "--paste",
        choices=("feather", "official"),
        default="feather",
        help="how the source is put back (default: %(default)s)",
    )
    how.add_argument("--batch", type=int, default=1, metavar="N", help="windows per model call (default: %(default)s)")
    how.add_argument("--device", default=None, help="cpu, cuda, mps (default: a GPU when there is one)")
    how.add_argument(
        "--dtype", choices=DTYPES, default=None, help="of the networks (default: float16 on a GPU, else float32)"
    )


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(prog="canvas-outpaint", description="Outpaint video to any size and length.")
    commands = parser.add_subparsers(dest="command", required=True)
    outpaint = commands.add_parser("outpaint", help="outpaint a video")
    plan = commands.add_parser("plan", help="print and draw what outpaint would do; runs nothing")
    for command in (outpaint, plan):
        command.add_argument("input", type=Path, help="source video")
        _add_canvas_options(command)
    _add_outpaint_options(outpaint)
    _add_sampling_options(outpaint)
    plan.add_argument("--output", type=Path, default=Path("plan.png"), help="picture (default: %(default)s)")
    inspect = commands.add_parser("inspect", help="say what a checkpoint is")
    inspect.add_argument("file", type=Path)
    convert = commands.add_parser("convert", help="write a checkpoint as one safetensors file with metadata")
    convert.add_argument("source", type=Path)
    convert.add_argument("target", type=Path)
    convert.add_argument("--dtype", choices=DTYPES, help="store the weights as this (default: as they are)")
    convert.add_argument("--rre", choices=CONVENTIONS, help="convention to record in the file")
    measure = commands.add_parser("measure", help="compare a result with the true video")
    measure.add_argument("result", type=Path)
    measure.add_argument("reference", type=Path)
    measure.add_argument(
        "--known", type=_numbers(4, ","), required=True, metavar="X,Y,W,H", help="the source's box in the frame"
    )
    return parser


def make_canvas(args: argparse.Namespace, source: Size) -> Canvas:
    """The canvas that --aspect, --size or --pad ask for."""
    if args.pad:
        return canvas_of_pads(source, Pads(*args.pad))
    if args.aspect:
        return canvas_of_aspect(source, args.aspect, args.anchor, args.offset)
    return canvas_of_size(source, Size(args.size[1], args.size[0]), args.anchor, args.offset)


def make_windows(args: argparse.Namespace) -> WindowSettings:
    """The window settings of the command line."""
    lap = Size(*args.min_overlap) if args.min_overlap else None
    return WindowSettings(
        args.window, args.overlap, args.planner, args.weights, args.frame_window, args.frame_overlap, lap
    )


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
