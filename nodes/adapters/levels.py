"""Long clips sampled by levels of key frames, with core's samplers and any GUIDER, for models whose frames are the batch."""

import copy
from collections.abc import Callable
from typing import Any

import comfy.model_management
import comfy.sample
import comfy.utils
import latent_preview
import torch

from ...canvas_core.errors import SamplingError
from ...canvas_core.plan.keyframes import ClipPlan, KeyframePlan
from ...canvas_core.sampling.noise import share_noise
from .clip_conds import Cut, cut_conds, known_frames, rows, tell_guides

RATIOS = ("downscale_ratio_spacial", "downscale_ratio_temporal")
"""What core's empty latents say of their size until they are fitted to a model."""

Latent = dict[str, Any]


def sample_levels(
    noise: Any, guider: Any, sampler: Any, sigmas: torch.Tensor, latent: Latent, plan: KeyframePlan
) -> tuple[Latent, Latent]:
    """The sampled LATENT and the last clean prediction, as core's SamplerCustomAdvanced gives them.

    Each clip of the plan is a run of the GUIDER; frames finished by earlier clips guide it and stay as they are. With one
    clip of all frames the result is the plain sampler's. Raises SamplingError when latent and plan do not fit, or when
    values are not finite.
    """
    ratios = {name: latent[name] for name in RATIOS if name in latent}
    samples = comfy.sample.fix_empty_latent_channels(guider.model_patcher, latent["samples"], **ratios)
    _check_start(samples, plan)
    device = comfy.model_management.intermediate_device()
    out = {key: value for key, value in latent.items() if key not in RATIOS} | {"samples": samples}
    if sigmas.shape[-1] == 0:
        return out | {"samples": samples.to(device)}, out | {"samples": samples.to(device)}
    run = LevelRun(guider, sampler, sigmas, samples.to(device, torch.float32), out.get("noise_mask"), plan)
    run.sample(noise.generate_noise(latent | {"samples": samples}), noise.seed)
    return out | {"samples": run.finished}, out | {"samples": run.denoised}


def _check_start(samples: torch.Tensor, plan: KeyframePlan) -> None:
    if samples.is_nested or samples.ndim != 4:
        shape = "several packed streams" if samples.is_nested else f"of shape {tuple(samples.shape)}"
        raise SamplingError(
            f"the latent is {shape}, but levels need one latent for each frame, [frames, channels, height, width]; models that compress time, such as "
            "Wan, are not supported yet, so use Canvas Time Windows for them"
        )
    if len(samples) != plan.length:
        raise SamplingError(
            f"the plan is for {plan.length} frames, but the latent has {len(samples)}; set 'frames' of Canvas Keyframe Plan to {len(samples)}"
        )
    if not torch.isfinite(samples).all():
        raise SamplingError(
            "the start latent holds values that are not finite (NaN or infinity); check the VAE it came from, or its precision"
        )


def share_once(guider: Any, noise: torch.Tensor) -> tuple[Any, torch.Tensor]:
    """Noise [F, ...] with the part that its model wants common to all frames, and a GUIDER whose model adds none.

    Left to the model it would be common to the frames of one clip, so that a frame had other noise in each clip.
    """
    sampling = guider.model_patcher.get_model_object("model_sampling")
    share = getattr(sampling, "noise_share", 0)
    if not share:
        return guider, noise
    apart, patched = copy.copy(sampling), copy.copy(guider)
    apart.noise_share = 0.0
    patched.model_patcher = guider.model_patcher.clone()
    patched.model_patcher.add_object_patch("model_sampling", apart)
    shared = share_noise(noise.to(guider.model_patcher.load_device, torch.float32), share)  # where core would do it
    return patched, shared.to(noise.device)


class LevelRun:
    """One video on its way through the clips of its plan."""

    def __init__(
        self,
        guider: Any,
        sampler: Any,
        sigmas: torch.Tensor,
        latents: torch.Tensor,
        noise_mask: torch.Tensor | None,
        plan: KeyframePlan,
    ):
        self.guider, self.sampler, self.sigmas, self.noise_mask = guider, sampler, sigmas, noise_mask
        self.finished = latents.clone()
        """Latents [F, C, H, W]: the result of each frame that is finished, the start of the others"""
        self.clips = []
        """The clips that something is hidden in; frames without are finished from the start"""
        known = known_frames(guider.original_conds, latents)
        for clip in plan.clips:
            written = [clip.frames[slot] for slot in clip.writes]
            if all(frame in known for frame in written):
                for frame in written:
                    self.finished[frame] = known[frame].to(self.finished)
            else:
                self.clips.append(clip)
        self.denoised = self.finished.clone()
        """The last clean prediction of each frame"""

    def sample(self, noise: torch.Tensor, seed: int) -> None:
        """Sample all clips from noise [F, C, H, W] of the whole video."""
        guider, noise = share_once(self.guider, noise)
        seen: dict[str, torch.Tensor] = {}
        steps = self.sigmas.shape[-1] - 1
        show = latent_preview.prepare_callback(guider.model_patcher, steps * len(self.clips), seen)
        for index, clip in enumerate(self.clips):
            comfy.model_management.throw_exception_if_processing_interrupted()
            callback = _from_step(show, index * steps, steps, steps * len(self.clips))
            # Samplers that add noise draw it from the seed, so that clips of one seed would all get the same.
            result = self._sample_clip(guider, clip, rows(noise, clip.frames), callback, (seed + index) % 2**64)
            self._check_result(result, index)
            self._keep(guider, clip, result, seen.pop("x0", None))

    def _sample_clip(
        self, guider: Any, clip: ClipPlan, noise: torch.Tensor, callback: Callable[..., None], seed: int
    ) -> torch.Tensor:
        latents = rows(self.finished, clip.frames)
        conds = cut_conds(guider.original_conds, Cut(clip, latents, len(self.finished)))
        part = copy.copy(guider)
        part.original_conds = tell_guides(conds, clip, latents)
        return part.sample(
            noise,
            latents,
            self.sampler,
            self.sigmas,
            denoise_mask=self._mask(clip),
            callback=callback,
            disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
            seed=seed,
        )

    def _mask(self, clip: ClipPlan) -> torch.Tensor | None:
        """The latent's own mask [n, 1, h, w] for a clip, 0 where a guide is held; None where core would have none."""
        if self.noise_mask is None:
            if not clip.guides:
                return None
            mask = torch.ones(len(clip.frames), 1, *self.finished.shape[-2:])
        else:
            mask = rows(self.noise_mask.reshape(-1, 1, *self.noise_mask.shape[-2:]), clip.frames)
        mask[list(clip.guides)] = 0
        return mask

    def _check_result(self, result: torch.Tensor, index: int) -> None:
        if not torch.isfinite(result).all():
            clip = self.clips[index]
            raise SamplingError(
                f"clip {index + 1} of {len(self.clips)}, frames {clip.frames[0]}-{clip.frames[-1]} of the level with stride {clip.stride}, holds values "
                "that are not finite (NaN or infinity); check the checkpoint, or load it in a wider precision"
            )

    def _keep(self, guider: Any, clip: ClipPlan, result: torch.Tensor, x0: torch.Tensor | None) -> None:
        """Finish the frames that the clip makes. x0: the last clean prediction in the model's own scale."""
        clean = result if x0 is None else guider.model_patcher.model.process_latent_out(x0.cpu())
        for slot in clip.writes:
            self.finished[clip.frames[slot]] = result[slot].to(self.finished)
            self.denoised[clip.frames[slot]] = clean[slot].to(self.denoised)


def _from_step(show: Callable[..., None], first: int, steps: int, total: int) -> Callable[..., None]:
    """Core's callback for a run of `steps` steps whose bar begins at step `first` of `total` and never leaves its part."""

    def callback(step: int, x0: torch.Tensor, x: torch.Tensor, _: int) -> None:
        show(first + min(step, steps - 1), x0, x, total)

    return callback
