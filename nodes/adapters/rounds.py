"""Rounds as a graph: the nodes a person would wire by hand, one set a round."""

from dataclasses import dataclass
from typing import Any

import torch
from comfy_execution.graph_utils import GraphBuilder

from ...canvas_core.canvas import Canvas
from ...canvas_core.rounds import Round, plan_rounds
from ...canvas_core.windows import WindowSettings


@dataclass(frozen=True)
class RoundInputs:
    """What every round is given. Sampler settings are passed on to Canvas Tiled Sampler as they are."""

    model: Any
    vae: Any
    positive: Any
    negative: Any
    encoder: Any
    windows: WindowSettings
    seed: int
    sampler: dict[str, Any]
    layout: dict[str, Any]
    feather: int
    start_from: str


def build_rounds(inputs: RoundInputs, source: torch.Tensor, canvas: Canvas) -> tuple[Any, dict[str, Any]]:
    """(output of the last node, expanded graph). source [F, h, w, C]."""
    graph = GraphBuilder()
    start: Any = source
    result: Any = None
    rounds = plan_rounds(canvas, inputs.windows)
    for index, step in enumerate(rounds):
        decoded = _decode_round(graph, inputs, start, step, inputs.seed + index)
        last = index == len(rounds) - 1
        target = canvas if last else Canvas(step.canvas.size, step.original, step.canvas.trim)
        result = graph.node(
            "CanvasComposite", result=decoded, source=source, canvas=target, feather=inputs.feather, how="feather"
        ).out(0)
        start = result if inputs.start_from == "source" else decoded
    return result, graph.finalize()


def _decode_round(graph: GraphBuilder, inputs: RoundInputs, start: Any, step: Round, seed: int) -> Any:
    pads = step.canvas.pads
    how = {
        "how": "pads",
        "how.left": pads.left,
        "how.top": pads.top,
        "how.right": pads.right,
        "how.bottom": pads.bottom,
    }
    expand = graph.node("CanvasExpand", images=start, anchor="center", offset_x=0, offset_y=0, multiple=8, **how)
    layout = graph.node(
        "CanvasEncodeLayout",
        positive=inputs.positive,
        negative=inputs.negative,
        images=start,
        canvas=expand.out(0),
        windows=inputs.windows,
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
        windows=inputs.windows,
        seed=seed,
        denoise=1.0,
        **inputs.sampler,
    )
    return graph.node("VAEDecode", samples=sampled.out(0), vae=inputs.vae).out(0)
