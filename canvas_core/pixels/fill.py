"""Fills of the hidden area without a model. Frames are [F, H, W, 3] float 0..1, masks [F, H, W], 1 = hidden."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
import numpy.typing as npt
import torch

from ..errors import GeometryError
from ..progress import Watch, unwatched
from .placing import GREY

Image = npt.NDArray[np.float32]
"""[H, W, 3] or [H, W], 0..1."""

Bools = npt.NDArray[np.bool_]
"""[H, W] or [F, H, W]."""


class Fill(Protocol):
    """Fills the hidden area of frames [F, H, W, 3] where mask [F, H, W] is 1."""

    def __call__(self, frames: torch.Tensor, mask: torch.Tensor, watch: Watch = unwatched) -> torch.Tensor:
        """The filled frames; known pixels untouched. Frames are counted under "fill"."""


TELEA_RADIUS = 5
"""Pixels."""

CONE_START, CONE_SLOPE = 0.6, 0.4
"""Blur of the cone: sigma in pixels at the border, and its growth per pixel of distance."""

MEAN_REACH = 150.0
"""Pixels over which the cone falls to the mean colour by a factor of e."""

DETAIL_SIGMA, DETAIL_SHARE = 2.0, 0.6
"""High-pass sigma in pixels, and how much of the mirrored detail is added."""

BOUNCES = 4
"""Reflections of a point until it has to land on a known pixel; a narrow source needs several."""


class Surroundings(NamedTuple):
    """Where the known pixels of one frame are."""

    hidden: Bools
    """[H, W]"""
    distance: Image
    """[H, W] to the nearest known pixel, in pixels"""
    nearest: npt.NDArray[np.intp]
    """[2, H, W] row and column of the nearest known pixel"""


def surroundings(hidden: Bools) -> Surroundings:
    """Distance and place of the nearest known pixel for every pixel of `hidden` [H, W], of which some are known."""
    distance, labels = cv2.distanceTransformWithLabels(
        hidden.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    known = np.flatnonzero(~hidden)
    place = np.zeros(labels.max() + 1, np.intp)
    place[labels.ravel()[known]] = known
    return Surroundings(hidden, distance, np.stack(np.divmod(place[labels], hidden.shape[1])))


def spread(image: Image, weight: Image, sigma: float) -> Image:
    """Gaussian blur of an image [H, W, 3] that counts pixels by `weight` [H, W]; wide blurs on a smaller copy."""
    h, w = weight.shape
    shrink = max(1, min(int(sigma / 3), h, w))
    both = np.dstack([image * weight[..., None], weight])
    if shrink > 1:
        both = cv2.resize(both, (max(w // shrink, 1), max(h // shrink, 1)), interpolation=cv2.INTER_AREA)
    both = cv2.GaussianBlur(both, (0, 0), sigma / shrink, borderType=cv2.BORDER_REPLICATE)
    mean = both[..., :3] / np.maximum(both[..., 3:], 1e-6)
    return cv2.resize(mean, (w, h), interpolation=cv2.INTER_LINEAR) if shrink > 1 else mean


def _widening_blur(image: Image, weight: Image, sigma: Image) -> Image:
    """Blur of each pixel with its own sigma [H, W], interpolated between blurs that double in width."""
    level = np.log2(np.maximum(sigma, CONE_START) / CONE_START)
    total = np.zeros_like(image)
    for step in range(math.ceil(level.max()) + 1):
        share = np.maximum(1 - np.abs(level - step), 0)[..., None]
        total += share * spread(image, weight, CONE_START * 2**step)
    return total


def _extended(frame: Image, around: Surroundings) -> Image:
    return frame[around.nearest[0], around.nearest[1]]


def _grey(frame: Image, around: Surroundings) -> Image:
    return np.full_like(frame, GREY)


def _telea(frame: Image, around: Surroundings) -> Image:
    # OpenCV's gradients read hidden pixels near the frame's border, so these must not hold leftovers.
    levels = np.round(_extended(frame, around).clip(0, 1) * 255).astype(np.uint8)
    return cv2.inpaint(levels, around.hidden.astype(np.uint8), TELEA_RADIUS, cv2.INPAINT_TELEA).astype(np.float32) / 255


def carry_outward(image: Image, around: Surroundings) -> Image:
    """The known border of an image [H, W, 3] carried into the hidden area and blurred along itself, wider the further."""
    # Only carried pixels count, which makes the blur run along the border and not into the source.
    return _widening_blur(
        _extended(image, around), around.hidden.astype(np.float32), CONE_START + CONE_SLOPE * around.distance
    )


def _cone(frame: Image, around: Surroundings) -> Image:
    blurred = carry_outward(frame, around)
    weight = np.exp(-around.distance / MEAN_REACH)[..., None]
    return blurred * weight + frame[~around.hidden].mean(0) * (1 - weight)


def _folded(points: npt.NDArray[np.intp], length: int) -> npt.NDArray[np.intp]:
    """Coordinates reflected at both ends until they lie in 0 .. length - 1."""
    period = max(2 * length - 2, 1)
    points = np.abs(points) % period
    return np.minimum(points, period - points)


def _mirrored(image: Image, around: Surroundings) -> Image:
    """Each hidden pixel takes the known one on the other side of its nearest known pixel."""
    places = np.nonzero(around.hidden)
    here = np.stack(places)
    for _ in range(BOUNCES):
        beyond = 2 * around.nearest[:, here[0], here[1]] - here
        here = np.stack([_folded(line, length) for line, length in zip(beyond, image.shape, strict=False)])
    here = around.nearest[:, here[0], here[1]]
    out = image.copy()
    out[places] = image[here[0], here[1]]
    return out


def _cone_and_detail(frame: Image, around: Surroundings) -> Image:
    detail = frame - spread(frame, (~around.hidden).astype(np.float32), DETAIL_SIGMA)
    return _cone(frame, around) + DETAIL_SHARE * _mirrored(detail, around)


def _nearest_seen(hidden: Bools) -> list[int]:
    """For each frame of masks [F, H, W] the nearest one with a known pixel."""
    seen = np.flatnonzero(~hidden.all((1, 2)))
    if not seen.size:
        raise GeometryError(
            "the mask hides every pixel of every frame, so there is nothing to fill from; give a mask that is 0 on the source"
        )
    return [int(seen[np.abs(seen - index).argmin()]) for index in range(len(hidden))]


def check_hidden(frames: torch.Tensor, mask: torch.Tensor) -> None:
    """Raise GeometryError unless frames are [F, H, W, 3] and the mask is [F, H, W] of the same sizes."""
    if frames.ndim != 4 or frames.shape[-1] != 3 or not frames.numel():
        raise GeometryError(
            f"the frames are {list(frames.shape)}, but must be [frames, height, width, 3]; give an RGB clip"
        )
    if mask.shape != frames.shape[:3]:
        raise GeometryError(
            f"the mask is {list(mask.shape)} and the frames {list(frames.shape)}, but a mask of {list(frames.shape[:3])} is needed; give one mask per frame, of the frames' size"
        )


def _of_each_frame(fill: Callable[[Image, Surroundings], Image]) -> Fill:
    def fill_clip(frames: torch.Tensor, mask: torch.Tensor, watch: Watch = unwatched) -> torch.Tensor:
        check_hidden(frames, mask)
        hidden: Bools = (mask > 0).cpu().numpy()
        images = frames.detach().float().cpu().numpy()
        filled: dict[int, Any] = {}
        out = frames.clone()
        for index, source in enumerate(_nearest_seen(hidden)):
            if hidden[index].any():
                if source not in filled:
                    filled = {source: _filled(fill, images[source], hidden[source])}
                image = torch.from_numpy(filled[source]).to(frames)
                out[index] = torch.where(mask[index, ..., None] > 0, image, frames[index])
            watch("fill", index + 1, len(frames))
        return out

    return fill_clip


def _filled(fill: Callable[[Image, Surroundings], Image], frame: Image, hidden: Bools) -> Image:
    if not hidden.any():
        return frame
    around = surroundings(hidden)
    return np.where(hidden[..., None], fill(frame, around).clip(0, 1), frame)


FILLS: dict[str, Fill] = {
    "grey": _of_each_frame(_grey),
    "edge": _of_each_frame(_extended),
    "telea": _of_each_frame(_telea),
    "cone": _of_each_frame(_cone),
    "cone + detail": _of_each_frame(_cone_and_detail),
}
"""Every fill by its name."""


def fill_hidden(frames: torch.Tensor, mask: torch.Tensor, how: str = "cone", watch: Watch = unwatched) -> torch.Tensor:
    """Frames [F, H, W, 3] with the hidden area (mask [F, H, W] = 1) filled as FILLS[how] does; known pixels untouched.

    A frame that is hidden altogether takes the nearest filled one in time. Raises GeometryError for an unknown name,
    shapes that do not fit, or a clip without any known pixel.
    """
    if how not in FILLS:
        raise GeometryError(f"the fill is {how!r}, but must be one of {', '.join(FILLS)}")
    return FILLS[how](frames, mask, watch)
