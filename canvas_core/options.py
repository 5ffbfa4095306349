"""The options of the command line, in groups that several commands share."""

import argparse
from collections.abc import Callable
from pathlib import Path

from .errors import GeometryError
from .pixels.fill import FILLS
from .plan.canvas import ANCHORS, ASPECTS
from .plan.keyframes import CLIP, OVERLAP, read_strides
from .plan.windows import PLANNERS, WEIGHTS
from .systems.catalogue import STRIDES
from .systems.follow_your_canvas.relative_region import CONVENTIONS
from .systems.presets import DEFAULT

DTYPES = ("float32", "float16", "bfloat16")


def numbers(count: int, separator: str) -> Callable[[str], tuple[int, ...]]:
    """A type for `count` whole numbers, for example 8x16."""

    def parse(text: str) -> tuple[int, ...]:
        parts = text.lower().split(separator)
        if len(parts) != count or not all(part.strip().lstrip("-").isdigit() for part in parts):
            example = separator.join(str(8 * (i + 1)) for i in range(count))
            raise argparse.ArgumentTypeError(f"{text!r} is not {count} whole numbers such as {example}")
        return tuple(int(part) for part in parts)

    return parse


def add_canvas_options(parser: argparse.ArgumentParser) -> None:
    """Options for the canvas and the source on it."""
    canvas = parser.add_argument_group("canvas")
    how = canvas.add_mutually_exclusive_group(required=True)
    how.add_argument("--aspect", choices=ASPECTS, help="smallest canvas of this aspect that holds the source")
    how.add_argument("--size", type=numbers(2, "x"), metavar="WxH", help="exact size of the result")
    how.add_argument("--pad", type=numbers(4, ","), metavar="L,T,R,B", help="pixels to add on each side")
    canvas.add_argument(
        "--anchor",
        choices=ANCHORS,
        default="center",
        help="where the source sits (default: %(default)s); --pad ignores it",
    )
    canvas.add_argument(
        "--offset",
        type=numbers(2, ","),
        default=(0, 0),
        metavar="X,Y",
        help="pixels to move it from there; --pad ignores it",
    )
    canvas.add_argument("--frames", type=int, metavar="N", help="use only the first N frames")


def add_window_options(parser: argparse.ArgumentParser) -> None:
    """Options for windows in space and time."""
    windows = parser.add_argument_group("windows")
    windows.add_argument("--window", type=int, help="window side in pixels (default: the model's, else 512)")
    windows.add_argument("--overlap", type=int, help="least overlap in pixels (default: the model's, else 128)")
    windows.add_argument(
        "--planner", choices=PLANNERS, default="even", help="even spacing, or the published quarter-window overlap"
    )
    windows.add_argument("--weights", choices=WEIGHTS, default="centred", help="fusion weights (default: %(default)s)")
    windows.add_argument("--frame-window", type=int, help="frames of a time window (default: the model's, else 64)")
    windows.add_argument(
        "--frame-overlap", type=int, help="frames shared by time windows (default: the model's, else 16)"
    )
    windows.add_argument(
        "--min-overlap",
        type=numbers(2, ","),
        metavar="H,W",
        help="least overlap of a window with what is known, sets the rounds",
    )


def add_model_option(parser: argparse.ArgumentParser) -> None:
    """Options for the model and its preset."""
    parser.add_argument(
        "--model",
        type=Path,
        help="checkpoint of Follow-Your-Canvas, or file or folder of M3DDM; the built-in model when left out",
    )
    parser.add_argument("--preset", default=DEFAULT, help="the model's recommended settings (default: %(default)s)")


def levels(text: str) -> tuple[int, ...] | str:
    """The strides of --levels: published ones by name, or numbers such as 15,5,1."""
    try:
        return text if text in STRIDES else read_strides(text)
    except GeometryError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither one of {', '.join(STRIDES)} nor strides such as 15,5,1"
        ) from None


def add_level_options(parser: argparse.ArgumentParser) -> None:
    """Options for clips of any length."""
    length = parser.add_argument_group("length")
    length.add_argument(
        "--levels",
        type=levels,
        metavar="STRIDES",
        help=f"sample by key frames, then the frames between: strides such as 15,5,1, or {', '.join(STRIDES)}; memory no longer grows with the pixels of the clip (frames wait in the temporary folder, TMPDIR)",
    )
    length.add_argument("--clip", type=int, help=f"frames sampled together (default: {CLIP})")
    length.add_argument("--clip-overlap", type=int, help=f"frames a clip shares with the next (default: {OVERLAP})")


def add_file_options(parser: argparse.ArgumentParser) -> None:
    """Options for the files that go with a model."""
    files = parser.add_argument_group("models")
    files.add_argument(
        "--base", type=Path, metavar="DIR", help="Stable Diffusion 2.1 folder with vae, tokenizer and text_encoder"
    )
    files.add_argument("--vae", type=Path, metavar="FILE", help="VAE file instead of the one in --base")
    files.add_argument("--sam", type=Path, metavar="FILE", help="sam_vit_b_01ec64.pth")


def add_sampling_options(parser: argparse.ArgumentParser) -> None:
    """Options for how to denoise."""
    how = parser.add_argument_group("sampling")
    how.add_argument("--prompt", default="", help="what the whole canvas shows")
    how.add_argument("--negative", default="", help="what it must not show")
    how.add_argument(
        "--rre", choices=CONVENTIONS, help="relative region convention (default: the file's, else centre_px)"
    )
    how.add_argument(
        "--start-from",
        choices=("source", "previous"),
        help="what later rounds start from (default: source)",
    )
    how.add_argument("--steps", type=int, help="denoising steps (default: the model's, else 40)")
    how.add_argument("--cfg", type=float, help="text guidance scale (default: the model's, else 8)")
    how.add_argument(
        "--strength",
        type=float,
        help="share of the denoising that is run, above 0 to 1; below 1 it starts from --fill (default: the model's, else 1)",
    )
    how.add_argument(
        "--fill", choices=tuple(FILLS), help="fill without a model, to start from or to refine (default: the model's)"
    )
    how.add_argument(
        "--propagate",
        action=argparse.BooleanOptionalAction,
        help="borrow what a moving camera shows in other frames (default: the model's, else off)",
    )
    how.add_argument("--layout-cfg", type=float, help="layout guidance scale; off by default, as published")
    how.add_argument("--context-scale", type=float, help="M3DDM: guidance scale of the source (default: 2)")
    how.add_argument("--global-scale", type=float, help="M3DDM: guidance scale of the global frames (default: 4)")
    how.add_argument("--fps", type=int, help="training frame stride, 2 to 16 (default: 8); not the clip's rate")
    how.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    how.add_argument("--batch", type=int, metavar="N", help="windows per model call (default: 1)")
    how.add_argument("--device", default=None, help="cpu, cuda, mps (default: a GPU when there is one)")
    how.add_argument(
        "--dtype", choices=DTYPES, default=None, help="of the networks (default: float16 on a GPU, else float32)"
    )


def add_paste_options(parser: argparse.ArgumentParser) -> None:
    """Options for how the source is put back."""
    how = parser.add_argument_group("paste")
    how.add_argument(
        "--feather", type=int, help="inward blend of the source's border in pixels (default: the model's, else 8)"
    )
    how.add_argument(
        "--refine",
        action=argparse.BooleanOptionalAction,
        help="lay what the model adds to its own smooth fill over --fill (default: the model's, else off)",
    )
    how.add_argument(
        "--match",
        type=int,
        help="pixels over which the result is drawn to the source's colours at the border (default: the model's, else 0)",
    )
    how.add_argument(
        "--texture",
        type=float,
        help="share 0 to 1 of the source's detail that is laid over the generated area (default: the model's, else 0)",
    )
    how.add_argument(
        "--paste",
        choices=("feather", "official"),
        help="how the source is put back (default: feather)",
    )
