"""What the reference workflows contain: nodes in columns, their values, and the links between them."""

from .any_model import ANY_MODEL
from .follow_your_canvas import SINGLE_ROUND, TWO_K
from .m3ddm import LONG_VIDEO
from .parts import Plan
from .quick_start import QUICK_START, QUICK_START_LONG, QUICK_START_STILL

__all__ = ["PLANS", "Plan"]

PLANS = (QUICK_START, QUICK_START_STILL, QUICK_START_LONG, SINGLE_ROUND, TWO_K, ANY_MODEL, LONG_VIDEO)
