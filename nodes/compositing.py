"""Nodes that put the source back."""

from typing import Any

from comfy_api.latest import io

from ..canvas_core.canvas import Canvas, trim_frames
from ..canvas_core.compositing import PASTES, paste_as_published, paste_source
from . import sockets


def feather_input() -> Any:
    """The width of the blend, wherever a node puts the source back."""
    return io.Int.Input(
        "feather",
        default=8,
        min=0,
        max=512,
        tooltip="Pixels over which the source's border blends into the result. Further inside, the source is untouched.",
    )


class CanvasComposite(io.ComfyNode):
    """Pastes the true source over the result and trims to the asked size."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CanvasComposite",
            display_name="Canvas Composite",
            category=sockets.CATEGORY,
            description="Puts the source back on the decoded canvas, pixel for pixel, and trims to the size that was asked for.",
            search_aliases=["paste back", "stitch", "original pixels", "feather", "seam"],
            inputs=[
                io.Image.Input("result", tooltip="The decoded canvas."),
                io.Image.Input("source", tooltip="The frames that went into Canvas Expand."),
                sockets.Canvas.Input("canvas", tooltip="From Canvas Expand."),
                feather_input(),
                io.Combo.Input(
                    "how",
                    options=list(PASTES),
                    default=PASTES[0],
                    tooltip="feather keeps source pixels exactly; official is Follow-Your-Canvas's paste, which does not.",
                    advanced=True,
                ),
            ],
            outputs=[io.Image.Output(display_name="images")],
        )

    @classmethod
    def execute(cls, result: Any, source: Any, canvas: Canvas, feather: int = 8, how: str = PASTES[0]) -> io.NodeOutput:
        result, source = result[..., :3], source[..., :3].to(result)
        if how == "official":
            return io.NodeOutput(trim_frames(paste_as_published(result, source, canvas), canvas))
        return io.NodeOutput(trim_frames(paste_source(result, source, canvas, feather), canvas))
