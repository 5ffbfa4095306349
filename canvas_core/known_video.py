"""What a canvas model is told of a clip of any length: read once, frame by frame, and encoded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from .errors import SamplingError
from .networks.autoencoder import encode
from .pipeline import Networks, Settings
from .pixels.fill import fill_hidden
from .pixels.placed import Frames, PlacedFrames, batches, stack_placed
from .pixels.placing import cell_mask
from .plan.keyframes import ClipPlan, KeyframePlan
from .progress import Watch, unwatched
from .systems.follow_your_canvas.layout_encoder import layout_tokens
from .systems.follow_your_canvas.sam import encode_frames

AT_ONCE = 16
"""Frames that are encoded together."""

Tokens = Mapping[tuple[str, range], torch.Tensor]
"""(real or null, time window of a clip) to layout tokens."""


@dataclass(frozen=True)
class KnownVideo:
    """What the network is told of a whole clip, on the CPU."""

    mask: torch.Tensor
    """[N, 1, h, w], 1 = generate"""
    masked_latents: torch.Tensor
    """[N, C, h, w]"""
    filled: torch.Tensor | None
    """[N, C, h, w], where denoising starts when the strength is below 1"""
    tokens: Sequence[Tokens]
    """Of each clip of the plan"""


@torch.inference_mode()
def encode_known(
    networks: Networks,
    settings: Settings,
    frames: Frames,
    placed: PlacedFrames,
    plan: KeyframePlan,
    posterior: torch.Tensor,
    watch: Watch = unwatched,
) -> KnownVideo:
    """Encode a clip that is read once; posterior: noise [N, C, h, w]. Raises SamplingError when it is not as long as the plan."""
    masks, latents, fills = [], [], []
    reader = _LayoutReader(networks, settings, plan)
    count = 0
    for pairs in batches(zip(frames, placed, strict=True), AT_ONCE):
        images, mask = stack_placed([one for _, one in pairs])
        noise = posterior[count : count + len(pairs)]
        count += len(pairs)
        if count > plan.length:
            break
        masks.append(cell_mask(mask, hidden=networks.unet.config.hidden_cells)[:, None])
        latents.append(encode(networks.vae, images, noise, networks.device))
        if settings.strength < 1:
            filled = fill_hidden(images, mask, settings.fill)
            fills.append(encode(networks.vae, filled, noise, networks.device))
        reader.read(torch.stack([frame for frame, _ in pairs]))
        watch("read", len(pairs))
    if count != plan.length:
        raise SamplingError(
            f"the plan was made for {plan.length} frames, but the video has {'more' if count > plan.length else count}; make it again"
        )
    return KnownVideo(torch.cat(masks), torch.cat(latents), torch.cat(fills) if fills else None, reader.tokens)


class _LayoutReader:
    """Layout tokens of every clip of a plan, made as soon as its frames have passed; features take 4 MB a frame."""

    def __init__(self, networks: Networks, settings: Settings, plan: KeyframePlan):
        self._networks, self._settings, self._plan = networks, settings, plan
        self._features: dict[int, torch.Tensor] = {}
        self._count = 0
        self._found: dict[int, Tokens] = {}

    @property
    def tokens(self) -> list[Tokens]:
        return [self._found[index] for index in range(len(self._plan.clips))]

    def read(self, levels: torch.Tensor) -> None:
        """The next frames [F, h, w, 3] uint8."""
        sam = self._networks.sam.to(self._networks.device)
        for feature in encode_frames(sam, levels):
            self._features[self._count] = feature
            self._count += 1
        for index, clip in enumerate(self._plan.clips):
            if index not in self._found and max(clip.frames) < self._count:
                self._found[index] = self._encode(clip)
        left = (clip for index, clip in enumerate(self._plan.clips) if index not in self._found)
        needed = {frame for clip in left for frame in clip.frames}
        self._features = {frame: feature for frame, feature in self._features.items() if frame in needed}

    def _encode(self, clip: ClipPlan) -> Tokens:
        features = torch.stack([self._features[frame] for frame in clip.frames])
        spans = self._settings.windows.plan_frames(len(clip.frames))
        networks = self._networks
        return layout_tokens(networks.layout_encoder, features, spans, networks.device, networks.dtype)
