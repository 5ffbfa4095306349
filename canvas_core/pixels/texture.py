"""Texture for a smooth result: the fine detail of the known area, laid over the hidden one where the picture is alike.

Each cell of the hidden area takes its detail from the known place at one offset, the same in all frames, so that texture moves
as the camera does. Few offsets for many cells, as in He and Sun, "Statistics of Patch Offsets for Image Completion" (2012); what
is alike is told by the result itself instead of by the patches' borders.
"""

import math
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch

from ..errors import GeometryError
from .fill import Bools, Image, check_hidden, spread

Ints = npt.NDArray[np.intp]

COARSEST = 20
"""Short side of the frame over the sigma of the blur that detail is the rest of."""

CELL_SHARE = 16
"""Short side of the frame over the side of a cell."""

REACH = 2
"""Cells around a cell that are compared, in each direction."""

GLIMPSES = 4
"""Frames compared, spread over the clip."""

FAR = 0.02
"""What an offset of the frame's short side costs, in colour difference 0..1."""

AGREE = 0.025
"""What a neighbour of another offset costs, in colour difference 0..1."""

REUSE = 0.6
"""What every other cell that takes its detail from the same place costs, over the detail's standard deviation: repeated sky does not
show, a repeated branch does."""

STRONG = 0.2
"""What a place with detail of standard deviation 1 costs, in colour difference 0..1: objects are no texture."""

FADE_IN = 0.02
"""Distance from the border at which detail has come in up to 1 - 1 / e, over the short side: up to there the result holds the
border's own."""

SWEEPS = 8


class Grid(NamedTuple):
    """The frame in square cells; those at the lower and right edge may be cut."""

    side: int
    h: int
    w: int

    def shrink(self, image: Image) -> Image:
        """Mean of each cell, [h, w, ...]."""
        size = (self.w * self.side, self.h * self.side)
        padded = cv2.copyMakeBorder(
            image, 0, size[1] - image.shape[0], 0, size[0] - image.shape[1], cv2.BORDER_REPLICATE
        )
        return cv2.resize(padded, (self.w, self.h), interpolation=cv2.INTER_AREA)


def add_texture(result: torch.Tensor, frames: torch.Tensor, mask: torch.Tensor, share: float) -> torch.Tensor:
    """The result [F, H, W, 3] 0..1 with detail of the known pixels of `frames` on its hidden area, `share` (0..1) of its strength.

    mask [F, H, W] is 1 where hidden; known pixels stay as they are. 0, or a clip without a place that all frames know,
    changes nothing. Raises GeometryError on other shapes or a share out of range.
    """
    check_share(share)
    if not share:
        return result
    check_hidden(frames, mask)
    hidden: Bools = (mask > 0).cpu().numpy()
    images: Image = frames.detach().float().cpu().numpy()
    given: Image = result.detach().float().cpu().numpy()
    grid = _grid(hidden.shape[1:])
    short = min(hidden.shape[1:])
    offsets = _choose(given, images, hidden, grid)
    if offsets is None:
        return result
    rows, columns = _sources(offsets, grid, hidden.shape[1:])
    out = result.clone()
    for index, holes in enumerate(hidden):
        if holes.any():
            detail = _detail(images[index], holes)
            distance = cv2.distanceTransform(holes.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
            weight = share * (1 - np.exp(-distance / (FADE_IN * short)))
            added = torch.from_numpy(weight[..., None] * detail[rows, columns])
            out[index] = (result[index] + added.to(result)).clamp(0, 1)
    return out


def check_share(share: float) -> None:
    """Raise GeometryError unless a share of texture is 0 to 1."""
    if not 0 <= share <= 1:
        raise GeometryError(f"the share of texture is {share:g}, but must be 0 to 1; 0 turns it off")


def _detail(image: Image, hidden: Bools) -> Image:
    """What a blur of the known pixels leaves out, [H, W, 3]."""
    return image - spread(image, (~hidden).astype(np.float32), min(hidden.shape) / COARSEST)


def _grid(size: tuple[int, ...]) -> Grid:
    side = max(4, round(min(size) / CELL_SHARE))
    return Grid(side, math.ceil(size[0] / side), math.ceil(size[1] / side))


def _choose(result: Image, frames: Image, hidden: Bools, grid: Grid) -> Ints | None:
    """Offset (rows, columns) in cells for each cell [h, w, 2], 0 for those that are known; None when nothing can be taken."""
    glimpses = np.unique(np.linspace(0, len(result) - 1, GLIMPSES).astype(int))
    colours = np.concatenate([grid.shrink(result[index]) for index in glimpses], axis=2)  # h w (t c)
    covered = grid.shrink(hidden.max(0).astype(np.float32))
    wanted, sources = np.argwhere(covered > 0), np.argwhere(covered == 0)
    if not len(wanted) or not len(sources):
        return None
    strength = (
        np.mean([grid.shrink(np.square(_detail(frames[i], hidden[i])).mean(-1)) for i in glimpses], axis=0) ** 0.5
    )
    costs = _costs(colours, np.where(covered == 0, STRONG * strength, np.inf), wanted, grid)
    labels = _agree(costs, REUSE * strength, wanted, grid)
    offsets = np.zeros((*covered.shape, 2), np.intp)
    offsets[tuple(wanted.T)] = _offsets(grid)[labels]
    return offsets


def _offsets(grid: Grid) -> Ints:
    """Every offset between two cells, [N, 2]."""
    rows, columns = np.mgrid[1 - grid.h : grid.h, 1 - grid.w : grid.w]
    return np.stack([rows.ravel(), columns.ravel()], axis=1)


def _costs(colours: Image, price: Image, wanted: Ints, grid: Grid) -> Image:
    """What each offset costs each wanted cell, [cells, offsets]: colour difference of the surroundings, price of the place, distance."""
    rows, columns = np.mgrid[-REACH : REACH + 1, -REACH : REACH + 1]
    around = np.stack([rows.ravel(), columns.ravel()], axis=1)
    limit = np.array(price.shape) - 1

    def look(cells: Ints) -> Image:
        places = np.clip(cells[:, None] + around, 0, limit)
        return colours[places[..., 0], places[..., 1]].reshape(len(cells), -1)

    every = np.argwhere(np.ones_like(price))
    features = torch.from_numpy(look(every))
    found = torch.cdist(torch.from_numpy(look(wanted)), features).numpy() / math.sqrt(features.shape[1])
    found += price.ravel()
    costs = np.full((len(wanted), (2 * grid.h - 1) * (2 * grid.w - 1)), np.inf, np.float32)
    step = every[None] - wanted[:, None]  # cells places 2
    label = (step[..., 0] + grid.h - 1) * (2 * grid.w - 1) + step[..., 1] + grid.w - 1
    distance = np.hypot(step[..., 0], step[..., 1]) / min(grid.h, grid.w)
    np.put_along_axis(costs, label, found + FAR * distance, axis=1)
    return costs


def _agree(costs: Image, again: Image, wanted: Ints, grid: Grid) -> Ints:
    """A label for each wanted cell: cheap, its neighbours' where that costs little, and few places taken `again` [h, w: its cost].

    Iterated conditional modes (Besag, 1986).
    """
    offsets = _offsets(grid)
    place = np.full((grid.h + 2, grid.w + 2), -1)
    place[wanted[:, 0] + 1, wanted[:, 1] + 1] = np.arange(len(wanted))
    uses = np.zeros((grid.h, grid.w), np.intp)
    labels = np.full(len(wanted), -1)
    for _ in range(SWEEPS):
        changed = False
        for index, (y, x) in enumerate(wanted):
            beside = [place[y, x + 1], place[y + 2, x + 1], place[y + 1, x], place[y + 1, x + 2]]
            votes = np.array([labels[other] for other in beside if other >= 0 and labels[other] >= 0], np.intp)
            old = labels[index]
            if old >= 0:
                uses[tuple(wanted[index] + offsets[old])] -= 1
            allowed = np.flatnonzero(np.isfinite(costs[index]))
            source = wanted[index] + offsets[allowed]
            total = costs[index, allowed] + (again * uses)[source[:, 0], source[:, 1]]
            total = total + AGREE * (allowed[:, None] != votes).sum(1)
            labels[index] = allowed[total.argmin()]
            uses[tuple(wanted[index] + offsets[labels[index]])] += 1
            changed |= bool(labels[index] != old)
        if not changed:
            break
    return labels


def _sources(offsets: Ints, grid: Grid, size: tuple[int, ...]) -> tuple[Ints, Ints]:
    """Row and column [H, W] that each pixel takes its detail from."""
    h, w = size
    steps = offsets.repeat(grid.side, 0).repeat(grid.side, 1)[:h, :w] * grid.side
    rows, columns = np.mgrid[:h, :w]
    return np.clip(rows + steps[..., 0], 0, h - 1), np.clip(columns + steps[..., 1], 0, w - 1)
