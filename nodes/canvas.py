"""Nodes that make and show a canvas."""

from typing import Any

from comfy_api.latest import io, ui

from ..canvas_core.drawing.rounds import draw_plan
from ..canvas_core.errors import GeometryError
from ..canvas_core.pixels.placing import generation_mask, place_source
from ..canvas_core.plan.boxes import Size
from ..canvas_core.plan.canvas import ANCHORS, ASPECTS, Canvas, Pads, canvas_of_aspect, canvas_of_pads, canvas_of_size
from ..canvas_core.plan.rounds import plan_rounds
from . import sockets


def _pixels(name: str, tooltip: str, default: int = 0, minimum: int = 0) -> Any:
    return io.Int.Input(name, default=default, min=minimum, max=16384, step=2 if minimum else 1, tooltip=tooltip)


HOW = [
    io.DynamicCombo.Option(
        "aspect",
        [
            io.Combo.Input(
                "aspect",
                options=list(ASPECTS),
                default="16:9",
                tooltip="Width to height of the result. The source is never cropped.",
            )
        ],
    ),
    io.DynamicCombo.Option(
        "exact size",
        [
            _pixels("width", "Width of the result in pixels, even.", 1280, 2),
            _pixels("height", "Height of the result in pixels, even.", 720, 2),
        ],
    ),
    io.DynamicCombo.Option(
        "pads",
        [
            _pixels("left", "Pixels to generate left of the source.", 128),
            _pixels("top", "Pixels to generate above the source."),
            _pixels("right", "Pixels to generate right of the source.", 128),
            _pixels("bottom", "Pixels to generate below the source."),
        ],
    ),
]


def _make_canvas(
    how: dict[str, Any] | None, source: Size, anchor: str, offset: tuple[int, int], multiple: int
) -> Canvas:
    match how:
        case {"how": "aspect", "aspect": aspect}:
            return canvas_of_aspect(source, aspect, anchor, offset, multiple)
        case {"how": "exact size", "width": width, "height": height}:
            return canvas_of_size(source, Size(height, width), anchor, offset, multiple)
        case {"how": "pads", "left": left, "top": top, "right": right, "bottom": bottom}:
            return canvas_of_pads(source, Pads(left, top, right, bottom), multiple)
    raise GeometryError(
        f"how is {how!r}, but must be 'aspect', 'exact size' or 'pads' with its values; in an API prompt name them 'how.aspect', 'how.width' and so on"
    )


def _expand_inputs() -> list[Any]:
    return [
        io.Image.Input("images", tooltip="Frames of the source, at their own size."),
        io.DynamicCombo.Input("how", options=HOW, tooltip="How the size of the canvas is given."),
        io.Combo.Input(
            "anchor", options=list(ANCHORS), default="center", tooltip="Where the source sits. Pads ignore it."
        ),
        io.Int.Input(
            "offset_x",
            default=0,
            min=-16384,
            max=16384,
            tooltip="Pixels to move the source right of its anchor. Pads ignore it.",
        ),
        io.Int.Input(
            "offset_y",
            default=0,
            min=-16384,
            max=16384,
            tooltip="Pixels to move the source below its anchor. Pads ignore it.",
        ),
        io.Int.Input(
            "multiple",
            default=8,
            min=2,
            max=256,
            step=2,
            tooltip="The generated size is rounded up to this and trimmed back at the end.",
            advanced=True,
        ),
    ]


class CanvasExpand(io.ComfyNode):
    """Puts a source on a larger canvas."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CanvasExpand",
            display_name="Canvas Expand",
            category=sockets.CATEGORY,
            description="Places a clip on a larger canvas and marks what has to be generated.",
            search_aliases=["outpaint", "uncrop", "pad for outpainting", "extend frame", "aspect ratio"],
            inputs=_expand_inputs(),
            outputs=[
                sockets.Canvas.Output(display_name="canvas"),
                io.Image.Output(display_name="placed"),
                io.Mask.Output(display_name="mask"),
            ],
        )

    @classmethod
    def execute(
        cls,
        images: Any,
        how: Any = None,
        anchor: str = "center",
        offset_x: int = 0,
        offset_y: int = 0,
        multiple: int = 8,
    ) -> io.NodeOutput:
        frames = images[..., :3]
        canvas = _make_canvas(how, Size(*frames.shape[1:3]), anchor, (offset_x, offset_y), multiple)
        # A view of one mask: other nodes take frames without a mask of their own for hidden.
        mask = generation_mask(canvas.size, canvas.source).to(frames).expand(len(frames), -1, -1)
        return io.NodeOutput(canvas, place_source(frames, canvas.size, canvas.source), mask)


class CanvasPreview(io.ComfyNode):
    """Draws what is going to happen before anything runs."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CanvasPreview",
            display_name="Canvas Preview",
            category=sockets.CATEGORY,
            description="Draws source, rounds, windows and their summed weights over the first frame.",
            search_aliases=["show windows", "plan", "tile preview", "layout preview"],
            inputs=[
                io.Image.Input("images", tooltip="Frames of the source; only the first is drawn."),
                sockets.Canvas.Input("canvas", tooltip="The canvas to draw."),
                sockets.Windows.Input("windows", tooltip="The windows to draw on it."),
            ],
            outputs=[io.Image.Output(display_name="plan")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, images: Any, canvas: Canvas, windows: Any) -> io.NodeOutput:
        picture = draw_plan(images[0, ..., :3].cpu(), plan_rounds(canvas, windows), windows)[None].float() / 255
        return io.NodeOutput(picture, ui=ui.PreviewImage(picture, cls=cls))
