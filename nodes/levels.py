"""Nodes that sample long clips by levels of key frames."""

from typing import Any

from comfy_api.latest import io, ui

from ..canvas_core.drawing.keyframes import draw_levels
from ..canvas_core.errors import GeometryError
from ..canvas_core.plan.keyframes import CLIP, OVERLAP, KeyframePlan, plan_levels, read_strides
from ..canvas_core.systems.catalogue import STRIDES
from . import sockets
from .adapters.levels import sample_levels

CUSTOM = "15, 5, 1"

HOW = [
    io.DynamicCombo.Option("m3ddm", []),
    io.DynamicCombo.Option("globalpaint", []),
    io.DynamicCombo.Option("one level", []),
    io.DynamicCombo.Option(
        "custom",
        [
            io.String.Input(
                "list",
                default=CUSTOM,
                tooltip="Distance of the frames of each level, falling, the last one 1, with commas between them.",
            )
        ],
    ),
]


def _strides(how: dict[str, Any] | None, length: int) -> tuple[int, ...]:
    """The strides of a choice; the published ones without levels that a short clip has no second frame for."""
    match how:
        case {"strides": ("m3ddm" | "globalpaint") as name}:
            return STRIDES[name](length)
        case {"strides": "one level"}:
            return (1,)
        case {"strides": "custom", "list": text}:
            return read_strides(text)
    raise GeometryError(
        f"strides is {how!r}, but must be 'm3ddm', 'globalpaint', 'one level' or 'custom' with its list; in an API prompt name that 'strides.list'"
    )


class CanvasKeyframePlan(io.ComfyNode):
    """Plans which frames are sampled together, in which order, and what guides them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CanvasKeyframePlan",
            display_name="Canvas Keyframe Plan",
            category=sockets.CATEGORY,
            description="Plans a long clip: key frames first, then the frames between them, each guided by those that are finished.",
            search_aliases=["hierarchical", "keyframes", "long video", "interpolation", "m3ddm", "globalpaint"],
            inputs=[
                io.Int.Input("frames", default=128, min=1, max=100000, tooltip="Length of the video in frames."),
                io.DynamicCombo.Input(
                    "strides", options=HOW, tooltip="Distance of the frames that each level samples, coarse to fine."
                ),
                io.Int.Input(
                    "clip",
                    default=CLIP,
                    min=1,
                    max=1024,
                    tooltip="Frames sampled together; the number the model was trained with.",
                ),
                io.Int.Input(
                    "overlap",
                    default=OVERLAP,
                    min=0,
                    max=1023,
                    tooltip="Frames that a clip shares with the one before it in its level. They guide it.",
                ),
            ],
            outputs=[sockets.Levels.Output(display_name="levels"), io.Image.Output(display_name="plan")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, frames: int, strides: Any = None, clip: int = CLIP, overlap: int = OVERLAP) -> io.NodeOutput:
        levels = plan_levels(frames, _strides(strides, frames), clip, overlap)
        picture = draw_levels(levels)[None].float() / 255
        return io.NodeOutput(levels, picture, ui=ui.PreviewImage(picture, cls=cls))


class CanvasHierarchicalSampler(io.ComfyNode):
    """Core's SamplerCustomAdvanced over the clips of a plan."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CanvasHierarchicalSampler",
            display_name="Canvas Hierarchical Sampler",
            category=sockets.CATEGORY,
            description="SamplerCustomAdvanced for long clips: samples level by level, and what is finished guides what follows. For models whose frames are the batch.",
            search_aliases=["long video sampler", "keyframe sampler", "coarse to fine", "m3ddm", "globalpaint"],
            inputs=[
                io.Noise.Input("noise", tooltip="Drawn once for the whole clip."),
                io.Guider.Input("guider", tooltip="Any guider; its conditions are cut to the frames of each clip."),
                io.Sampler.Input("sampler", tooltip="Any sampler of core."),
                io.Sigmas.Input("sigmas", tooltip="The noise levels that every clip runs through."),
                io.Latent.Input("latent", tooltip="One latent for each frame."),
                sockets.Levels.Input("levels", tooltip="From Canvas Keyframe Plan."),
            ],
            outputs=[io.Latent.Output(display_name="output"), io.Latent.Output(display_name="denoised_output")],
        )

    @classmethod
    def execute(
        cls, noise: Any, guider: Any, sampler: Any, sigmas: Any, latent: Any, levels: KeyframePlan
    ) -> io.NodeOutput:
        return io.NodeOutput(*sample_levels(noise, guider, sampler, sigmas, latent, levels))
