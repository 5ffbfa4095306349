"""The node that guides with a scale for each condition."""

from typing import Any

from comfy_api.latest import io

from ..canvas_core.errors import ConditioningError
from . import sockets
from .adapters.formulas import FORMULAS
from .adapters.guider import Formula


def _option(formula: Formula) -> Any:
    scales = [
        io.Float.Input(name, default=default, min=0.0, max=100.0, step=0.1, tooltip=tooltip)
        for name, default, tooltip in formula.scales
    ]
    return io.DynamicCombo.Option(formula.name, scales)


OPTIONS = [_option(formula) for formula in FORMULAS]


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
                io.DynamicCombo.Input("formula", options=OPTIONS, tooltip="Which conditions get a scale."),
            ],
            outputs=[io.Guider.Output(display_name="guider")],
        )

    @classmethod
    def execute(cls, model: Any, positive: Any, negative: Any, formula: Any = None) -> io.NodeOutput:
        chosen, scales = _read(formula)
        return io.NodeOutput(chosen.make(model, positive, negative, *scales))


def _read(given: Any) -> tuple[Formula, list[float]]:
    """The formula of a choice and the values of its scales. Raises ConditioningError when it is none, or lacks a scale."""
    values = given if isinstance(given, dict) else {}
    for formula in FORMULAS:
        names = [scale.name for scale in formula.scales]
        if values.get("formula") == formula.name and values.keys() >= set(names):
            return formula, [values[name] for name in names]
    raise ConditioningError(f"the formula is {given!r}, but must be {', or '.join(map(str, FORMULAS))}")
