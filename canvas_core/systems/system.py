"""What the pack knows of a network family: how its files look, and what their shapes and metadata say of the network."""

import json
import reprlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from torch import nn

from ..errors import CheckpointError
from ..networks.weights import Shapes
from .presets import Preset
from .stored_values import check_values, read_json


@dataclass(frozen=True)
class Architecture:
    """How to recognise and build one network family."""

    name: str
    title: str
    """As its authors call it"""
    required: tuple[str, ...]
    """Keys that a checkpoint of this family always has and others never have together."""
    read_config: Callable[[Shapes, Mapping[str, Any]], Any]
    build: Callable[..., nn.Module]
    """build(config, operations=torch.nn, dtype=None, device=None)"""
    stored: tuple[str, ...]
    """Fields of the configuration that shapes do not tell, and `canvas.config` does"""
    options: Mapping[str, str]
    """Those fields by what the `config.json` beside a diffusers file calls them"""
    has_layout: bool = False
    """Whether its files hold a layout encoder too"""
    preset: Preset = Preset()
    """How it is run where a file recommends nothing"""

    def missing(self, shapes: Shapes) -> list[str]:
        """Required keys that the checkpoint lacks."""
        return [key for key in self.required if key not in shapes]

    def describe(self, config: Any) -> dict[str, str]:
        """Safetensors metadata that say of which architecture a file is, and what its shapes do not tell."""
        stored = {field: getattr(config, field) for field in self.stored}
        return {
            "modelspec.architecture": self.name,
            "canvas.architecture": self.name,
            "canvas.config": json.dumps(stored),
        }


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
