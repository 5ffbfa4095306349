"""Nodes of Follow-Your-Canvas and the built-in model: layout, empty prompt, rounds."""

from typing import Any

import folder_paths
import torch
from comfy_api.latest import io
from node_helpers import conditioning_set_values

from ..canvas_core.errors import ConditioningError
from ..canvas_core.plan.boxes import Size
from ..canvas_core.plan.canvas import Canvas, require_cells
from ..canvas_core.plan.keyframes import KeyframePlan
from ..canvas_core.plan.rounds import START_FROM
from ..canvas_core.plan.windows import WindowSettings
from ..canvas_core.systems.follow_your_canvas.relative_region import CONVENTIONS
from . import sockets
from .adapters.clip_conds import span_of
from .adapters.folders import SAM_FOLDER
from .adapters.follow_your_canvas.conds import Layout
from .adapters.follow_your_canvas.layout import LayoutReader, load_layout_reader
from .adapters.follow_your_canvas.rounds import RoundInputs, build_rounds
from .inputs import MODEL_FOLDER, feather_input, sampler_inputs

FROM_FILE = "from file"
RRE = [FROM_FILE, *CONVENTIONS]


def _rre_input() -> Any:
    """The convention of the relative region, wherever a node encodes the layout."""
    return io.Combo.Input(
        "rre",
        options=RRE,
        default=FROM_FILE,
        tooltip="How the place of a window is told to the model.",
        advanced=True,
    )


class CanvasLoadLayoutEncoder(io.ComfyNode):
    """Loads the layout encoder and its SAM."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CanvasLoadLayoutEncoder",
            display_name="Canvas Load Layout Encoder",
            category=sockets.CATEGORY,
            description="Loads the part of a Follow-Your-Canvas checkpoint that reads the layout of the source, with Segment Anything as its eye.",
            search_aliases=["sam", "segment anything", "follow your canvas", "q-former"],
            inputs=[
                io.Combo.Input(
                    "file",
                    options=folder_paths.get_filename_list(MODEL_FOLDER),
                    tooltip="The same file as in Canvas Load Model.",
                ),
                io.Combo.Input(
                    "sam",
                    options=folder_paths.get_filename_list(SAM_FOLDER),
                    tooltip="sam_vit_b_01ec64.pth in models/sams.",
                ),
            ],
            outputs=[sockets.LayoutEncoder.Output(display_name="encoder")],
        )

    @classmethod
    def execute(cls, file: str, sam: str) -> io.NodeOutput:
        canvas_path = folder_paths.get_full_path_or_raise(MODEL_FOLDER, file)
        return io.NodeOutput(load_layout_reader(canvas_path, folder_paths.get_full_path_or_raise(SAM_FOLDER, sam)))


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
                _rre_input(),
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
        _rre_input(),
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
            inputs=_rounds_sources() + sampler_inputs() + _rounds_options(),
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
