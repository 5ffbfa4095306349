"""Context + global guidance as a core GUIDER."""

from typing import Any

from ....canvas_core.sampling.guidance import context_global_guidance
from ..guider import BranchGuider, Conditioning, Formula, Scale, nulled, require_canvas
from .known import GlobalContext

GLOBAL = (
    GlobalContext,
    "this conditioning has no global frames, which context + global guidance needs",
    "connect positive and negative of Canvas Global Frames to Canvas Guider",
)


class ContextGlobalGuider(BranchGuider):
    """Known pixels and global frames with a scale each, as M3DDM is guided. A global scale of 0 saves its branch.

    The fourth branch of the published code, global frames without context, has no say there and is never run.
    """

    def __init__(
        self, model: Any, positive: Conditioning, negative: Conditioning, context_scale: float, global_scale: float
    ):
        null, both = require_canvas(negative, *GLOBAL), require_canvas(positive, *GLOBAL)
        branches = {"null": null, "context": nulled(both), "both": both}
        idle = [] if global_scale else ["both"]
        super().__init__(model, branches, idle, context_global_guidance, (context_scale, global_scale))


CONTEXT_GLOBAL = Formula(
    "context + global",
    (
        Scale("context_scale", 2.0, "Weight of the known pixels."),
        Scale("global_scale", 4.0, "Weight of the global frames, on top of the known pixels."),
    ),
    ContextGlobalGuider,
)
