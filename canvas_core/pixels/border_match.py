"""Drawing a result to the known pixels at their border, so that no seam shows."""

import numpy as np
import torch

from ..errors import GeometryError
from .fill import carry_outward, check_hidden, surroundings


def match_border(result: torch.Tensor, frames: torch.Tensor, mask: torch.Tensor, reach: float) -> torch.Tensor:
    """The result [F, H, W, 3] with its error at the border taken back in the hidden area; known pixels stay as they are.

    What the known pixels of `frames` [F, H, W, 3] are off from the result is carried outwards and added, in full next to the
    border and falling by e over `reach` pixels; mask [F, H, W] is 1 where hidden. 0 changes nothing. Raises GeometryError on other shapes.
    """
    if reach < 0:
        raise GeometryError(f"the reach of the border match is {reach} px, but must be 0 or more; 0 turns it off")
    if reach == 0:
        return result
    check_hidden(frames, mask)
    out = result.clone()
    for index, hidden in enumerate((mask > 0).cpu().numpy()):
        if not hidden.any() or hidden.all():
            continue
        around = surroundings(hidden)
        error = (frames[index] - result[index]).float().cpu().numpy()
        weight = np.exp(-(around.distance - 1).clip(0) / reach)[..., None] * hidden[..., None]
        correction = torch.from_numpy(carry_outward(error, around) * weight)
        out[index] = (result[index] + correction.to(result)).clamp(0, 1)
    return out
