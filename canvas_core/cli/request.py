"""What a command was asked for, typed. Nothing past this module sees an argparse.Namespace."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from ..errors import ConditioningError, SamplingError
from ..plan.boxes import Box, Size
from ..plan.canvas import Canvas, Pads, canvas_of_aspect, canvas_of_pads, canvas_of_size
from ..plan.keyframes import KeyframePlan
from ..systems.catalogue import STRIDES
from ..systems.options import options
from ..systems.presets import DEFAULT, choose_preset
from ..systems.system import Checkpoint, Files
from .options import system_options

DEMO_CLIP = Path(__file__).resolve().parents[2] / "demo" / "clip.mp4"


@dataclass(frozen=True)
class CanvasRequest:
    """The canvas that --aspect, --size or --pad ask for."""

    aspect: str | None = None
    size: tuple[int, int] | None = None
    """Width and height"""
    pad: tuple[int, int, int, int] | None = None
    anchor: str = "center"
    offset: tuple[int, int] = (0, 0)

    def around(self, source: Size) -> Canvas:
        """The canvas of a source. Raises GeometryError."""
        if self.pad:
            return canvas_of_pads(source, Pads(*self.pad))
        if self.aspect:
            return canvas_of_aspect(source, self.aspect, self.anchor, self.offset)
        w, h = self.size or (0, 0)
        return canvas_of_size(source, Size(h, w), self.anchor, self.offset)


@dataclass(frozen=True)
class ModelRequest:
    """A model, its files, and how it is to be run."""

    model: Path | None = None
    """None: the built-in one"""
    preset: str = DEFAULT
    files: Files = Files()
    given: Mapping[str, Any] | None = None
    """Settings that were given"""
    seed: int = 0
    device: str | None = None
    """None: a GPU when there is one"""
    dtype: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**64:
            raise SamplingError(f"--seed is {self.seed}, but must be 0 to {2**64 - 1}")

    def settings(self, checkpoint: Checkpoint) -> Any:
        """The preset with the settings that were given.

        Raises ConditioningError when one means nothing to the model, and what its values may raise.
        """
        system = checkpoint.system
        known = {*options(system.settings), *system.files}
        given = {name: value for name, value in (self.given or {}).items() if name in known or value != ""}
        files = [name for name, path in self.files._asdict().items() if path]
        for name in (*given, *files):
            if name not in known:
                raise ConditioningError(f"--{name.replace('_', '-')} means nothing to {system.title}; leave it out")
        return replace(choose_preset(checkpoint.presets, self.preset), **given)


@dataclass(frozen=True)
class VideoRequest:
    """A source video, its canvas, and the levels it is sampled in."""

    input: Path
    canvas: CanvasRequest
    frames: int | None = None
    """Use only so many"""
    levels: tuple[int, ...] | str | None = None
    """Strides, or what published ones are called"""

    def __post_init__(self) -> None:
        if self.frames is not None and self.frames < 1:
            raise SamplingError(f"--frames is {self.frames}, but must be at least 1")

    def by_levels(self, checkpoint: Checkpoint) -> bool:
        """Whether the video goes through levels of clips: they were asked for, or the model knows nothing else."""
        return self.levels is not None or not checkpoint.system.in_time_windows

    def plan(self, length: int, checkpoint: Checkpoint, settings: Any) -> KeyframePlan:
        """The clips of a video of `length` frames. Raises GeometryError."""
        strides = STRIDES[self.levels](length) if isinstance(self.levels, str) else self.levels
        return checkpoint.system.plan(length, settings, strides)

    def check(self, model: ModelRequest, checkpoint: Checkpoint) -> None:
        """Raise SamplingError on settings of clips without levels."""
        for name in ("clip", "clip_overlap"):
            value = (model.given or {}).get(name)
            if value is not None and not self.by_levels(checkpoint):
                raise SamplingError(
                    f"--{name.replace('_', '-')} is {value}, but without --levels there are no clips; add --levels 1, or use --frame-window"
                )


@dataclass(frozen=True)
class Outpaint:
    """Outpaint a video into a file."""

    video: VideoRequest
    model: ModelRequest
    output: Path


@dataclass(frozen=True)
class Plan(Outpaint):
    """Print and draw what would be done; `output` is the picture."""


@dataclass(frozen=True)
class Demo(Outpaint):
    """Outpaint the bundled clip; `output` is a folder."""


@dataclass(frozen=True)
class Evaluate:
    """Run presets of a model on clips whose sides are hidden."""

    clips: Sequence[Path]
    pictures: Sequence[Path]
    output: Path
    presets: Sequence[str] | None
    model: ModelRequest


@dataclass(frozen=True)
class Inspect:
    """Describe a checkpoint."""

    file: Path


@dataclass(frozen=True)
class Convert:
    """Convert a checkpoint."""

    source: Path
    target: Path
    dtype: str | None
    record: Mapping[str, str]
    """Settings that belong to the weights"""


@dataclass(frozen=True)
class Measure:
    """Compare a result with the true video."""

    result: Path
    reference: Path
    known: Box


@dataclass(frozen=True)
class Train:
    """Train, or go on training."""

    config: Path
    output: Path
    minutes: float | None
    until: int | None


def _taken(kind: type, args: argparse.Namespace, **read: Any) -> Any:
    """A request whose other fields are called as the arguments are; those that a command does not have keep their defaults."""
    names = {one.name for one in fields(kind)} - set(read)
    return kind(**{name: getattr(args, name) for name in names if hasattr(args, name)}, **read)


def _model(args: argparse.Namespace) -> ModelRequest:
    given = {name: getattr(args, name) for name in system_options() if getattr(args, name, None) is not None}
    files = Files(**{name: getattr(args, name, None) for name in Files._fields})
    return _taken(ModelRequest, args, files=files, given=given)


def _video(args: argparse.Namespace) -> VideoRequest:
    return _taken(VideoRequest, args, canvas=_taken(CanvasRequest, args))


def read_request(args: argparse.Namespace) -> Any:
    """What the arguments ask for. Raises SamplingError on a number out of range."""
    match args.command:
        case "outpaint":
            return Outpaint(_video(args), _model(args), args.output)
        case "plan":
            return Plan(_video(args), _model(args), args.output)
        case "demo":
            return Demo(VideoRequest(DEMO_CLIP, CanvasRequest(aspect="16:9")), _model(args), args.output)
        case "evaluate":
            return _taken(Evaluate, args, model=_model(args))
        case "convert":
            record = {name: getattr(args, name) for name in system_options(recorded=True) if getattr(args, name)}
            return _taken(Convert, args, record=record)
        case "measure":
            x, y, w, h = args.known
            return _taken(Measure, args, known=Box(y, x, h, w))
    return _taken({"inspect": Inspect, "train": Train}[args.command], args)
