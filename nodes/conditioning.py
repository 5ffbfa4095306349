"""Nodes that tell the model about the source."""

from typing import Any

import torch
from comfy_api.latest import io
from node_helpers import conditioning_set_values

from ..canvas_core.errors import ConditioningError
from ..canvas_core.plan.boxes import Size
from ..canvas_core.plan.canvas import Canvas, require_cells
from ..canvas_core.plan.keyframes import KeyframePlan
from ..canvas_core.plan.windows import WindowSettings
from ..canvas_core.systems.follow_your_canvas.relative_region import CONVENTIONS
from . import sockets
from .adapters.clip_conds import span_of
from .adapters.follow_your_canvas.conds import Layout
from .adapters.follow_your_canvas.guider import TextLayoutGuider
from .adapters.follow_your_canvas.layout import LayoutReader
from .adapters.m3ddm.guider import ContextGlobalGuider

FROM_FILE = "from file"
RRE = [FROM_FILE, *CONVENTIONS]


def rre_input() -> Any:
    """The convention of the relative region, wherever a node encodes the layout."""
    return io.Combo.Input(
        "rre",
        options=RRE,
        default=FROM_FILE,
        tooltip="How the place of a window is told to the model.",
        advanced=True,
    )


class CanvasEncodeLayout(io.ComfyNode):
    """Adds layout tokens and relative position to a conditioning."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CanvasEncodeLayout",
            display_name="Canvas Encode Layout",
            category=sockets.CATEGORY,
            description="Reads the layout of the source and adds it to the prompt, once for every time window.",
            search_aliases=["layout tokens", "relative region embedding", "follow your canvas conditioning"],
            inputs=[
                io.Conditioning.Input("positive", tooltip="The prompt."),
                io.Conditioning.Input("negative", tooltip="The negative prompt."),
                io.Image.Input("images", tooltip="Frames of the source, not the placed ones."),
                sockets.Canvas.Input("canvas", tooltip="Where the source lies."),
                sockets.Windows.Input(
                    "windows", tooltip="The windows the sampler uses; its time windows get tokens of their own."
                ),
                sockets.LayoutEncoder.Input("encoder", tooltip="From Canvas Load Layout Encoder."),
                io.Int.Input(
                    "fps",
                    default=8,
                    min=2,
                    max=16,
                    tooltip="Frame stride the model was trained with, not the clip's rate. Higher means faster motion.",
                    advanced=True,
                ),
                rre_input(),
                sockets.Levels.Input(
                    "levels",
                    optional=True,
                    tooltip="From Canvas Keyframe Plan, for Canvas Hierarchical Sampler: its clips get tokens of their own, in place of the time windows.",
                ),
            ],
            outputs=[io.Conditioning.Output(display_name="positive"), io.Conditioning.Output(display_name="negative")],
        )

    @classmethod
    def execute(
        cls,
        positive: Any,
        negative: Any,
        images: Any,
        canvas: Canvas,
        windows: WindowSettings,
        encoder: LayoutReader,
        fps: int = 8,
        rre: str = FROM_FILE,
        levels: KeyframePlan | None = None,
    ) -> io.NodeOutput:
        require_cells(canvas)
        size = Size(*images.shape[1:3])
        if size != canvas.source.size:
            raise ConditioningError(
                f"the images are {size}, but the canvas was made for a source of {canvas.source.size}; connect the frames that went into Canvas Expand, not the placed ones"
            )
        real, null = encoder.read(images, _spans(len(images), windows, levels))
        layout = Layout(real, null, canvas.source, encoder.rre if rre == FROM_FILE else rre, fps)
        return io.NodeOutput(*(conditioning_set_values(cond, {"canvas": layout}) for cond in (positive, negative)))


def _spans(frames: int, windows: WindowSettings, levels: KeyframePlan | None) -> list[Any]:
    """Frames that are sampled together: the time windows, or each distinct clip of a plan. Raises ConditioningError."""
    if levels is None:
        return windows.plan_frames(frames)
    if levels.length != frames:
        raise ConditioningError(
            f"the plan is for {levels.length} frames, but there are {frames} images; set 'frames' of Canvas Keyframe Plan to {frames}, or connect the whole clip"
        )
    return list(dict.fromkeys(span_of(clip.frames) for clip in levels.clips))


class CanvasEmptyPrompt(io.ComfyNode):
    """Stands in for a text encoder with a model that reads no prompt."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CanvasEmptyPrompt",
            display_name="Canvas Empty Prompt",
            category=sockets.CATEGORY,
            description="The prompt of a canvas model that reads none, such as the built-in one. Takes the place of both prompts.",
            search_aliases=["no prompt", "prompt free", "null conditioning"],
            inputs=[sockets.LayoutEncoder.Input("encoder", tooltip="From Canvas Load Layout Encoder.")],
            outputs=[io.Conditioning.Output(display_name="conditioning")],
        )

    @classmethod
    def execute(cls, encoder: LayoutReader) -> io.NodeOutput:
        if encoder.reads_text:
            raise ConditioningError(
                "this canvas model reads prompts; connect CLIP Text Encode with the text encoder it was trained with"
            )
        return io.NodeOutput([[torch.zeros(1, 1, encoder.text_width), {}]])


def _scale(name: str, default: float, tooltip: str) -> Any:
    return io.Float.Input(name, default=default, min=0.0, max=100.0, step=0.1, tooltip=tooltip)


FORMULAS = [
    io.DynamicCombo.Option(
        "text + layout",
        [
            _scale("text_scale", 8.0, "Weight of the prompt."),
            _scale("layout_scale", 1.5, "Weight of the layout. 0 leaves it out and saves a third of the time."),
        ],
    ),
    io.DynamicCombo.Option(
        "context + global",
        [
            _scale("context_scale", 2.0, "Weight of the known pixels."),
            _scale("global_scale", 4.0, "Weight of the global frames, on top of the known pixels."),
        ],
    ),
]


class CanvasGuider(io.ComfyNode):
    """Guidance with a scale for each condition."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CanvasGuider",
            display_name="Canvas Guider",
            category=sockets.CATEGORY,
            description="Guides text and layout, or known pixels and global frames, with a scale each, for SamplerCustomAdvanced.",
            search_aliases=["dual cfg", "layout guidance", "classifier-free guidance"],
            inputs=[
                io.Model.Input("model", tooltip="The canvas model, with windows if the canvas is large."),
                io.Conditioning.Input(
                    "positive",
                    tooltip="From InpaintModelConditioning after Canvas Encode Layout, or from Canvas Global Frames.",
                ),
                io.Conditioning.Input("negative", tooltip="The same for the negative prompt."),
                io.DynamicCombo.Input("formula", options=FORMULAS, tooltip="Which conditions get a scale."),
            ],
            outputs=[io.Guider.Output(display_name="guider")],
        )

    @classmethod
    def execute(cls, model: Any, positive: Any, negative: Any, formula: Any = None) -> io.NodeOutput:
        match formula:
            case {"formula": "text + layout", "text_scale": text, "layout_scale": layout}:
                return io.NodeOutput(TextLayoutGuider(model, positive, negative, text, layout))
            case {"formula": "context + global", "context_scale": context, "global_scale": around}:
                return io.NodeOutput(ContextGlobalGuider(model, positive, negative, context, around))
        raise ConditioningError(
            f"the formula is {formula!r}, but must be 'text + layout' with 'formula.text_scale' and 'formula.layout_scale', or 'context + global' "
            "with 'formula.context_scale' and 'formula.global_scale'"
        )
