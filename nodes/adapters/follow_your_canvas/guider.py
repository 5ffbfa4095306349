"""Text + layout guidance as a core GUIDER."""

from typing import Any

from ....canvas_core.sampling.guidance import text_layout_guidance
from ..guider import BranchGuider, Conditioning, Formula, Scale, nulled, require_canvas
from .conds import Layout

LAYOUT = (
    Layout,
    "this conditioning has no layout, which text + layout guidance needs",
    "put Canvas Encode Layout before Canvas Guider",
)


class TextLayoutGuider(BranchGuider):
    """Text and layout with a scale each; the null layout's tokens are put in here. A scale of 0 saves its branch."""

    def __init__(
        self, model: Any, positive: Conditioning, negative: Conditioning, text_scale: float, layout_scale: float
    ):
        null, text = (nulled(require_canvas(cond, *LAYOUT)) for cond in (negative, positive))
        branches = {"null": null, "text": text, "layout": negative}
        scales = {"text": text_scale, "layout": layout_scale}
        idle = [name for name, scale in scales.items() if not scale]
        super().__init__(model, branches, idle, text_layout_guidance, (text_scale, layout_scale))


TEXT_LAYOUT = Formula(
    "text + layout",
    (
        Scale("text_scale", 8.0, "Weight of the prompt."),
        Scale("layout_scale", 1.5, "Weight of the layout. 0 leaves it out and saves a third of the time."),
    ),
    TextLayoutGuider,
)
