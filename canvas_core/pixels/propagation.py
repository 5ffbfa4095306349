"""Hidden pixels that a moving camera shows in other frames. Frames are [F, H, W, 3] float 0..1, masks [F, H, W], 1 = hidden."""

from typing import NamedTuple

import cv2
import numpy as np
import torch

from ..progress import Watch, count_up, unwatched
from .camera_motion import Camera, Matrix, shrink
from .fill import Bools, Image, check_hidden, spread, surroundings

OFFSETS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 26, 32)
"""Frames looked at on either side of each frame; bounds time and memory for long clips."""

DONORS = 20
"""Frames a pixel is borrowed from at most."""

MIN_OVERLAP = 0.1
"""Share of a frame's known area that a donor must show too."""

SOFT_BORDER = 2
"""Pixels at the border of the known area that are not lent: interpolation and compression mix them with the hidden area."""

MAX_MISFIT = 0.7
"""Squared error of a donor over the squared detail of the picture, near the place; 1 is as bad as a blur."""

LEAST_DETAIL = (4 / 255) ** 2
"""Squared detail of a plain area, so that noise there is no misfit."""

MAX_SPREAD = 0.08
"""Mean colour difference from the median donor above which a donor shows something else, 0..1."""

COARSE = 4
"""Pixels per cell of the misfit maps."""

MEETING, MATCH_REACH, MAX_MATCH = 4, 20.0, 0.15
"""Pixels of known border compared for the colour match, pixels over which it falls by e, largest correction 0..1."""

LUMA = np.array([0.299, 0.587, 0.114], np.float32)


class Target(NamedTuple):
    """A frame that borrows."""

    image: Image
    known: Bools
    grey: Image
    detail: Image
    """[H, W] squared difference from a blurred copy"""


class Donor(NamedTuple):
    """Another frame, moved onto the target."""

    image: Image
    weight: Image
    """[H, W] trust, 0 where it shows nothing"""


def _target(image: Image, known: Bools) -> Target:
    grey = image @ LUMA
    blurred = spread(np.dstack([grey] * 3), known.astype(np.float32), 8)[..., 0]
    return Target(image, known, grey, np.square(grey - blurred))


def _misfit(target: Target, image: Image, shared: Bools) -> Image:
    """Squared error over squared detail [H, W] where both are known, carried from there into the hidden area."""
    h, w = shared.shape
    planes = np.dstack([np.square(image @ LUMA - target.grey), target.detail, np.ones_like(target.grey)])
    size = (max(w // COARSE, 1), max(h // COARSE, 1))
    planes = cv2.resize(planes * shared[..., None], size, interpolation=cv2.INTER_AREA)
    error, detail, count = np.moveaxis(cv2.GaussianBlur(planes, (0, 0), 2), -1, 0)
    seen = count > 0.05
    ratio = error / (detail + LEAST_DETAIL * count + 1e-9)
    nearest = surroundings(~seen).nearest
    carried = cv2.GaussianBlur(ratio[nearest[0], nearest[1]], (0, 0), 2)
    return cv2.resize(carried, (w, h), interpolation=cv2.INTER_LINEAR)


def _onto(target: Target, image: Image, shown: Image, motion: Matrix) -> tuple[Image, Bools]:
    """The image [H, W, 3] moved onto the target, its exposure matched, and where it shows something (`shown` = 1)."""
    size = shown.shape[::-1]
    shows = cv2.warpPerspective(shown, motion, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP) > 0.99
    cubic = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    moved = cv2.warpPerspective(image, motion, size, flags=cubic, borderMode=cv2.BORDER_REPLICATE)
    shared = shows & target.known
    if shared.any():
        exposure = target.image[shared].mean(0) / moved[shared].mean(0).clip(1e-3)
        moved = moved * exposure.clip(0.8, 1.25)
    return moved, shows


def _enough(shared: Bools, known: Bools) -> bool:
    return bool(shared.sum() >= max(MIN_OVERLAP * known.sum(), (2 * COARSE) ** 2))


def _lent(index: int, targets: list[Target], inner: list[Image], camera: Camera) -> Image:
    """Pixels [H, W] of a frame that others may borrow: 1 unless they move by themselves, seen from both neighbours."""
    target, misfits = targets[index], []
    for other in (index - 1, index + 1):
        motion = camera.motion(index, other) if 0 <= other < len(targets) else None
        if motion is None:
            continue
        moved, shows = _onto(target, targets[other].image, inner[other], motion)
        if _enough(shows & target.known, target.known):
            misfits.append(_misfit(target, moved, shows & target.known))
    return inner[index] * (np.min(misfits, axis=0) < MAX_MISFIT) if misfits else inner[index]


def _donor(target: Target, image: Image, lent: Image, motion: Matrix, wanted: Bools) -> Donor | None:
    """The image moved onto the target, or None when it shows too little of what is `wanted` or known."""
    moved, shows = _onto(target, image, lent, motion)
    shared = shows & target.known
    if (shows & wanted).sum() < 0.001 * (~target.known).sum() or not _enough(shared, target.known):
        return None
    return Donor(moved, shows * np.maximum(1 - _misfit(target, moved, shared) / MAX_MISFIT, 0))


def _donors(index: int, targets: list[Target], lent: list[Image], camera: Camera) -> list[Donor]:
    """Up to DONORS frames, nearest first, each of which shows hidden pixels that fewer than two others show."""
    donors: list[Donor] = []
    target = targets[index]
    count = np.zeros(target.known.shape, np.int32)
    for other in (index + sign * offset for offset in OFFSETS for sign in (-1, 1)):
        motion = camera.motion(index, other) if 0 <= other < len(targets) and len(donors) < DONORS else None
        if motion is None:
            continue
        donor = _donor(target, targets[other].image, lent[other], motion, ~target.known & (count < 2))
        if donor is not None:
            donors.append(Donor(donor.image, donor.weight / (1 + abs(other - index)) ** 0.5))
            count += donor.weight > 0
    return donors


def _combined(donors: list[Donor], area: Bools) -> tuple[Image, Bools]:
    """Mean of the donors that agree with the median one, and where these are the majority. Only in the area."""
    images = np.stack([donor.image[area] for donor in donors])  # N P 3
    weights = np.stack([donor.weight[area] for donor in donors])  # N P
    order = np.where(weights > 0, images.mean(-1), np.inf).argsort(0)
    heap = np.take_along_axis(weights, order, 0).cumsum(0)
    middle = np.take_along_axis(order, (heap >= heap[-1:] / 2).argmax(0)[None], 0)
    median = np.take_along_axis(images, middle[..., None], 0)
    agreeing = weights * (np.abs(images - median).mean(-1) < MAX_SPREAD)
    total = agreeing.sum(0)
    mixed, sure = np.zeros((*area.shape, 3), np.float32), np.zeros_like(area)
    mixed[area] = (images * agreeing[..., None]).sum(0) / np.maximum(total, 1e-6)[:, None]
    sure[area] = (total > weights.sum(0) / 2) & (total > 0)
    return mixed, sure


def _matched(mixed: Image, sure: Bools, target: Target, band: Bools) -> Image:
    """The borrowed picture with the colour step at the known border (`band`) taken out smoothly."""
    band = band & sure
    if not band.any():
        return mixed
    step = np.where(band[..., None], target.image - mixed, 0).clip(-MAX_MATCH, MAX_MATCH)
    step = spread(step, band.astype(np.float32), 3)
    around = surroundings(~band)
    carried = cv2.GaussianBlur(step[around.nearest[0], around.nearest[1]], (0, 0), 3)
    return mixed + carried * np.exp(-around.distance / MATCH_REACH)[..., None]


def _borrowed(target: Target, donors: list[Donor]) -> tuple[Image, Bools]:
    """The hidden pixels that can be borrowed, [H, W, 3], and where."""
    known = target.known
    band = known & (shrink(known.astype(np.uint8), MEETING) == 0)
    mixed, sure = _combined(donors, ~known | band)
    mixed = _matched(mixed, sure, target, band).clip(0, 1)
    # Opening removes threads and specks, which a fill would smear outwards.
    whole = cv2.morphologyEx((sure | known).astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    return mixed, sure & ~known & (whole > 0)


def propagate(
    frames: torch.Tensor, mask: torch.Tensor, watch: Watch = unwatched, wanted: range | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames [F, H, W, 3] with hidden pixels borrowed from other frames, and the mask [F, H, W] that is left.

    Known pixels are untouched and the mask only shrinks. The camera is tracked on the known area; where it stands
    still, cannot be tracked or the frames disagree, nothing changes. Each frame looks at those OFFSETS away. Only frames of
    `wanted` borrow (default: all). Under "borrow" every frame counts twice: once for what it lends and once for what it borrows.
    Raises GeometryError when the shapes do not fit.
    """
    check_hidden(frames, mask)
    hidden: Bools = (mask > 0).cpu().numpy()
    images: Image = frames.detach().float().cpu().numpy()
    if len(frames) < 2 or not hidden.any():
        return frames, mask
    camera = Camera(images, hidden)
    targets = [_target(image, ~holes) for image, holes in zip(images, hidden, strict=True)]
    inner = [shrink((~holes).astype(np.uint8), SOFT_BORDER).astype(np.float32) for holes in hidden]
    advance = count_up(watch, "borrow", 2 * len(targets))
    lent = []
    for index in range(len(targets)):
        lent.append(_lent(index, targets, inner, camera))
        advance(1)
    frames, mask = frames.clone(), mask.clone()
    for index, holes in enumerate(hidden):
        asked = holes.any() and not holes.all() and (wanted is None or index in wanted)
        donors = _donors(index, targets, lent, camera) if asked else []
        if donors:
            borrowed, where = (torch.from_numpy(array) for array in _borrowed(targets[index], donors))
            frames[index][where] = borrowed[where].to(frames)
            mask[index][where] = 0
        advance(1)
    return frames, mask
