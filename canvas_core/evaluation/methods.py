"""What the evaluation runs: a model by a preset, and the same steps around a fill but no model."""

import torch

from ..errors import ConditioningError
from ..pipeline import Networks, no_prompts, outpaint, seeded_draw, settings_of
from ..pixels.fill import fill_hidden
from ..pixels.propagation import propagate
from ..pixels.texture import add_texture
from ..plan.canvas import Canvas
from ..systems.presets import Preset
from .protocol import Outpaint, filling


def model_method(networks: Networks, preset: Preset, rre: str, seed: int) -> Outpaint:
    """A model that reads no prompt, run by a preset. Raises ConditioningError for one that does."""
    config = networks.unet.config
    if config.reads_text:
        raise ConditioningError(
            "the evaluation has no prompts for its clips, and this model reads them; evaluate a model that reads none"
        )
    text = no_prompts(config.text_width)

    def run(source: torch.Tensor, canvas: Canvas) -> torch.Tensor:
        return outpaint(networks, settings_of(preset, rre), source, canvas, text, seeded_draw(seed))

    return run


def propagation_method(fill: str, texture: float = 0.0) -> Outpaint:
    """Propagation, then a fill, then a share of texture, as a method."""

    def run(frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        frames, mask = propagate(frames, mask)
        return add_texture(fill_hidden(frames, mask, fill), frames, mask, texture)

    return filling(run)
