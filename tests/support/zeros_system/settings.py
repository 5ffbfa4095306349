"""How Zeros is run."""

from dataclasses import dataclass
from typing import ClassVar

from ..options import PasteOptions, TilingOptions, again, option


@dataclass(frozen=True)
class Settings(PasteOptions, TilingOptions):
    """Every field is an option of the command line and of presets."""

    steps: int = option(2, "denoising steps")
    level: float = option(0.0, "latent that is predicted everywhere")
    window: int = again(TilingOptions, "window", 64)
    overlap: int = again(TilingOptions, "overlap", 16)
    batch: ClassVar[int] = 4
    """Windows per model call"""
