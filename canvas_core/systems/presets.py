"""How a model is best run: the settings a checkpoint recommends, by name, under `canvas.presets` in its metadata."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..errors import CheckpointError
from .stored_values import check_values, read_json

DEFAULT = "default"


@dataclass(frozen=True)
class Preset:
    """Settings of one run; those here are Follow-Your-Canvas's."""

    steps: int = 40
    cfg: float = 8.0
    strength: float = 1.0
    fill: str = "cone + detail"
    propagate: bool = False
    window: int = 512
    overlap: int = 128
    frame_window: int = 64
    frame_overlap: int = 16
    feather: int = 8
    refine: bool = False
    match: int = 0
    texture: float = 0.0


def read_presets(metadata: Mapping[str, str], default: Preset = Preset()) -> dict[str, Preset]:  # noqa: B008 - frozen
    """The presets of a checkpoint, at least `default`. Raises CheckpointError when they cannot be read."""
    try:
        stored = read_json(metadata.get("canvas.presets", "{}"))
        presets = {name: _preset(settings) for name, settings in stored.items()}
    except (ValueError, TypeError, AttributeError) as error:
        known = ", ".join(field.name for field in fields(Preset))
        raise CheckpointError(
            f"the metadata 'canvas.presets' cannot be read ({error}); it must name settings out of {known}; update the pack or convert the checkpoint again"
        ) from None
    return {DEFAULT: default, **presets}


def _preset(settings: Mapping[str, Any]) -> Preset:
    check_values(Preset, settings)
    return Preset(**settings)


def choose_preset(presets: Mapping[str, Preset], name: str) -> Preset:
    """A preset by name. Raises CheckpointError when the checkpoint has none of that name."""
    if name not in presets:
        raise CheckpointError(f"the model has no preset {name!r}; choose one of {', '.join(presets)}")
    return presets[name]
