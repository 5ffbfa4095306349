"""What is done to a generated area without a network, in the order that presets count on."""

import torch

from .refine import refine_fill
from .seam import match_border
from .texture import add_texture


def finish_hidden(
    result: torch.Tensor,
    frames: torch.Tensor,
    mask: torch.Tensor,
    match: float,
    texture: float,
    filled: torch.Tensor | None = None,
) -> torch.Tensor:
    """The result [F, H, W, 3] with its hidden area (mask [F, H, W] = 1) refined over `filled`, if given, then matched to the known pixels of
    `frames` [F, H, W, 3] over `match` pixels, then with a share of `texture`. Raises GeometryError, see the three steps."""
    if filled is not None:
        result = refine_fill(result, filled, mask)
    return add_texture(match_border(result, frames, mask, match), frames, mask, texture)
