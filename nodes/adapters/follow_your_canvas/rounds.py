"""Rounds as a graph: the nodes a person would wire by hand, one set a round.

Everything is passed on as links and plain numbers, as in a graph wired by hand; only the final canvas is a value,
because pads cannot say how it is trimmed.
"""

from dataclasses import dataclass
from typing import Any

from comfy_execution.graph_utils import GraphBuilder

from ....canvas_core.pixels.compositing import inward_alpha
from ....canvas_core.plan.canvas import Canvas, require_cells
from ....canvas_core.plan.rounds import Round, plan_rounds
from ....canvas_core.plan.windows import WindowSettings

Link = list[Any]
"""[node id, output slot]"""


@dataclass(frozen=True)
class RoundInputs:
    """What every round is given. Sampler and layout settings are passed on to their nodes as they are."""

    model: Link
    vae: Link
    positive: Link
    negative: Link
    encoder: Link
    images: Link
    seed: int
    sampler: dict[str, Any]
    layout: dict[str, Any]
    feather: int
    start_from: str


def build_rounds(inputs: RoundInputs, canvas: Canvas, settings: WindowSettings) -> tuple[Link, dict[str, Any]]:
    """(output of the last node, expanded graph). Raises GeometryError when the canvas is not made of whole cells."""
    require_cells(canvas)
    inward_alpha(canvas, inputs.feather)  # refuses a feather that does not fit before anything is sampled
    graph = GraphBuilder()
    windows = graph.node("CanvasWindows", **_window_widgets(settings)).out(0)
    start = result = inputs.images
    rounds = plan_rounds(canvas, settings)
    for index, step in enumerate(rounds):
        decoded = _decode_round(graph, inputs, windows, start, step, (inputs.seed + index) % 2**64)
        target: Any = canvas
        if index < len(rounds) - 1:
            target = _expand(graph, inputs.images, step.target).out(0)
        result = graph.node(
            "CanvasComposite",
            result=decoded,
            source=inputs.images,
            canvas=target,
            feather=inputs.feather,
            how="feather",
        ).out(0)
        start = result if inputs.start_from == "source" else decoded
    return result, graph.finalize()


def _window_widgets(settings: WindowSettings) -> dict[str, Any]:
    names = ("window", "overlap", "planner", "weights", "frames", "frame_overlap")
    return {name: getattr(settings, name) for name in names}


def _expand(graph: GraphBuilder, images: Link, canvas: Canvas) -> Any:
    pads = canvas.pads
    how = {
        "how": "pads",
        "how.left": pads.left,
        "how.top": pads.top,
        "how.right": pads.right,
        "how.bottom": pads.bottom,
    }
    return graph.node("CanvasExpand", images=images, anchor="center", offset_x=0, offset_y=0, multiple=8, **how)


def _decode_round(graph: GraphBuilder, inputs: RoundInputs, windows: Link, start: Link, step: Round, seed: int) -> Link:
    expand = _expand(graph, start, step.canvas)
    layout = graph.node(
        "CanvasEncodeLayout",
        positive=inputs.positive,
        negative=inputs.negative,
        images=start,
        canvas=expand.out(0),
        windows=windows,
        encoder=inputs.encoder,
        **inputs.layout,
    )
    known = graph.node(
        "InpaintModelConditioning",
        positive=layout.out(0),
        negative=layout.out(1),
        vae=inputs.vae,
        pixels=expand.out(1),
        mask=expand.out(2),
        noise_mask=False,
    )
    sampled = graph.node(
        "CanvasTiledSampler",
        model=inputs.model,
        positive=known.out(0),
        negative=known.out(1),
        latent=known.out(2),
        windows=windows,
        seed=seed,
        denoise=1.0,
        **inputs.sampler,
    )
    return graph.node("VAEDecode", samples=sampled.out(0), vae=inputs.vae).out(0)
