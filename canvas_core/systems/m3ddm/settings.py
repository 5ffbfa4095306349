"""How M3DDM is run; the defaults are published."""

from dataclasses import dataclass
from typing import ClassVar

from ...sampling.denoise import check_steps
from ..options import PasteOptions, TilingOptions, again, option

LEAST_STEPS = 2
"""The first time step is left out, see `LatePNDMScheduler`."""


@dataclass(frozen=True)
class Settings(PasteOptions, TilingOptions):
    """Options and presets of M3DDM. The published canvas is one window."""

    steps: int = option(50, "denoising steps")
    context_scale: float = option(2.0, "guidance scale of the source")
    global_scale: float = option(4.0, "guidance scale of the global frames")
    window: int = again(TilingOptions, "window", 256)
    overlap: int = again(TilingOptions, "overlap", 64)
    batch: ClassVar[int] = 1
    """Windows per model call"""

    def __post_init__(self) -> None:
        check_steps(self.steps, LEAST_STEPS)
        _ = self.windows, self.finishing  # refuse what cannot be
