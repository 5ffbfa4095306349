"""The node that guides with a scale for each condition."""

from typing import Any

from comfy_api.latest import io

from ..canvas_core.errors import ConditioningError
from . import sockets
from .adapters.follow_your_canvas.guider import TextLayoutGuider
from .adapters.m3ddm.guider import ContextGlobalGuider


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
