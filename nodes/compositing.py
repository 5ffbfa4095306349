"""Nodes that put the source back."""

from typing import Any

from comfy_api.latest import io

from ..canvas_core.errors import GeometryError
from ..canvas_core.pixels.finishing import Finishing
from ..canvas_core.pixels.placing import generation_mask, place_source, trim_frames
from ..canvas_core.plan.canvas import Canvas
from ..canvas_core.systems.catalogue import PASTES
from . import sockets
from .inputs import feather_input


def finishing_inputs() -> list[Any]:
    """What is done to the generated area before the source is put back."""
    return [
        io.Image.Input(
            "filled",
            optional=True,
            tooltip="The images of Canvas Fill: pixels borrowed from other frames are put back too.",
        ),
        io.Mask.Input("mask", optional=True, tooltip="The mask of Canvas Fill, which goes with `filled`."),
        io.Int.Input(
            "match",
            default=0,
            min=0,
            max=512,
            optional=True,
            tooltip="Pixels over which the result is drawn to the known colours at their border, so that no seam shows. 0 turns it off.",
        ),
        io.Float.Input(
            "texture",
            default=0.0,
            min=0.0,
            max=1.0,
            step=0.05,
            optional=True,
            tooltip="Share of the source's fine detail that is laid over the generated area where the picture is alike. For smooth results; 0 turns it off.",
        ),
        io.Boolean.Input(
            "refine",
            default=False,
            optional=True,
            tooltip="Take only what the built-in model adds to its own smooth fill, and lay it over `filled`. Not for other models.",
        ),
    ]


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
                    default="feather",
                    tooltip="feather keeps source pixels exactly; official is Follow-Your-Canvas's paste, which does not.",
                    advanced=True,
                ),
                *finishing_inputs(),
            ],
            outputs=[io.Image.Output(display_name="images")],
        )

    @classmethod
    def execute(
        cls,
        result: Any,
        source: Any,
        canvas: Canvas,
        feather: int = 8,
        how: str = "feather",
        filled: Any = None,
        mask: Any = None,
        match: int = 0,
        texture: float = 0.0,
        refine: bool = False,
    ) -> io.NodeOutput:
        result, source = result[..., :3], source[..., :3].to(result)
        if (filled is None) != (mask is None):
            raise GeometryError(
                "only one of 'filled' and 'mask' is connected, but borrowed pixels need both; connect both outputs of Canvas Fill, or none"
            )
        if filled is None and refine:
            raise GeometryError(
                "there is nothing to refine; connect both outputs of Canvas Fill to 'filled' and 'mask', or turn 'refine' off"
            )
        if filled is not None:
            filled, mask = filled[..., :3].to(result), mask.to(result)
        if match or texture or filled is not None:
            finishing = Finishing(match, texture, borrow=filled is not None, feather=feather)
            result = finishing.apply(result, *_known(source, canvas, filled, mask), filled if refine else None)
        return io.NodeOutput(trim_frames(PASTES[how](result, source, canvas, feather), canvas))


def _known(source: Any, canvas: Canvas, filled: Any, mask: Any) -> tuple[Any, Any]:
    """Frames of the whole canvas and the mask of what is hidden in them: those of Canvas Fill, or the placed source."""
    if filled is not None:
        return filled, mask
    hidden = generation_mask(canvas.size, canvas.source).expand(len(source), -1, -1)
    return place_source(source, canvas.size, canvas.source), hidden
