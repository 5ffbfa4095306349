"""How a model is best run: the settings a checkpoint recommends, by name, under `canvas.presets` in its metadata."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..errors import CanvasError, CheckpointError
from .options import options
from .stored_values import check_values, read_json

DEFAULT = "default"


def read_presets(metadata: Mapping[str, str], default: Any) -> dict[str, Any]:
    """The presets of a checkpoint, at least `default`, of whose type all are. Raises CheckpointError when they cannot be read."""
    try:
        stored = read_json(metadata.get("canvas.presets", "{}"))
        presets = {name: _preset(default, settings) for name, settings in stored.items()}
    except (ValueError, TypeError, AttributeError) as error:
        known = ", ".join(options(type(default)))
        raise CheckpointError(
            f"the metadata 'canvas.presets' cannot be read ({error}); it must name settings out of {known}; update the pack or convert the checkpoint again"
        ) from None
    return {DEFAULT: default, **presets}


def _preset(default: Any, settings: Mapping[str, Any]) -> Any:
    check_values(type(default), settings)
    return replace(default, **settings)


def choose_preset(presets: Mapping[str, Any], name: str) -> Any:
    """A preset by name. Raises CheckpointError when the checkpoint has none of that name."""
    if name not in presets:
        raise CheckpointError(f"the model has no preset {name!r}; choose one of {', '.join(presets)}")
    return presets[name]


def read_recorded(metadata: Mapping[str, str], settings: type, names: tuple[str, ...]) -> Any:
    """The published settings with those that a file records of its weights, under `canvas.<name>`. Raises CheckpointError."""
    recorded = {name: metadata[f"canvas.{name}"] for name in names if f"canvas.{name}" in metadata}
    try:
        return settings(**recorded)
    except CanvasError as error:
        raise CheckpointError(f"in its metadata {error}; convert it again") from None
