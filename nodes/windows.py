"""Nodes that make any model work in windows."""

from typing import Any

from comfy_api.latest import io

from ..canvas_core.plan.windows import PLANNERS, WEIGHTS, WindowSettings
from . import sockets
from .adapters.time_windows import apply_time_windows
from .adapters.windows import apply_windows


def _space_inputs() -> list[Any]:
    return [
        io.Int.Input(
            "window",
            default=512,
            min=16,
            max=4096,
            step=8,
            tooltip="Side of a window in pixels; the size the model was trained at.",
        ),
        io.Int.Input(
            "overlap",
            default=128,
            min=0,
            max=4088,
            step=8,
            tooltip="Least overlap of neighbouring windows in pixels. A quarter of the window hides seams; the official planner always takes that.",
        ),
        io.Combo.Input(
            "planner",
            options=list(PLANNERS),
            default="even",
            tooltip="even spaces windows equally; official is Follow-Your-Canvas's own plan.",
            advanced=True,
        ),
        io.Combo.Input(
            "weights",
            options=list(WEIGHTS),
            default="centred",
            tooltip="Gaussian weights of a window; official keeps the published half-cell shift.",
            advanced=True,
        ),
    ]


def _time_inputs() -> list[Any]:
    return [
        io.Int.Input(
            "frames",
            default=64,
            min=1,
            max=4096,
            tooltip="Frames of a time window, at most what the model reaches (64 for Follow-Your-Canvas).",
        ),
        io.Int.Input(
            "frame_overlap", default=16, min=0, max=4095, tooltip="Frames shared by neighbouring time windows."
        ),
    ]


class CanvasWindows(io.ComfyNode):
    """Window settings; boxes are planned where a canvas is known."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CanvasWindows",
            display_name="Canvas Windows",
            category=sockets.CATEGORY,
            description="How a canvas is cut into overlapping windows and a clip into time windows.",
            search_aliases=["tiles", "tiled diffusion", "multidiffusion", "context windows"],
            inputs=_space_inputs() + _time_inputs(),
            outputs=[sockets.Windows.Output(display_name="windows")],
        )

    @classmethod
    def execute(
        cls, window: int, overlap: int, planner: str, weights: str, frames: int, frame_overlap: int
    ) -> io.NodeOutput:
        return io.NodeOutput(WindowSettings(window, overlap, planner, weights, frames, frame_overlap))


class CanvasApplyWindows(io.ComfyNode):
    """Makes a model evaluate large canvases window by window."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CanvasApplyWindows",
            display_name="Canvas Apply Windows",
            category=sockets.CATEGORY,
            description="Lets any model sample a canvas of any size in the memory of one window.",
            search_aliases=["tiled diffusion", "multidiffusion", "mixture of diffusers", "tiled sampling"],
            inputs=[
                io.Model.Input("model", tooltip="Any image or video model."),
                sockets.Windows.Input("windows", tooltip="From Canvas Windows."),
                io.Int.Input(
                    "windows_at_once",
                    default=0,
                    min=0,
                    max=1024,
                    tooltip="Windows per model call; 0 lets ComfyUI decide by free memory, 1 needs the least.",
                    advanced=True,
                ),
            ],
            outputs=[io.Model.Output(display_name="model")],
        )

    @classmethod
    def execute(cls, model: Any, windows: WindowSettings, windows_at_once: int = 0) -> io.NodeOutput:
        return io.NodeOutput(apply_windows(model, windows, windows_at_once))


class CanvasTimeWindows(io.ComfyNode):
    """Makes a model evaluate long clips in time windows."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CanvasTimeWindows",
            display_name="Canvas Time Windows",
            category=sockets.CATEGORY,
            description="Lets any video model sample clips longer than it was trained for, in overlapping time windows with Gaussian weights.",
            search_aliases=["context windows", "long video", "sliding context"],
            inputs=[
                io.Model.Input("model", tooltip="Any model whose frames are the batch, or a video model."),
                sockets.Windows.Input("windows", tooltip="From Canvas Windows; frames and frame_overlap are used."),
            ],
            outputs=[io.Model.Output(display_name="model")],
        )

    @classmethod
    def execute(cls, model: Any, windows: WindowSettings) -> io.NodeOutput:
        return io.NodeOutput(apply_time_windows(model, windows))
