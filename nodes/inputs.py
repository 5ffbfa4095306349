"""Widgets that several node modules share."""

from typing import Any

import comfy.samplers
from comfy_api.latest import io

MODEL_FOLDER = "diffusion_models"
"""Where ComfyUI keeps what a model loader lists."""


def feather_input() -> Any:
    """The width of the blend, wherever a node puts the source back."""
    return io.Int.Input(
        "feather",
        default=8,
        min=0,
        max=512,
        tooltip="Pixels over which the source's border blends into the result. Further inside, the source is untouched.",
    )


def sampler_inputs() -> list[Any]:
    """Seed, steps, weight of the prompt, sampler and spacing, wherever a node samples as core's KSampler does."""
    return [
        io.Int.Input(
            "seed",
            default=0,
            min=0,
            max=0xFFFFFFFFFFFFFFFF,
            control_after_generate=True,
            tooltip="The same seed gives the same result.",
        ),
        io.Int.Input("steps", default=40, min=1, max=1000, tooltip="Denoising steps; 40 is the published number."),
        io.Float.Input(
            "cfg",
            default=8.0,
            min=0.0,
            max=100.0,
            step=0.1,
            tooltip="Weight of the prompt; 8 is published for Follow-Your-Canvas.",
        ),
        io.Combo.Input(
            "sampler_name",
            options=comfy.samplers.KSampler.SAMPLERS,
            default="euler",
            tooltip="euler with ddim_uniform equals the published DDIM.",
        ),
        io.Combo.Input(
            "scheduler",
            options=comfy.samplers.KSampler.SCHEDULERS,
            default="ddim_uniform",
            tooltip="Spacing of the noise levels.",
        ),
    ]
