"""The network families whose files can be read, and which one a file is of."""

from .architectures.follow_your_canvas import (
    FOLLOW_YOUR_CANVAS,
    LAYOUT_PREFIXES,
    build_layout_encoder,
    read_layout_config,
)
from .architectures.m3ddm import M3DDM
from .architectures.record import Architecture, stored_config
from .errors import CheckpointError
from .networks.weights import Shapes

__all__ = [
    "ARCHITECTURES",
    "FOLLOW_YOUR_CANVAS",
    "LAYOUT_PREFIXES",
    "M3DDM",
    "Architecture",
    "Shapes",
    "build_layout_encoder",
    "read_layout_config",
    "recognise",
    "stored_config",
]

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
