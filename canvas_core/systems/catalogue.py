"""The published systems, and which one a file is of. The one list that a new system is added to."""

from collections.abc import Callable

from ..errors import CheckpointError
from ..networks.weights import Shapes
from .follow_your_canvas.files import FOLLOW_YOUR_CANVAS
from .m3ddm.files import M3DDM
from .m3ddm.plan import m3ddm_strides
from .system import Architecture

ARCHITECTURES = (FOLLOW_YOUR_CANVAS, M3DDM)


def recognise(shapes: Shapes, name: str) -> Architecture:
    """The architecture of a checkpoint called `name`. Raises CheckpointError that says which key is missing."""
    for architecture in ARCHITECTURES:
        if not architecture.missing(shapes):
            return architecture
    lacks = " or ".join(f"'{one.missing(shapes)[0]}', which {one.title} needs" for one in ARCHITECTURES)
    raise CheckpointError(
        f"{name} is not a canvas checkpoint: of its {len(shapes)} tensors none is {lacks}; pick one of these models or its safetensors conversion"
    )


def _globalpaint_strides(length: int) -> tuple[int, ...]:
    """Those that follow from its demos."""
    return (3, 1) if length > 3 else (1,)


STRIDES: dict[str, Callable[[int], tuple[int, ...]]] = {"m3ddm": m3ddm_strides, "globalpaint": _globalpaint_strides}
"""Published strides by name; each maps the length of a video to them, without levels that it is too short for."""
