"""A model that predicts the clean latent only corrects a smooth fill; its correction can be laid over a better one."""

import torch

from ..errors import GeometryError
from .fill import check_hidden
from .pull_push import fill_pixels


def refine_fill(result: torch.Tensor, filled: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """`filled` [F, H, W, 3] 0..1 with what the result [F, H, W, 3] adds to the smooth fill of the same known pixels.

    mask [F, H, W] is 1 where hidden; known pixels are the result's, and so is a frame without any. For results of a model
    with x0 prediction, which starts from that smooth fill: one that adds nothing gives back `filled`. Raises
    GeometryError on other shapes.
    """
    check_hidden(filled, mask)
    if result.shape != filled.shape:
        raise GeometryError(
            f"the result is {list(result.shape)} and the filled frames {list(filled.shape)}; give both of the whole canvas, with as many frames"
        )
    hidden = (mask > 0).to(result)
    out = result.clone()
    for index in range(len(out)):
        if not hidden[index].all():
            known = (filled[index].to(out) * (1 - hidden[index])[..., None]).permute(2, 0, 1)
            smooth = fill_pixels(known[None], hidden[index][None, None])[0].permute(1, 2, 0)
            refined = (filled[index].to(out) + result[index] - smooth).clamp(0, 1)
            out[index] = torch.where(hidden[index][..., None] > 0, refined, result[index])
    return out
