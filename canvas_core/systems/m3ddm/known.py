"""What M3DDM is told of a whole video: read once and encoded. Latents are held, pixels are not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ...networks.autoencoder import encode
from ...pixels.placed import PlacedVideo, read_together, stack_placed
from ...pixels.placing import cell_mask
from ...plan.boxes import CELL
from ...plan.keyframes import ClipPlan
from ...progress import Watch, count_up
from ...sampling.denoise import Start
from ...sampling.tiling import Clip
from ..system import Place
from .conditions import M3DDMClip, Scales, tell
from .global_frames import global_frames, stretch
from .layers import GlobalKeys
from .network import M3DDMUNet
from .pixels import known_pixels, start_pixels
from .plan import clip_rate

AT_ONCE = 16
"""Frames whose pixels are held."""


@dataclass(frozen=True)
class Networks:
    """The parts of the system, ready to run."""

    unet: M3DDMUNet
    vae: Any
    place: Place = Place()

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        """Scaled latents [F, 4, h, w] of frames [F, H, W, 3] 0..1: the posterior's mean, where the published code draws without a seed."""
        mean = torch.zeros(len(frames), self.unet.config.out_channels, *(side // CELL for side in frames.shape[1:3]))
        return encode(self.vae, frames, mean, self.place.device)


@dataclass(frozen=True)
class KnownVideo:
    """What is known of a video, scaled latents on the CPU."""

    networks: Networks
    scales: Scales
    start: torch.Tensor
    """[N, 4, h, w], of the Telea fill"""
    context: torch.Tensor
    """[N, 4, h, w], of the source on black"""
    mask: torch.Tensor
    """[N, 1, h, w], 1 = generate"""
    black: torch.Tensor
    """[1, 4, h, w]"""
    keys: list[GlobalKeys]
    """Of the global frames"""
    null_keys: list[GlobalKeys]
    """Of zeros in their place"""
    rate: float
    """Frames a second"""
    official_rate: bool = False
    """Whether the frame rate of a level is cut as published, to 0 for strides above the rate"""

    def clip(self, clip: ClipPlan, finished: Mapping[int, torch.Tensor], before: Clip | None = None) -> M3DDMClip:
        """Guides are known in every branch."""
        frames, place = list(clip.frames), self.networks.place
        guides = {slot: finished.get(frames[slot], self.context[frames[slot]]) for slot in clip.guides}
        context, mask = self.context[frames], self.mask[frames]
        return M3DDMClip(
            self.networks.unet,
            Start(self.start[frames], 1.0),
            tell(self.black.expand_as(context), torch.ones_like(mask), guides).to(*place),
            tell(context, mask, guides).to(*place),
            self.keys,
            self.null_keys,
            clip_rate(self.rate, clip.stride, self.official_rate),
            self.scales,
            place,
        )


@torch.inference_mode()
def read_known(networks: Networks, scales: Scales, video: PlacedVideo, length: int, watch: Watch) -> KnownVideo:
    """Read and encode a video of `length` frames. Raises SamplingError when it has fewer or more."""
    starts, contexts, masks, seen = [], [], [], {}
    wanted = global_frames(length)
    advance = count_up(watch, "read", length)
    for first, source, placed in read_together(video, length, AT_ONCE):
        frames, hidden = stack_placed(placed)
        starts.append(networks.encode(start_pixels(frames, hidden)))
        contexts.append(networks.encode(known_pixels(frames, hidden)))
        masks.append(cell_mask(hidden)[:, None])
        for index, frame in enumerate(source, first):
            if index in wanted:
                seen[index] = networks.encode(stretch(frame))
        advance(len(placed))
    unet, pictures = networks.unet, torch.cat([seen[index] for index in wanted])[None].to(*networks.place)
    return KnownVideo(
        networks,
        scales,
        torch.cat(starts),
        torch.cat(contexts),
        torch.cat(masks),
        networks.encode(torch.zeros_like(frames[:1])),
        unet.encode_global(pictures),
        unet.encode_global(torch.zeros_like(pictures)),
        video.rate,
    )
