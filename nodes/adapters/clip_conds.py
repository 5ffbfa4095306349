"""What a GUIDER's conditions say of the frames of one clip, for models whose frames are the batch. Inputs stay as they are."""

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import uuid5

import torch
from comfy.conds import CONDRegular
from comfy.utils import common_upscale, resize_to_batch_size

from ...canvas_core.plan.keyframes import ClipPlan
from .base import ClipValue

Conds = dict[str, list[dict[str, Any]]]
"""`original_conds` of a GUIDER: name to its conditions."""

LATENT, MASK = "concat_latent_image", "concat_mask"
"""What InpaintModelConditioning stores: known latents [F, C, H, W] as the VAE makes them, and the mask [F, (1,) H, W]."""

Span = range | tuple[int, ...]
"""Frames that are sampled together"""


def span_of(frames: Sequence[int]) -> Span:
    """Frames as a range where their distance is the same everywhere, so that equal spans are equal keys."""
    frames = tuple(frames)
    step = frames[1] - frames[0] if len(frames) > 1 else 1
    even = range(frames[0], frames[-1] + 1, step) if step > 0 else range(0)
    return even if tuple(even) == frames else frames


def rows(tensor: torch.Tensor, frames: tuple[int, ...]) -> torch.Tensor:
    """A copy of the rows of these frames; fewer rows than the clip has frames repeat, as core repeats them."""
    return tensor[[frame % len(tensor) for frame in frames]]


class Cut(NamedTuple):
    """One clip of a video."""

    clip: ClipPlan
    latents: torch.Tensor
    """[n, C, H, W] where the clip starts; those of its guides are finished"""
    length: int
    """Frames of the video"""


def cut_conds(conds: Conds, cut: Cut) -> Conds:
    """The conditions of one clip.

    Values of the canvas say themselves what they are for it. Tensors whose first size is the number of the video's frames are
    taken to have one row for each. ControlNets get the hints of the clip's frames.
    """
    controls: dict[int, Any] = {}
    return {name: [_cut(cond, cut, controls) for cond in group] for name, group in conds.items()}


def _cut(cond: dict[str, Any], cut: Cut, controls: dict[int, Any]) -> dict[str, Any]:
    frames = cut.clip.frames
    told = {key: _fit(cond[key], cut.length)[list(frames)] for key in (LATENT, MASK) if _is_told(cond)}
    part = {key: _cut_value(value, cut) for key, value in cond.items() if key not in told} | told
    if "model_conds" in cond:
        part["model_conds"] = {key: _cut_value(value, cut) for key, value in cond["model_conds"].items()}
    if cond.get("control") is not None:
        part["control"] = _cut_control(cond["control"], frames, controls)
    if "uuid" in cond:  # caches of other packs tell conditions apart by it
        part["uuid"] = uuid5(cond["uuid"], f"frames {frames}")
    return part


def _cut_value(value: Any, cut: Cut) -> Any:
    if isinstance(value, ClipValue):
        return value.of_clip(cut.clip, cut.latents)
    if isinstance(value, torch.Tensor):
        return rows(value, cut.clip.frames) if value.ndim and len(value) == cut.length > 1 else value
    if isinstance(value, CONDRegular):
        return value._copy_with(_cut_content(value.cond, cut))
    return value


def _cut_content(content: Any, cut: Cut) -> Any:
    if isinstance(content, list):
        return [_cut_value(item, cut) for item in content]
    return _cut_value(content, cut)


def _cut_control(control: Any, frames: tuple[int, ...], done: dict[int, Any]) -> Any:
    """The ControlNet with the hints of these frames; the same object for all conditions, so that they batch."""
    if id(control) not in done:
        part = done[id(control)] = copy.copy(control)
        part.cond_hint = None
        part.cond_hint_original = _cut_hint(control.cond_hint_original, frames)
        part.extra_concat_orig = [_cut_hint(hint, frames) for hint in control.extra_concat_orig]
        if control.previous_controlnet is not None:
            part.previous_controlnet = _cut_control(control.previous_controlnet, frames, done)
        clones = getattr(control, "multigpu_clones", {})
        part.multigpu_clones = {device: _cut_control(clone, frames, done) for device, clone in clones.items()}
    return done[id(control)]


def _cut_hint(hint: torch.Tensor | None, frames: tuple[int, ...]) -> torch.Tensor | None:
    return hint if hint is None or len(hint) == 1 else rows(hint, frames)


def _is_told(cond: dict[str, Any]) -> bool:
    """Whether an inpainting model is told what is known; without a mask the latent is another picture, which stays."""
    return cond.get(LATENT) is not None and cond.get(MASK) is not None


def _fit(value: torch.Tensor, length: int) -> torch.Tensor:
    """Known latents or a mask with a row for each frame, [F, ...], as core's inpainting models fit them."""
    if value.ndim == 2:
        value = value[None]
    return value.expand(length, *value.shape[1:]) if len(value) == 1 else resize_to_batch_size(value, length)


def tell_guides(conds: Conds, clip: ClipPlan, latents: torch.Tensor) -> Conds:
    """The conditions of a clip in which an inpainting model is told that the guides are known.

    latents [n, C, H, W] are the clip's, of which those of the guides are finished.
    """
    return {name: [_with_guides(cond, clip, latents) for cond in group] for name, group in conds.items()}


def _with_guides(cond: dict[str, Any], clip: ClipPlan, latents: torch.Tensor) -> dict[str, Any]:
    if not clip.guides or not _is_told(cond) or cond[LATENT].shape[1:2] != latents.shape[1:2]:
        return cond  # the model says itself what is wrong with the channels
    guides = list(clip.guides)
    known, mask = _scaled(cond[LATENT], latents).clone(), cond[MASK].clone()
    known[guides], mask[guides] = latents[guides].to(known), 0
    return cond | {LATENT: known, MASK: mask}


def _scaled(known: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    """Known latents at the size of the sampled ones, scaled as core's inpainting models scale them."""
    if known.shape[-2:] == latents.shape[-2:]:
        return known
    return common_upscale(known, latents.shape[-1], latents.shape[-2], "bilinear", "center")


def known_frames(conds: Conds, latents: torch.Tensor) -> dict[int, torch.Tensor]:
    """Frames in which a condition of an inpainting model hides nothing, and their latents [C, H, W]; latents [F, C, H, W].

    One is enough: a null condition may hide everything. Empty where no frame is hidden: then it is for the model to say that there is
    nothing to do.
    """
    told = [cond for group in conds.values() for cond in group if _is_told(cond)]
    if not told or told[0][LATENT].shape[1:2] != latents.shape[1:2]:
        return {}
    length = len(latents)
    known: dict[int, torch.Tensor] = {}
    for cond in told:
        hidden = _fit(cond[MASK], length).flatten(1).any(1).tolist()
        given = _scaled(_fit(cond[LATENT], length), latents)
        known |= {frame: given[frame] for frame in range(length) if not hidden[frame] and frame not in known}
    return known if len(known) < length else {}
