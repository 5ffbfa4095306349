"""Core's KSampler over windows."""

from typing import Any

import torch

import nodes as core_nodes

from ...canvas_core.errors import SamplingError
from ...canvas_core.plan.windows import WindowSettings
from .time_windows import apply_time_windows
from .windows import apply_windows, no_canvas, windows_at_once


def sample_tiled(
    model: Any,
    positive: Any,
    negative: Any,
    latent: dict[str, Any],
    windows: WindowSettings,
    seed: int,
    steps: int,
    cfg: float,
    sampler_name: str,
    scheduler: str,
    denoise: float,
) -> dict[str, Any]:
    """A LATENT sampled with windows in space and time. Raises SamplingError when the start latent is packed or not finite."""
    samples = latent["samples"]
    if samples.is_nested:
        raise no_canvas(f"{len(samples.unbind())} packed streams")
    _check_finite(samples, "the start latent", "check the VAE it came from, or its precision")
    patched = apply_time_windows(apply_windows(model, windows, windows_at_once(model)), windows)
    result = core_nodes.common_ksampler(
        patched, seed, steps, cfg, sampler_name, scheduler, positive, negative, latent, denoise=denoise
    )[0]
    _check_finite(result["samples"], "the sampled latent", "check the checkpoint, or load it in a wider precision")
    return result


def _check_finite(samples: torch.Tensor, what: str, fix: str) -> None:
    if not torch.isfinite(samples).all():
        raise SamplingError(f"{what} holds values that are not finite (NaN or infinity); {fix}")
