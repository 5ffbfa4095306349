"""Time windows for any model, by core's own handler with Gaussian weights."""

from typing import Any

from comfy.context_windows import (
    ContextFuseMethod,
    IndexListContextHandler,
    create_prepare_sampling_wrapper,
    get_matching_context_schedule,
)
from comfy.patcher_extension import WrappersMP

from ...canvas_core.errors import SamplingError
from ...canvas_core.plan.windows import WindowSettings, frame_weights

CORE_KEY = "ContextWindows_prepare_sampling"


def _gaussian(length: int, **kwargs: Any) -> list[float]:
    return frame_weights(length).tolist()


def apply_time_windows(model: Any, settings: WindowSettings) -> Any:
    """A clone of the MODEL that evaluates long clips in overlapping time windows.

    Frames are the batch for image models and the third axis for video models, whose time is compressed.
    """
    patched = model.clone()
    latent = model.model.latent_format
    video = latent.latent_dimensions == 3
    if video and not hasattr(latent, "temporal_downscale_ratio"):
        raise SamplingError(
            "this version of ComfyUI does not say how its video models compress time, so time windows cannot be measured; update ComfyUI"
        )
    ratio = latent.temporal_downscale_ratio if video else 1
    handler = IndexListContextHandler(
        get_matching_context_schedule("standard_static"),
        ContextFuseMethod("gaussian", _gaussian),
        context_length=(settings.frames - 1) // ratio + 1,
        context_overlap=settings.frame_overlap // ratio,
        dim=2 if video else 0,
    )
    if not video:  # the extra frame would fall outside the windows the layout was encoded for
        handler.causal_window_fix = False
    patched.model_options["context_handler"] = handler
    patched.remove_wrappers_with_key(WrappersMP.PREPARE_SAMPLING, CORE_KEY)
    create_prepare_sampling_wrapper(patched)
    return patched
