"""What the evaluation runs: a model by its settings, and the same steps around a fill but no model."""

import torch

from ..engine import outpaint, seeded_draw
from ..pixels.fill import fill_hidden
from ..pixels.placed import Video
from ..pixels.propagation import propagate
from ..pixels.texture import add_texture
from ..plan.canvas import Canvas
from ..systems.system import Model
from .protocol import RATE, Outpaint, filling


def model_method(model: Model, seed: int) -> Outpaint:
    """A model as a method."""

    def run(source: torch.Tensor, canvas: Canvas) -> torch.Tensor:
        plan = model.system.plan(len(source), model.settings)
        return torch.stack(list(outpaint(model, Video(source, RATE), canvas, plan, seeded_draw(seed))))

    return run


def propagation_method(fill: str, texture: float = 0.0) -> Outpaint:
    """Propagation, then a fill, then a share of texture, as a method."""

    def run(frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        frames, mask = propagate(frames, mask)
        return add_texture(fill_hidden(frames, mask, fill), frames, mask, texture)

    return filling(run)
