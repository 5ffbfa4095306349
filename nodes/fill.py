"""Nodes that fill the hidden area without a model."""

from typing import Any

from comfy_api.latest import io

from ..canvas_core.pixels.fill import FILLS, fill_hidden
from ..canvas_core.pixels.propagation import propagate as borrow
from . import sockets
from .adapters.progress import watch_stages


class CanvasFill(io.ComfyNode):
    """Borrows what a moving camera shows in other frames, and fills the rest."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CanvasFill",
            display_name="Canvas Fill",
            category=sockets.CATEGORY,
            description="Fills the area to generate without a model: pixels that other frames show where the camera moves, and a smooth fill for the rest. A good start for a sampler with denoise below 1.",
            search_aliases=["propagate", "prefill", "inpaint telea", "edge extend", "video completion"],
            inputs=[
                io.Image.Input("images", tooltip="The canvas from Canvas Expand."),
                io.Mask.Input("mask", tooltip="The mask from Canvas Expand, 1 = generate."),
                io.Combo.Input(
                    "how",
                    options=list(FILLS),
                    default="cone + detail",
                    tooltip="What fills the rest: cone carries the border outwards and blurs it; detail is mirrored at the border.",
                ),
                io.Boolean.Input(
                    "propagate",
                    default=True,
                    tooltip="Borrow pixels that other frames show. Changes nothing where the camera stands still.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="images", tooltip="The whole canvas, filled."),
                io.Mask.Output(
                    display_name="mask", tooltip="What is still to be generated: borrowed pixels count as known."
                ),
            ],
        )

    @classmethod
    def execute(cls, images: Any, mask: Any, how: str = "cone + detail", propagate: bool = True) -> io.NodeOutput:
        frames, hidden = images[..., :3].cpu(), (mask.cpu().reshape(-1, *mask.shape[-2:]) > 0).to(images.dtype)
        if len(hidden) == 1:
            hidden = hidden.expand(len(frames), -1, -1)
        watch = watch_stages("borrow", "fill") if propagate else watch_stages("fill")
        if propagate:
            frames, hidden = borrow(frames, hidden, watch)
        return io.NodeOutput(fill_hidden(frames, hidden, how, watch), hidden)
