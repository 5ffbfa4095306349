"""Sampling a clip of any length with a canvas model: clip after clip of a plan, finished frames known to later ones."""

from collections.abc import Mapping

import torch

from .known_video import KnownVideo, Tokens
from .pipeline import Networks, Settings, sample_clip
from .plan.boxes import Box
from .plan.keyframes import ClipPlan, KeyframePlan
from .progress import Watch, unwatched
from .sampling.noise import share_noise
from .systems.follow_your_canvas.conditions import ClipConditions
from .systems.follow_your_canvas.settings import clip_stride


def sample_levels(
    networks: Networks,
    settings: Settings,
    known: KnownVideo,
    plan: KeyframePlan,
    anchor: Box,
    text: dict[str, torch.Tensor],
    noise: torch.Tensor,
    watch: Watch = unwatched,
) -> torch.Tensor:
    """Latents [N, C, h, w] of the whole clip from its noise [N, C, h, w], clip after clip of the plan.

    Frames that an earlier clip has finished are known to later ones. The noise is shared and drawn for the whole clip, so a frame's does
    not depend on the level. Raises SamplingError when a clip is not finite.
    """
    noise = share_noise(noise, networks.unet.config.noise_share)
    latents = torch.zeros_like(noise)
    for clip, tokens in zip(plan.clips, known.tokens, strict=True):
        frames = list(clip.frames)
        held = {slot: latents[frames[slot]] for slot in clip.guides}
        told = _describe(settings, known, clip, tokens, anchor, text, held)
        filled = None if known.filled is None else known.filled[frames]
        result = sample_clip(
            networks, settings, told, noise[frames], filled, lambda *_, c=clip: watch(f"stride {c.stride}", 1), held
        )
        for slot in clip.writes:
            latents[frames[slot]] = result[slot]
    return latents


def _describe(
    settings: Settings,
    known: KnownVideo,
    clip: ClipPlan,
    tokens: Tokens,
    anchor: Box,
    text: dict[str, torch.Tensor],
    held: Mapping[int, torch.Tensor],
) -> ClipConditions:
    frames = list(clip.frames)
    mask, masked = known.mask[frames].clone(), known.masked_latents[frames].clone()
    for slot, latent in held.items():
        mask[slot], masked[slot] = 0, latent
    fps = clip_stride(settings.fps, clip.stride)
    return ClipConditions(mask, masked, text, tokens, anchor, settings.rre, fps)
