"""The options of the command line, in groups that several commands share. Those of the systems are their settings."""

import argparse
from collections.abc import Callable, Collection
from dataclasses import Field
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

from ..errors import GeometryError
from ..plan.boxes import Size
from ..plan.canvas import ANCHORS, ASPECTS
from ..plan.keyframes import read_strides
from ..systems.catalogue import STRIDES, SYSTEMS
from ..systems.options import options
from ..systems.presets import DEFAULT
from ..systems.system import System

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


def _size(text: str) -> Size:
    return Size(*numbers(2, ",")(text))


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


def add_model_option(parser: argparse.ArgumentParser) -> None:
    """Options for the model and its preset."""
    titles = " or ".join(system.title for system in SYSTEMS)
    parser.add_argument("--model", type=Path, help=f"file or folder of {titles}; the built-in model when left out")
    parser.add_argument("--preset", default=DEFAULT, help="the model's recommended settings (default: %(default)s)")


def _strides(text: str) -> tuple[int, ...] | str:
    """The strides of --levels: published ones by name, or numbers such as 15,5,1."""
    try:
        return text if text in STRIDES else read_strides(text)
    except GeometryError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither one of {', '.join(STRIDES)} nor strides such as 15,5,1"
        ) from None


def add_level_option(parser: argparse.ArgumentParser) -> None:
    """The option for clips of any length."""
    parser.add_argument_group("levels").add_argument(
        "--levels",
        type=_strides,
        metavar="STRIDES",
        help=f"sample by key frames, then the frames between: strides such as 15,5,1, or {', '.join(STRIDES)}; memory no longer grows with the pixels of the clip (frames wait in the temporary folder, TMPDIR)",
    )


def add_file_options(parser: argparse.ArgumentParser) -> None:
    """Options for the files that go with a model."""
    files = parser.add_argument_group("models")
    files.add_argument(
        "--base", type=Path, metavar="DIR", help="Stable Diffusion folder with vae, tokenizer and text_encoder"
    )
    files.add_argument("--vae", type=Path, metavar="FILE", help="VAE file instead of the one in --base")
    files.add_argument("--sam", type=Path, metavar="FILE", help="sam_vit_b_01ec64.pth")


def add_seed(parser: argparse.ArgumentParser) -> None:
    """The option for where random numbers come from."""
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")


def add_device_options(parser: argparse.ArgumentParser) -> None:
    """Options for where networks run."""
    parser.add_argument("--device", default=None, help="cpu, cuda, mps (default: a GPU when there is one)")
    parser.add_argument(
        "--dtype", choices=DTYPES, default=None, help="of the networks (default: float16 on a GPU, else float32)"
    )


def system_options(recorded: bool = False) -> dict[str, dict[str, tuple[System, Field[Any]]]]:
    """Option name to what it is in each system that has it, by the system's name; or only those that files record."""
    found: dict[str, dict[str, tuple[System, Field[Any]]]] = {}
    for system in SYSTEMS:
        for name, option in options(system.settings).items():
            if not recorded or name in system.recorded:
                found.setdefault(name, {})[system.name] = (system, option)
    return found


def add_system_options(
    parser: argparse.ArgumentParser, groups: Collection[str] | None = None, recorded: bool = False
) -> None:
    """The settings of all systems in these groups as options, None where they are left out."""
    made: dict[str, Any] = {}
    for name, owners in system_options(recorded).items():
        system, option = next(iter(owners.values()))
        group = option.metadata["group"]
        if groups is None or group in groups:
            made[group] = made.get(group) or parser.add_argument_group(group)
            text = "convention to record in the file" if recorded else _help(name, owners)
            made[group].add_argument(f"--{name.replace('_', '-')}", help=text, **_kind(system, option))


def _kind(system: System, option: Field[Any]) -> dict[str, Any]:
    """How argparse reads an option."""
    hint = get_type_hints(system.settings)[option.name]
    (kind, *_) = [one for one in get_args(hint) or (hint,) if one is not NoneType]
    if kind is bool:
        return {"action": argparse.BooleanOptionalAction, "default": None}
    shown = {key: option.metadata[key] for key in ("choices", "metavar") if option.metadata[key]}
    return {"type": _size if kind is Size else kind, "default": None, **shown}


def _help(name: str, owners: dict[str, tuple[System, Field[Any]]]) -> str:
    """What an option says of itself, of its defaults, and of the systems that know it where others do not."""
    (first, option), *others = owners.values()
    only = "" if len(owners) == len(SYSTEMS) else f"{' and '.join(system.title for system, _ in owners.values())}: "
    default = _shown(option.default)
    differing = [
        f"{system.title}: {_shown(other.default)}" for system, other in others if other.default != option.default
    ]
    told = f" (default: the model's, else {'; '.join([default, *differing])})" if default else ""
    return f"{only}{option.metadata['help']}{told}"


def _shown(value: Any) -> str:
    return {True: "on", False: "off", None: ""}.get(value, str(value)) if isinstance(value, bool | None) else str(value)
