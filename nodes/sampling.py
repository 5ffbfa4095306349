"""Nodes that sample."""

from typing import Any

import comfy.samplers
from comfy_api.latest import io

from ..canvas_core.plan.canvas import Canvas
from ..canvas_core.plan.rounds import START_FROM
from ..canvas_core.plan.windows import WindowSettings
from . import sockets
from .adapters.follow_your_canvas.rounds import RoundInputs, build_rounds
from .adapters.sampling import sample_tiled
from .compositing import feather_input
from .conditioning import FROM_FILE, rre_input


def _sampler_inputs() -> list[Any]:
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
                *_sampler_inputs(),
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


def _rounds_sources() -> list[Any]:
    return [
        io.Model.Input("model", raw_link=True, tooltip="From Canvas Load Model."),
        io.Vae.Input("vae", raw_link=True, tooltip="A Stable Diffusion 1 or 2 VAE."),
        io.Conditioning.Input(
            "positive",
            raw_link=True,
            tooltip="The prompt, from a text encoder node; the layout is added in here.",
        ),
        io.Conditioning.Input("negative", raw_link=True, tooltip="The negative prompt."),
        sockets.LayoutEncoder.Input("encoder", raw_link=True, tooltip="From Canvas Load Layout Encoder."),
        io.Image.Input("images", raw_link=True, tooltip="Frames of the source."),
        sockets.Canvas.Input("canvas", tooltip="The final canvas."),
        sockets.Windows.Input("windows", tooltip="From Canvas Windows."),
    ]


def _rounds_options() -> list[Any]:
    return [
        io.Int.Input(
            "fps",
            default=8,
            min=2,
            max=16,
            tooltip="Frame stride the model was trained with, not the clip's rate.",
            advanced=True,
        ),
        rre_input(),
        feather_input(),
        io.Combo.Input(
            "start_from",
            options=list(START_FROM),
            default=START_FROM[0],
            tooltip="source puts the true pixels back before each round; previous is the published way.",
            advanced=True,
        ),
    ]


class CanvasOutpaintRounds(io.ComfyNode):
    """Grows the canvas round by round with Follow-Your-Canvas."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CanvasOutpaintRounds",
            display_name="Canvas Outpaint Rounds",
            category=sockets.CATEGORY,
            description="Outpaints up to any size with Follow-Your-Canvas, growing the canvas in as many rounds as its windows need.",
            search_aliases=["outpaint video", "follow your canvas", "uncrop video", "2k outpainting", "expand video"],
            inputs=_rounds_sources() + _sampler_inputs() + _rounds_options(),
            outputs=[io.Image.Output(display_name="images")],
            enable_expand=True,
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        vae: Any,
        positive: Any,
        negative: Any,
        encoder: Any,
        images: Any,
        canvas: Canvas,
        windows: WindowSettings,
        seed: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        fps: int = 8,
        rre: str = FROM_FILE,
        feather: int = 8,
        start_from: str = START_FROM[0],
    ) -> io.NodeOutput:
        sampler = {"steps": steps, "cfg": cfg, "sampler_name": sampler_name, "scheduler": scheduler}
        layout = {"fps": fps, "rre": rre}
        inputs = RoundInputs(
            model, vae, positive, negative, encoder, images, seed, sampler, layout, feather, start_from
        )
        result, graph = build_rounds(inputs, canvas, windows)
        return io.NodeOutput(result, expand=graph)
