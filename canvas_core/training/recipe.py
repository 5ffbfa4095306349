"""A training from its configuration file: one JSON object, its nested objects the settings of each part.

A file may extend another one beside it, and then says only what differs.
"""

import dataclasses
import json
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from ..errors import TrainingError
from ..systems.follow_your_canvas.config import LayoutEncoderConfig, UNetConfig
from .autoencoder import AutoencoderSettings, AutoencoderTask
from .block_transform import read_blocks
from .canvas_task import CanvasTask, EyeSettings, LossSettings
from .data.clips import find_videos
from .data.pictures import read_pictures
from .data.samples import Material, SampleSettings
from .loop import Schedule, Task
from .release import About
from .tiny_autoencoder import TinyEncoder

KINDS = ("autoencoder", "canvas")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What to train, how long, and from which seed."""

    task: Task
    schedule: Schedule
    seed: int


def read_recipe(path: Path) -> Recipe:
    """The training that a file describes; paths in it count from the working directory. Raises TrainingError."""
    data = read_configuration(path)
    if data.get("kind") not in KINDS:
        raise _no_kind(path)
    try:
        torch.manual_seed(data["seed"])  # first weights of the networks
        build = _autoencoder if data["kind"] == "autoencoder" else _canvas
        return Recipe(build(data), read_settings(Schedule, data["schedule"]), data["seed"])
    except KeyError as error:
        raise TrainingError(f"the configuration {path} lacks {error}; compare it with those in recipes/") from None


def _no_kind(path: Path) -> TrainingError:
    return TrainingError(f"the configuration {path} has no 'kind'; it must be one of {', '.join(KINDS)}")


def read_configuration(path: Path, extending: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The object in a file, completed by the one that it extends."""
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"the configuration {path} cannot be read ({error}); give a JSON file such as recipes/built_in.json"
        ) from None
    if not isinstance(data, dict):
        raise _no_kind(path)
    if "extends" not in data:
        return data
    if path in extending:
        raise TrainingError(f"the configuration {path} extends itself; name another file under 'extends'")
    return _merged(read_configuration(path.parent / str(data.pop("extends")), (*extending, path)), data)


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The base with nested objects changed in part and everything else replaced."""
    both = {
        name: _merged(base[name], value) if isinstance(value, dict) and isinstance(base.get(name), dict) else value
        for name, value in changes.items()
    }
    return {**base, **both}


def read_settings(kind: type, data: Mapping[str, Any]) -> Any:
    """A dataclass from a JSON object, nested ones included. Raises TrainingError on a name it does not know."""
    hints = typing.get_type_hints(kind)
    strange = sorted(set(data) - set(hints))
    if strange:
        raise TrainingError(
            f"the configuration names {', '.join(strange)}, but {kind.__name__} knows {', '.join(hints)}; correct the name"
        )
    try:
        return kind(**{name: _convert(name, hints[name], value) for name, value in data.items()})
    except TypeError as error:
        raise TrainingError(f"the configuration of {kind.__name__} is not complete: {error}") from None


PLAIN = {int: (int,), float: (int, float), str: (str,), bool: (bool,)}
"""Settings of one value: what JSON may say for them."""


def _convert(name: str, hint: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise _mistyped(name, value, "an object")
        return read_settings(hint, value)  # type: ignore[arg-type]
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise _mistyped(name, value, "a list")
        return tuple(_convert(name, typing.get_args(hint)[0], item) for item in value)
    if hint in PLAIN and (not isinstance(value, PLAIN[hint]) or (isinstance(value, bool) and hint is not bool)):
        raise _mistyped(name, value, f"of type {hint.__name__}")
    return value


def _mistyped(name: str, value: Any, wanted: str) -> TrainingError:
    return TrainingError(
        f"the configuration says {name} {value!r}, but it must be {wanted}; compare it with those in recipes/"
    )


def _material(data: Mapping[str, Any]) -> Material:
    pictures = read_pictures(Path(data["pictures"]), tuple(data.get("held_out", ())))
    videos = find_videos(Path(data["videos"])) if "videos" in data else []
    return Material(list(pictures.values()), videos)


def _about(data: Mapping[str, Any]) -> About:
    return read_settings(About, data.get("about", {}))


def _autoencoder(data: Mapping[str, Any]) -> AutoencoderTask:
    settings = read_settings(AutoencoderSettings, data["autoencoder"])
    return AutoencoderTask(settings, list(_material(data).pictures), data["seed"], _about(data))


def _canvas(data: Mapping[str, Any]) -> CanvasTask:
    return CanvasTask(
        read_settings(UNetConfig, data["unet"]),
        read_settings(LayoutEncoderConfig, data["layout"]),
        read_settings(EyeSettings, data["eye"]),
        read_settings(SampleSettings, data["samples"]),
        read_settings(LossSettings, data["loss"]),
        _material(data),
        read_blocks(_read_encoder(Path(data["autoencoder"]))),
        data["seed"],
        _about(data),
    )


def _read_encoder(path: Path) -> TinyEncoder:
    if not path.is_file():
        raise TrainingError(f"there is no autoencoder at {path}; train it first with recipes/autoencoder.json")
    tensors = {
        name.removeprefix("taesd_encoder."): value.float()
        for name, value in load_file(path).items()
        if name.startswith("taesd_encoder.")
    }
    encoder = TinyEncoder(tensors["14.bias"].shape[0])
    encoder.load_state_dict(tensors)
    encoder.eval().requires_grad_(False)
    return encoder
