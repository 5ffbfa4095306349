"""The formulas that Canvas Guider offers. The one list that a new system's is added to."""

from .follow_your_canvas.guider import TEXT_LAYOUT
from .guider import Formula
from .m3ddm.guider import CONTEXT_GLOBAL

FORMULAS: tuple[Formula, ...] = (TEXT_LAYOUT, CONTEXT_GLOBAL)
