"""Zeros with its networks: the four questions of the engine (check, noise, know, decode), and what a clip answers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from diffusers import DDIMScheduler

from ...networks.autoencoder import decode_each
from ...pixels.placed import PlacedVideo, read_together
from ...plan.boxes import Size
from ...plan.canvas import Canvas, require_cells
from ...plan.keyframes import ClipPlan, KeyframePlan
from ...progress import Watch
from ...sampling.denoise import Draw, Noised, Scheduler
from ...sampling.tiling import Clip, Window
from ..parts import load_vae
from ..system import Checkpoint, Files, Place, System, load_network
from .settings import Settings


@dataclass(frozen=True)
class ZerosClip:
    """One clip, its own `Known` too: nothing is known of any."""

    network: Any
    level: float
    start: None = None

    def clip(self, clip: ClipPlan, finished: Mapping[int, torch.Tensor], before: Clip | None) -> "ZerosClip":
        """The same for every clip."""
        return self

    def enter(self, step: int, x: torch.Tensor, noised: Noised) -> torch.Tensor:
        """No frame is held."""
        return x

    def predict(self, x: torch.Tensor, time: torch.Tensor, windows: Sequence[Window]) -> torch.Tensor:
        """One branch for windows [W, F, C, h, w]."""
        return self.network(x, self.level)[None]

    def combine(self, parts: torch.Tensor) -> torch.Tensor:
        """Its prediction."""
        return parts[0]


@dataclass(frozen=True)
class Zeros:
    """Networks and settings."""

    network: Any
    vae: Any
    settings: Settings
    system: System

    def with_settings(self, settings: Settings) -> "Zeros":
        """The same networks, run otherwise."""
        return replace(self, settings=settings)

    def check(self, canvas: Canvas, plan: KeyframePlan) -> None:
        """Latents are cells."""
        require_cells(canvas)

    def noise(self, plan: KeyframePlan, cells: Size, draw: Draw) -> torch.Tensor:
        """Of every frame by itself."""
        return draw((plan.length, 4, *cells))

    def know(self, video: PlacedVideo, plan: KeyframePlan, draw: Draw, watch: Watch) -> ZerosClip:
        """Reads the video, and forgets it."""
        for first, _, placed in read_together(video, plan.length, 16):
            watch("read", first + len(placed), plan.length)
        return ZerosClip(self.network, self.settings.level)

    def scheduler(self, draw: Draw) -> Scheduler:
        """Any of diffusers that takes clean predictions."""
        return DDIMScheduler(prediction_type="sample", clip_sample=False)

    def decode(self, latents: torch.Tensor, slots: Sequence[int]) -> Iterator[torch.Tensor]:
        """Frame by frame."""
        return decode_each(self.vae, latents, slots)


def open_model(checkpoint: Checkpoint, files: Files, settings: Settings, place: Place) -> Zeros:
    """Load the network and the VAE."""
    return Zeros(load_network(checkpoint), load_vae(files), settings, checkpoint.system)
