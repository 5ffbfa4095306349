"""What a published system is to the rest of the pack: its files, its options, and how it tells a network of a video.

A system is one folder here, a `System` record in its `files.py`, and one line in the catalogue. Latents outside a system are
[F, C, h, w] float32 on the CPU; device, precision and layout inside a network are the system's own.
"""

import json
import reprlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import nn

from ..errors import CheckpointError
from ..networks.weights import Shapes, TensorFile, Tensors, cast, check_fits
from ..pixels.placed import PlacedVideo
from ..plan.boxes import Size
from ..plan.canvas import Canvas
from ..plan.keyframes import ClipPlan, KeyframePlan, plan_levels
from ..progress import Watch
from ..sampling.denoise import Draw, Scheduler
from ..sampling.tiling import Clip
from .stored_values import check_values, read_json


class Files(NamedTuple):
    """Files that go with a model, those that were given."""

    base: Path | None = None
    """Stable Diffusion folder with vae, tokenizer and text_encoder"""
    vae: Path | None = None
    """VAE file or folder in place of the one in `base`"""
    sam: Path | None = None
    """Segment Anything"""


class Place(NamedTuple):
    """Where networks run."""

    device: str = "cpu"
    dtype: torch.dtype = torch.float32


HERE = Place()


class Known(Protocol):
    """What is known of a whole video on one canvas, encoded."""

    def clip(self, clip: ClipPlan, finished: Mapping[int, torch.Tensor], before: Clip | None) -> Clip:
        """What the network is told of a clip: `finished` has the latent [C, h, w] of each guide's frame, `before` is the clip before it."""


class Model(Protocol):
    """A system with its networks and settings, ready to outpaint."""

    system: "System"
    settings: Any
    """At least steps, windows (WindowSettings), batch and finishing"""

    def with_settings(self, settings: Any) -> "Model":
        """The same networks, run otherwise."""

    def check(self, canvas: Canvas, plan: KeyframePlan) -> None:
        """Raise CanvasError on what would fail after minutes of sampling."""

    def noise(self, plan: KeyframePlan, cells: Size, draw: Draw) -> torch.Tensor:
        """Start noise [N, C, h, w] of all frames of a plan."""

    def know(self, video: PlacedVideo, plan: KeyframePlan, draw: Draw, watch: Watch) -> Known:
        """Read a video once and encode what is known of it."""

    def scheduler(self, draw: Draw) -> Scheduler:
        """A fresh one for each clip."""

    def decode(self, latents: torch.Tensor, slots: Sequence[int]) -> Iterator[torch.Tensor]:
        """Frames [8 h, 8 w, 3] 0..1 of `slots` of latents [F, C, h, w], which are a whole clip or a whole video."""


@dataclass(frozen=True)
class Part:
    """One more network in the files of a system."""

    prefixes: tuple[str, ...]
    """Of its keys"""
    read_config: Callable[[Shapes], Any]
    build: Callable[..., nn.Module]
    """build(config, operations=torch.nn, dtype=None, device=None)"""


@dataclass(frozen=True)
class System:
    """A published system. Making one loads neither diffusers nor transformers."""

    name: str
    title: str
    """As its authors call it"""
    required: tuple[str, ...]
    """Keys that a checkpoint of this system always has and others never have together"""
    read_config: Callable[[Shapes, Mapping[str, Any]], Any]
    """read_config(shapes, what is stored beside them) -> configuration of the main network"""
    build: Callable[..., nn.Module]
    """build(config, operations=torch.nn, dtype=None, device=None)"""
    stored: tuple[str, ...]
    """Fields of the configuration that shapes do not tell, and `canvas.config` does"""
    settings: type
    """Frozen dataclass of `systems.options`: field names are the names of options and presets, defaults are published"""
    files: tuple[str, ...]
    """Which of `Files` it reads"""
    strides: Callable[[int], tuple[int, ...]]
    """Of a video of so many frames, where levels are not chosen"""
    in_rounds: bool
    """Whether the canvas grows in rounds, where windows do not reach from the source to its border"""
    in_time_windows: bool
    """Whether a whole video is one clip in time windows, unless levels are asked for"""
    open: Callable[["Checkpoint", Files, Any, Place], Model]
    """Loads all networks; raises CanvasError. Its body imports what is heavy"""
    clean_key: Callable[[str], str] = lambda key: key
    """The key of a published file without what training frameworks put before it"""
    beside: Mapping[str, str] = field(default_factory=dict)
    """Stored fields by what the `config.json` beside a diffusers file calls them"""
    parts: Mapping[str, Part] = field(default_factory=dict)
    """Further networks of its files by name"""
    recorded: tuple[str, ...] = ()
    """Settings that belong to the weights: a file records them under `canvas.<name>`"""

    def plan(self, length: int, settings: Any, strides: Sequence[int] | None = None) -> KeyframePlan:
        """Clips of levels of `strides`, or as the system is run where none are asked for. Raises GeometryError."""
        if strides is None and self.in_time_windows:
            return plan_levels(length, (1,), length, 0)
        return plan_levels(length, strides or self.strides(length), settings.clip, settings.clip_overlap)

    def missing(self, shapes: Shapes) -> list[str]:
        """Required keys that a checkpoint lacks."""
        return [key for key in self.required if key not in shapes]

    def metadata(self, config: Any) -> dict[str, str]:
        """Safetensors metadata that say of which system a file is, and what its shapes do not tell."""
        stored = {name: getattr(config, name) for name in self.stored}
        return {
            "modelspec.architecture": self.name,
            "canvas.architecture": self.name,
            "canvas.config": json.dumps(stored),
        }


@dataclass(frozen=True)
class Checkpoint:
    """A recognised checkpoint, whose tensors are read when asked for."""

    file: TensorFile
    system: System
    config: Any
    parts: Mapping[str, Any]
    """Configurations of the further networks"""
    presets: Mapping[str, Any]
    """Recommended settings by name, `default` among them"""

    @property
    def name(self) -> str:
        return self.file.path.name

    def tensors(self, part: str | None = None) -> Tensors:
        """The weights of a further network, or all that belong to none."""
        if part:
            prefixes = self.system.parts[part].prefixes
            return self.file.load(lambda key: key.startswith(prefixes))
        others = tuple(prefix for one in self.system.parts.values() for prefix in one.prefixes)
        return self.file.load(lambda key: not key.startswith(others))

    def empty(self, part: str | None = None, operations: Any = nn, dtype: torch.dtype | None = None) -> nn.Module:
        """A network of the file on the meta device."""
        build = self.system.parts[part].build if part else self.system.build
        config = self.parts[part] if part else self.config
        return build(config, operations, dtype=dtype, device="meta")


def load_network(
    checkpoint: Checkpoint,
    part: str | None = None,
    place: Place = HERE,
    operations: Any = nn,
) -> Any:
    """A network of a checkpoint, ready to run. Raises CheckpointError when its weights do not fit."""
    network, tensors = checkpoint.empty(part, operations, place.dtype), checkpoint.tensors(part)
    check_fits(network, tensors, checkpoint.name)
    placed = {key: cast(value, place.dtype).to(place.device) for key, value in tensors.items()}
    network.load_state_dict(placed, strict=False, assign=True)
    return network.eval().requires_grad_(False)


def require_system(checkpoint: Checkpoint, wanted: System) -> None:
    """Raise CheckpointError unless the checkpoint is of the system `wanted`."""
    if checkpoint.system is not wanted:
        raise CheckpointError(
            f"{checkpoint.name} is a checkpoint of {checkpoint.system.title}, but {wanted.title} is needed here; pick another file"
        )


def stored_config(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The JSON under `canvas.config` in safetensors metadata, or nothing. Raises CheckpointError when it is not JSON."""
    text = metadata.get("canvas.config", "{}")
    try:
        stored = read_json(text)
    except ValueError:
        stored = None
    if not isinstance(stored, dict):
        raise CheckpointError(
            f"the metadata 'canvas.config' is {text[:80]!r}, but must be a JSON object; convert the checkpoint again"
        )
    return {key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()}


def override(config: Any, stored: Mapping[str, Any], untold: Collection[str]) -> Any:
    """The configuration with what the file says instead; only fields `untold` by the shapes may differ. Raises CheckpointError."""
    known = {field.name for field in fields(config)}
    strange = sorted(set(stored) - known)
    if strange:
        raise CheckpointError(
            f"the metadata 'canvas.config' names {', '.join(strange)}, which this version does not know; update the pack"
        )
    try:
        check_values(type(config), stored)
    except ValueError as error:
        raise CheckpointError(
            f"in the metadata 'canvas.config', or the config.json beside the file, {error}; download or convert the checkpoint again"
        ) from None
    for name, value in stored.items():
        if name not in untold and value != getattr(config, name):
            raise CheckpointError(
                f"the metadata 'canvas.config' says {name} {reprlib.repr(value)}, but the tensors say {getattr(config, name)}; convert the checkpoint again"
            )
    return replace(config, **stored)


def count(shapes: Shapes, pattern: str) -> int:
    """How many keys `pattern` makes when it is filled with 0, 1, 2 and so on."""
    found = 0
    while pattern.format(found) in shapes:
        found += 1
    return found
