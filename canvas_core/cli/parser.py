"""The commands and their options."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..systems.catalogue import SYSTEMS
from .options import (
    DTYPES,
    add_canvas_options,
    add_device_options,
    add_file_options,
    add_level_option,
    add_model_option,
    add_seed,
    add_system_options,
    numbers,
)


def _add_evaluate(commands: Any) -> None:
    evaluate = commands.add_parser("evaluate", help="hide the sides of clips, outpaint them back and measure")
    evaluate.add_argument("clips", type=Path, nargs="+", help="videos")
    evaluate.add_argument("--pictures", type=Path, nargs="*", default=[], help="stills to pan over")
    evaluate.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for tables and pictures")
    evaluate.add_argument("--model", type=Path, help="checkpoint (default: the built-in model)")
    evaluate.add_argument("--presets", nargs="*", help="the model's presets to run (default: all)")
    add_file_options(evaluate)
    add_seed(evaluate)
    add_device_options(evaluate)


def _add_train(commands: Any) -> None:
    train = commands.add_parser("train", help="train a model, or go on where a training stopped")
    train.add_argument("config", type=Path, help="a JSON file such as recipes/built_in.json")
    train.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for states, log and model")
    train.add_argument("--minutes", type=float, help="stop after this time; the same command goes on later")
    train.add_argument("--until", type=int, metavar="STEP", help="stop there, for example to go on by another file")


def _add_demo(commands: Any) -> None:
    demo = commands.add_parser("demo", help="outpaint the bundled clip to 16:9, with figures and a picture")
    demo.add_argument("--output", type=Path, default=Path("output"), metavar="DIR", help="(default: %(default)s)")
    add_model_option(demo)
    add_file_options(demo)
    add_system_options(demo, ("windows", "sampling", "paste"))
    add_seed(demo)
    add_device_options(demo)


def _add_outpaint(commands: Any) -> None:
    outpaint = commands.add_parser("outpaint", help="outpaint a video")
    plan = commands.add_parser("plan", help="print and draw what outpaint would do; runs nothing")
    for command, groups in ((outpaint, ("windows", "length", "sampling", "paste")), (plan, ("windows", "length"))):
        command.add_argument("input", type=Path, help="source video")
        add_model_option(command)
        add_canvas_options(command)
        add_level_option(command)
        add_system_options(command, groups)
    outpaint.add_argument("--output", type=Path, required=True, help=".mp4, .mov, or .mkv for a lossless result")
    add_file_options(outpaint)
    add_seed(outpaint)
    add_device_options(outpaint)
    plan.add_argument("--output", type=Path, default=Path("plan.png"), help="picture (default: %(default)s)")


def _add_files(commands: Any) -> None:
    inspect = commands.add_parser("inspect", help="say what a checkpoint is")
    inspect.add_argument("file", type=Path)
    convert = commands.add_parser("convert", help="write a checkpoint as one safetensors file with metadata")
    convert.add_argument("source", type=Path)
    convert.add_argument("target", type=Path)
    convert.add_argument("--dtype", choices=DTYPES, help="store the weights as this (default: as they are)")
    add_system_options(convert, recorded=True)
    measure = commands.add_parser("measure", help="compare a result with the true video")
    measure.add_argument("result", type=Path)
    measure.add_argument("reference", type=Path)
    measure.add_argument(
        "--known", type=numbers(4, ","), required=True, metavar="X,Y,W,H", help="the source's box in the frame"
    )


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    titles = ", ".join(system.title for system in SYSTEMS)
    parser = argparse.ArgumentParser(
        prog="canvas-outpaint", description=f"Outpaint video to any size and length, by {titles} or the built-in model."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for add in (_add_outpaint, _add_files, _add_evaluate, _add_train, _add_demo):
        add(commands)
    return parser


def _join_negative(argv: Sequence[str]) -> list[str]:
    """`--offset -4,3` as `--offset=-4,3`: argparse would take the value for an option."""
    joined: list[str] = []
    for word in argv:
        if joined and re.fullmatch(r"-\d[\d,]*", word) and re.fullmatch(r"--[a-z-]+", joined[-1]):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments of a command. Exits with code 2 where they are not sound."""
    return build_parser().parse_args(_join_negative(argv))
