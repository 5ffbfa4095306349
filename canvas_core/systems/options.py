"""Settings that are options: each field of a system's settings is an option of the command line and of presets.

A system's settings are a frozen dataclass whose fields are made by `option`; what several systems share is inherited.
"""

from collections.abc import Collection
from dataclasses import Field, dataclass, field, fields
from typing import Any

from ..pixels.finishing import Finishing
from ..plan.keyframes import CLIP, OVERLAP
from ..plan.windows import PLANNERS, WEIGHTS, WindowSettings


def option(
    default: Any,
    help: str,
    group: str = "sampling",
    choices: Collection[str] | None = None,
    metavar: str | None = None,
) -> Any:
    """A field of settings: its published default, and what the help says of it."""
    return field(default=default, metadata={"help": help, "group": group, "choices": choices, "metavar": metavar})


def again(settings: type, name: str, default: Any) -> Any:
    """An inherited option with another default."""
    (old,) = (one for one in fields(settings) if one.name == name)
    return field(default=default, metadata=old.metadata)


def options(settings: type) -> dict[str, Field[Any]]:
    """The options of a system by name."""
    return {one.name: one for one in fields(settings)}


@dataclass(frozen=True)
class TilingOptions:
    """How a canvas is cut into windows, and a long video into clips."""

    window: int = option(WindowSettings.window, "window side in pixels", "windows")
    overlap: int = option(WindowSettings.overlap, "least overlap in pixels", "windows")
    planner: str = option(
        WindowSettings.planner, "even spacing, or the published quarter-window overlap", "windows", tuple(PLANNERS)
    )
    weights: str = option(WindowSettings.weights, "fusion weights", "windows", tuple(WEIGHTS))
    clip: int = option(CLIP, "frames sampled together", "length")
    clip_overlap: int = option(OVERLAP, "frames a clip shares with the next", "length")

    @property
    def windows(self) -> WindowSettings:
        """Windows in space; a clip is one window in time. Raises GeometryError."""
        return WindowSettings(self.window, self.overlap, self.planner, self.weights, max(self.clip, 1), 0)


@dataclass(frozen=True)
class PasteOptions:
    """What is done to decoded frames, and how the source is put back."""

    feather: int = option(8, "inward blend of the source's border in pixels", "paste")
    match: int = option(0, "pixels over which the result is drawn to the source's colours at the border", "paste")
    texture: float = option(0.0, "share 0 to 1 of the source's detail that is laid over the generated area", "paste")

    @property
    def finishing(self) -> Finishing:
        """The steps after decoding. Raises SamplingError."""
        return Finishing(self.match, self.texture, feather=self.feather)
