"""M3DDM with its networks, ready to outpaint: a `Model` of the contract."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from ...networks.autoencoder import decode_each
from ...pixels.compositing import inward_alpha
from ...pixels.placed import PlacedVideo
from ...plan.boxes import Size
from ...plan.canvas import Canvas, require_cells
from ...plan.keyframes import KeyframePlan
from ...progress import Watch, unwatched
from ...sampling.denoise import Draw, Scheduler
from ..parts import load_vae
from ..system import Checkpoint, Files, Place, System, load_network
from .conditions import Scales
from .known import KnownVideo, Networks, read_known
from .settings import Settings
from .solver import make_scheduler


@dataclass(frozen=True)
class M3DDMModel:
    """The networks of the system and how to run them."""

    networks: Networks
    settings: Settings
    system: System

    def with_settings(self, settings: Settings) -> "M3DDMModel":
        """The same networks, run otherwise."""
        return replace(self, settings=settings)

    def check(self, canvas: Canvas, plan: KeyframePlan) -> None:
        """Raise GeometryError on a canvas or a paste that cannot work."""
        require_cells(canvas)
        inward_alpha(canvas, self.settings.feather)

    def noise(self, plan: KeyframePlan, cells: Size, draw: Draw) -> torch.Tensor:
        """Noise [N, 4, h, w] of the whole video, so that a frame's does not depend on its level."""
        return draw((plan.length, self.networks.unet.config.out_channels, *cells))

    def know(self, video: PlacedVideo, plan: KeyframePlan, draw: Draw, watch: Watch = unwatched) -> KnownVideo:
        """Read and encode a video; nothing is drawn."""
        scales = Scales(self.settings.context_scale, self.settings.global_scale)
        return read_known(self.networks, scales, video, plan.length, watch)

    def scheduler(self, draw: Draw) -> Scheduler:
        """The published one."""
        return make_scheduler()

    def decode(self, latents: torch.Tensor, slots: Sequence[int]) -> Iterator[torch.Tensor]:
        """Frame by frame."""
        return decode_each(self.networks.vae, latents, slots, self.networks.place.device)


def open_model(checkpoint: Checkpoint, files: Files, settings: Settings, place: Place) -> M3DDMModel:
    """Load all networks. Raises ConditioningError when a file was not given, CheckpointError when one cannot be used."""
    return M3DDMModel(
        Networks(load_network(checkpoint, place=place), load_vae(files), place), settings, checkpoint.system
    )
