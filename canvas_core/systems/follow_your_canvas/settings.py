"""How Follow-Your-Canvas is run. The defaults are published; a checkpoint's presets and the command line change them."""

from dataclasses import dataclass

from ...errors import SamplingError
from ...pixels.fill import FILLS
from ...pixels.finishing import Finishing
from ...plan.boxes import Size
from ...plan.rounds import START_FROM
from ...plan.windows import WindowSettings
from ...sampling.denoise import check_steps
from ..options import PasteOptions, TilingOptions, option
from .guidance import Guidance, guide_by_text, guide_by_text_and_layout
from .official import PASTES, paste_as_published
from .relative_region import CONVENTIONS

STRIDES = range(2, 17)
"""Frame strides that the network was trained with."""


def clip_stride(fps: int, stride: int) -> int:
    """The frame stride that the network is told for a level, of those it was trained with."""
    return min(fps * stride, STRIDES[-1])


@dataclass(frozen=True)
class Settings(PasteOptions, TilingOptions):
    """Options and presets of Follow-Your-Canvas; where it differs from the default, `official` is @ 2748eb1."""

    steps: int = option(40, "denoising steps")
    cfg: float = option(8.0, "text guidance scale")
    layout_cfg: float | None = option(None, "layout guidance scale; off by default, as published")
    strength: float = option(1.0, "share of the denoising that is run, above 0 to 1; below 1 it starts from --fill")
    fill: str = option("cone + detail", "fill without a model, to start from or to refine", choices=tuple(FILLS))
    propagate: bool = option(False, "borrow what a moving camera shows in other frames")
    prompt: str = option("", "what the whole canvas shows")
    negative: str = option("", "what it must not show")
    rre: str = option("centre_px", "relative region convention", choices=CONVENTIONS)
    start_from: str = option("source", "what later rounds start from", choices=START_FROM)
    fps: int = option(8, "training frame stride, 2 to 16; not the clip's rate")
    batch: int = option(1, "windows per model call", metavar="N")
    frame_window: int = option(WindowSettings.frames, "frames of a time window", "windows")
    frame_overlap: int = option(WindowSettings.frame_overlap, "frames shared by time windows", "windows")
    min_overlap: Size | None = option(
        None, "least overlap of a window with what is known, sets the rounds", "windows", metavar="H,W"
    )
    refine: bool = option(False, "lay what the model adds to its own smooth fill over --fill", "paste")
    paste: str = option("feather", "how the source is put back", "paste", PASTES)

    def __post_init__(self) -> None:
        check_steps(self.steps)
        _ = self.windows, self.finishing  # refuse what cannot be
        for name, known in (
            ("start_from", START_FROM),
            ("paste", PASTES),
            ("fill", tuple(FILLS)),
            ("rre", CONVENTIONS),
        ):
            if getattr(self, name) not in known:
                raise SamplingError(f"{name} is {getattr(self, name)!r}, but must be one of {', '.join(known)}")
        if not 0 < self.strength <= 1:
            raise SamplingError(
                f"the strength is {self.strength}, but must be above 0 and at most 1; 1 denoises in full"
            )
        if self.batch < 1:
            raise SamplingError(f"windows at once is {self.batch}, but must be at least 1")
        if self.fps not in STRIDES:
            raise SamplingError(
                f"--fps is {self.fps}, but is the training frame stride and must be 2 to 16; 8 is usual"
            )

    @property
    def windows(self) -> WindowSettings:
        """Windows in space and time."""
        return WindowSettings(
            self.window,
            self.overlap,
            self.planner,
            self.weights,
            self.frame_window,
            self.frame_overlap,
            self.min_overlap,
        )

    @property
    def guidance(self) -> Guidance:
        """Text guidance, or text and layout with a scale each."""
        if self.layout_cfg is None:
            return guide_by_text(self.cfg)
        return guide_by_text_and_layout(self.cfg, self.layout_cfg)

    @property
    def finishing(self) -> Finishing:
        """The steps after decoding."""
        return Finishing(
            self.match,
            self.texture,
            self.fill if self.refine else None,
            self.propagate,
            self.feather,
            self.start_from,
            paste_as_published if self.paste == "official" else None,
        )
