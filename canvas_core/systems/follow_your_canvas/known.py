"""What Follow-Your-Canvas is told of a whole video: read once, frame by frame, and encoded."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ...networks.autoencoder import encode
from ...pixels.eight_bit import to_levels
from ...pixels.fill import fill_hidden
from ...pixels.placed import PlacedVideo, read_together, stack_placed
from ...pixels.placing import cell_mask
from ...plan.boxes import Box
from ...plan.keyframes import ClipPlan, KeyframePlan
from ...progress import Watch, count_up, unwatched
from ...sampling.denoise import Start
from ...sampling.tiling import Clip
from ..system import Place
from .conditions import CanvasClip
from .layout_encoder import LayoutEncoder, layout_tokens
from .sam import encode_frames
from .settings import Settings, clip_stride

AT_ONCE = 16
"""Frames that are encoded together."""

Tokens = Mapping[tuple[str, range], torch.Tensor]
"""(real or null, time window of a clip) to layout tokens."""


Text = Mapping[str, torch.Tensor]
"""positive and negative embeddings, each [1, L, D]."""


@dataclass(frozen=True)
class Networks:
    """The parts of the system, ready to run."""

    unet: Any
    layout_encoder: LayoutEncoder
    sam: Any
    vae: Any
    place: Place = Place()
    levels_of: Callable[[torch.Tensor], torch.Tensor] = to_levels
    """Frames 0..1 to what SAM sees of them, uint8"""


@dataclass(frozen=True)
class KnownVideo:
    """What the network is told of a whole video, on the CPU."""

    networks: Networks
    settings: Settings
    text: Text
    mask: torch.Tensor
    """[N, 1, h, w], 1 = generate"""
    masked_latents: torch.Tensor
    """[N, C, h, w]"""
    filled: torch.Tensor | None
    """[N, C, h, w], where denoising starts when the strength is below 1"""
    tokens: Mapping[ClipPlan, Tokens]
    anchor: Box

    def clip(self, clip: ClipPlan, finished: Mapping[int, torch.Tensor], before: Clip | None = None) -> CanvasClip:
        """Guides are known: nothing of them is hidden, and they are held at their latents."""
        frames, settings = list(clip.frames), self.settings
        held = {slot: finished.get(frames[slot], self.masked_latents[frames[slot]]) for slot in clip.guides}
        mask, masked = self.mask[frames], self.masked_latents[frames]
        for slot, latent in held.items():
            mask[slot], masked[slot] = 0, latent
        return CanvasClip(
            self.networks.unet,
            settings.guidance,
            mask,
            masked,
            self.text,
            self.tokens[clip],
            self.anchor,
            settings.rre,
            clip_stride(settings.fps, clip.stride),
            held,
            None if self.filled is None else Start(self.filled[frames], settings.strength),
            self.networks.place,
        )


@torch.inference_mode()
def read_known(
    networks: Networks,
    settings: Settings,
    text: Text,
    video: PlacedVideo,
    plan: KeyframePlan,
    posterior: torch.Tensor,
    watch: Watch = unwatched,
) -> KnownVideo:
    """Encode a video that is read once; posterior: noise [N, C, h, w]. Raises SamplingError when it is not as long as the plan."""
    hidden_cells, device = networks.unet.config.hidden_cells, networks.place.device
    masks, latents, fills = [], [], []
    reader = LayoutReader(networks, settings, plan)
    advance = count_up(watch, "read", plan.length)
    for first, source, placed in read_together(video, plan.length, AT_ONCE):
        images, mask = stack_placed(placed)
        noise = posterior[first : first + len(placed)]
        masks.append(cell_mask(mask, hidden=hidden_cells)[:, None])
        latents.append(encode(networks.vae, images, noise, device))
        if settings.strength < 1:
            fills.append(encode(networks.vae, fill_hidden(images, mask, settings.fill), noise, device))
        reader.read(source)
        advance(len(placed))
    filled = torch.cat(fills) if fills else None
    known = torch.cat(masks), torch.cat(latents), filled
    return KnownVideo(networks, settings, text, *known, reader.found, video.canvas.source)


class LayoutReader:
    """Layout tokens of every clip of a plan, made as soon as its frames have passed; features take 4 MB a frame."""

    def __init__(self, networks: Networks, settings: Settings, plan: KeyframePlan):
        self._networks, self._settings = networks, settings
        self._waiting = list(plan.clips)
        self._features: dict[int, torch.Tensor] = {}
        self._count = 0
        self.found: dict[ClipPlan, Tokens] = {}
        """Clip to its tokens"""

    def read(self, frames: torch.Tensor) -> None:
        """The next frames [F, h, w, 3] 0..1."""
        sam = self._networks.sam.to(self._networks.place.device)
        for feature in encode_frames(sam, self._networks.levels_of(frames)):
            self._features[self._count] = feature
            self._count += 1
        ready = [clip for clip in self._waiting if max(clip.frames) < self._count]
        self.found |= {clip: self._encode(clip.frames) for clip in ready}
        self._waiting = [clip for clip in self._waiting if clip not in self.found]
        needed = {frame for clip in self._waiting for frame in clip.frames}
        self._features = {frame: feature for frame, feature in self._features.items() if frame in needed}

    def _encode(self, frames: Sequence[int]) -> Tokens:
        features = torch.stack([self._features[frame] for frame in frames])
        spans = self._settings.windows.plan_frames(len(frames))
        return layout_tokens(self._networks.layout_encoder, features, spans, *self._networks.place)
