"""The published systems, and which one a file is of. A new system is one line here."""

from collections.abc import Callable

import torch

from ..errors import CheckpointError
from ..networks.weights import TensorFile
from ..pixels.compositing import paste_source
from ..plan.canvas import Canvas
from .follow_your_canvas.files import FOLLOW_YOUR_CANVAS
from .follow_your_canvas.official import paste_as_published
from .m3ddm.files import M3DDM
from .system import System

SYSTEMS = (FOLLOW_YOUR_CANVAS, M3DDM)


def recognise(file: TensorFile) -> tuple[System, TensorFile]:
    """The system that a file is of, and the file with its keys as that system names them.

    Raises CheckpointError that says which key is missing.
    """
    for system in SYSTEMS:
        own = file.renamed(system.clean_key)
        if not system.missing(own.shapes):
            return system, own
    lacks = " or ".join(
        f"'{one.missing(file.renamed(one.clean_key).shapes)[0]}', which {one.title} needs" for one in SYSTEMS
    )
    raise CheckpointError(
        f"{file.path.name} is not a canvas checkpoint: of its {len(file.shapes)} tensors none is {lacks}; pick one of these models or its safetensors conversion"
    )


def _globalpaint_strides(length: int) -> tuple[int, ...]:
    """Those that follow from its demos."""
    return (3, 1) if length > 3 else (1,)


STRIDES: dict[str, Callable[[int], tuple[int, ...]]] = {M3DDM.name: M3DDM.strides, "globalpaint": _globalpaint_strides}
"""Published strides by name; each maps the length of a video to them, without levels that it is too short for."""


def _paste_official(result: torch.Tensor, source: torch.Tensor, canvas: Canvas, feather: int = 0) -> torch.Tensor:
    return paste_as_published(result, source, canvas)  # whose blend has a width of its own


PASTES: dict[str, Callable[[torch.Tensor, torch.Tensor, Canvas, int], torch.Tensor]] = {
    "feather": paste_source,
    "official": _paste_official,
}
"""How the source is put back, by name; each maps result [F, H, W, 3], source [F, h, w, 3], canvas and feather to the whole canvas."""
