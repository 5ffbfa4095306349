"""Follow-Your-Canvas with its networks, ready to outpaint: a `Model` of the contract."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from ...errors import ConditioningError, SamplingError
from ...networks.autoencoder import decode_each
from ...networks.text import encode_text
from ...pixels.compositing import inward_alpha
from ...pixels.placed import PlacedVideo
from ...plan.boxes import Size
from ...plan.canvas import Canvas, require_cells
from ...plan.keyframes import KeyframePlan
from ...progress import Watch, unwatched
from ...sampling.denoise import Draw, Scheduler
from ...sampling.noise import share_noise
from ..parts import load_vae
from ..system import Checkpoint, Files, Place, System, load_network
from .known import KnownVideo, Networks, Text, read_known
from .official import require_centred
from .sam import load_sam
from .settings import Settings
from .solver import make_scheduler


def no_prompts(width: int) -> Text:
    """Both embeddings, [1, 1, width] each, for a network that reads no prompt."""
    return dict.fromkeys(("negative", "positive"), torch.zeros(1, 1, width))


@dataclass(frozen=True)
class FollowYourCanvas:
    """The networks of the system, what they are told of the prompt, and how to run them."""

    networks: Networks
    text: Text
    settings: Settings
    system: System

    def with_settings(self, settings: Settings) -> "FollowYourCanvas":
        """The same networks, run otherwise; the prompt stays."""
        return replace(self, settings=settings)

    def check(self, canvas: Canvas, plan: KeyframePlan) -> None:
        """Raise GeometryError or SamplingError on a canvas, a paste or time windows that cannot work."""
        require_cells(canvas)
        inward_alpha(canvas, self.settings.feather)
        if self.settings.paste == "official":
            require_centred(canvas)
        reach = self.networks.unet.config.max_frames
        if min(plan.longest, self.settings.frame_window) > reach:
            raise SamplingError(
                f"time windows of {self.settings.frame_window} frames are longer than the {reach} this model reaches; use --frame-window {reach}"
            )

    def noise(self, plan: KeyframePlan, cells: Size, draw: Draw) -> torch.Tensor:
        """Noise [N, C, h, w] of the whole video, so that a frame's does not depend on its level; shared as in training."""
        config = self.networks.unet.config
        return share_noise(draw((plan.length, config.out_channels, *cells)), config.noise_share)

    def know(self, video: PlacedVideo, plan: KeyframePlan, draw: Draw, watch: Watch = unwatched) -> KnownVideo:
        """Read and encode a video; the VAE's posterior is drawn from."""
        posterior = draw((plan.length, self.networks.unet.config.out_channels, *video.canvas.cells))
        return read_known(self.networks, self.settings, self.text, video, plan, posterior, watch)

    def scheduler(self, draw: Draw) -> Scheduler:
        """DDIM as the checkpoint says it was trained."""
        return make_scheduler(self.networks.unet.config.prediction, self.networks.unet.config.spacing)

    def decode(self, latents: torch.Tensor, slots: Sequence[int]) -> Iterator[torch.Tensor]:
        """Frame by frame."""
        return decode_each(self.networks.vae, latents, slots, self.networks.place.device)


def open_model(checkpoint: Checkpoint, files: Files, settings: Settings, place: Place) -> FollowYourCanvas:
    """Load all networks. Raises ConditioningError when a file was not given, CheckpointError when one cannot be used."""
    text = _encode_text(checkpoint.config, files, settings, place)
    if not files.sam:
        raise ConditioningError(
            "Follow-Your-Canvas reads the layout with Segment Anything; give sam_vit_b_01ec64.pth with --sam"
        )
    networks = Networks(
        load_network(checkpoint, place=place),
        load_network(checkpoint, "layout", place),
        load_sam(files.sam),
        load_vae(files),
        place,
    )
    return FollowYourCanvas(networks, text, settings, checkpoint.system)


def _encode_text(config: Any, files: Files, settings: Settings, place: Place) -> Text:
    """Raises ConditioningError when the text encoder is missing or another one's."""
    width = config.text_width
    if not config.reads_text:
        if settings.prompt or settings.negative:
            raise ConditioningError("this model reads no prompt; leave --prompt and --negative out")
        return no_prompts(width)
    if not files.base:
        raise ConditioningError(
            "Follow-Your-Canvas needs a text encoder even for an empty prompt; give the Stable Diffusion 2.1 folder with --base"
        )
    negative, positive = encode_text(files.base, [settings.negative, settings.prompt], place.device).chunk(2)
    if positive.shape[-1] != width:
        raise ConditioningError(
            f"the text encoder in {files.base} is {positive.shape[-1]} wide, but this canvas model takes {width}; use the Stable Diffusion 2.1 folder"
        )
    return {"negative": negative, "positive": positive}
