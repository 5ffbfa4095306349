"""The node that samples in windows."""

from typing import Any

from comfy_api.latest import io

from ..canvas_core.plan.windows import WindowSettings
from . import sockets
from .adapters.sampling import sample_tiled
from .inputs import sampler_inputs


class CanvasTiledSampler(io.ComfyNode):
    """Core's KSampler over windows in space and time."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CanvasTiledSampler",
            display_name="Canvas Tiled Sampler",
            category=sockets.CATEGORY,
            description="KSampler for canvases of any size and clips of any length: Canvas Apply Windows, Canvas Time Windows and core's KSampler in one node.",
            search_aliases=["tiled ksampler", "multidiffusion sampler", "outpaint sampler"],
            inputs=[
                io.Model.Input("model", tooltip="Any image or video model."),
                io.Conditioning.Input("positive", tooltip="What to generate."),
                io.Conditioning.Input("negative", tooltip="What to avoid."),
                io.Latent.Input("latent", tooltip="From InpaintModelConditioning, or any latent."),
                sockets.Windows.Input("windows", tooltip="From Canvas Windows."),
                *sampler_inputs(),
                io.Float.Input(
                    "denoise", default=1.0, min=0.0, max=1.0, step=0.01, tooltip="Below 1 keeps part of the latent."
                ),
            ],
            outputs=[io.Latent.Output(display_name="latent")],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        positive: Any,
        negative: Any,
        latent: Any,
        windows: WindowSettings,
        seed: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        denoise: float = 1.0,
    ) -> io.NodeOutput:
        return io.NodeOutput(
            sample_tiled(model, positive, negative, latent, windows, seed, steps, cfg, sampler_name, scheduler, denoise)
        )
