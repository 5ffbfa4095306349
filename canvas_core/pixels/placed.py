from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, TypeVar

import torch

from ..plan.canvas import Canvas
from .placing import GREY, generation_mask, place_source
from .propagation import OFFSETS, propagate

T = TypeVar("T")

Frames = Iterable[torch.Tensor]
"""Frames [h, w, 3] uint8 that can be iterated again."""

CHUNK = 64
"""Frames whose pixels are held and worked on together."""

HALO = max(OFFSETS) + 1
"""Frames on either side of a chunk that it may borrow from, and their neighbours, which say what moves by itself."""


class Placed(NamedTuple):
    """One frame on the canvas."""

    frame: torch.Tensor
    """[H, W, 3], 0..1"""
    mask: torch.Tensor
    """[H, W], 1 = generate"""


PlacedFrames = Iterable[Placed]
"""Placed frames that can be iterated again."""


def batches(items: Iterable[T], count: int) -> Iterator[list[T]]:
    """Lists of up to `count` items."""
    iterator = iter(items)
    while batch := list(islice(iterator, count)):
        yield batch


def stack_placed(placed: list[Placed]) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames [F, H, W, 3] and masks [F, H, W]."""
    return torch.stack([one.frame for one in placed]), torch.stack([one.mask for one in placed])


@dataclass(frozen=True)
class OnCanvas:
    """Source frames placed on a canvas, on grey."""

    frames: Frames
    canvas: Canvas

    def __iter__(self) -> Iterator[Placed]:
        canvas = self.canvas
        mask = generation_mask(canvas.size, canvas.source)
        for frame in self.frames:
            yield Placed(place_source(frame[None].float() / 255, canvas.size, canvas.source, GREY)[0], mask)


def borrow(placed: PlacedFrames) -> Iterator[Placed]:
    """The same with hidden pixels borrowed from other frames, see `propagate`, which up to CHUNK + HALO frames it equals."""
    for run, middle in _with_halo(placed, CHUNK, HALO):
        frames, masks = propagate(*stack_placed(run), wanted=middle)
        yield from (Placed(frames[index], masks[index]) for index in middle)


def _with_halo(items: Iterable[T], count: int, halo: int) -> Iterator[tuple[list[T], range]]:
    """Lists of `count` items with up to `halo` neighbours on either side, and where in the list the items are."""
    held: list[T] = []
    start = 0
    for item in items:
        if len(held) == start + count + halo:
            yield list(held), range(start, start + count)
            passed = max(start + count - halo, 0)
            del held[:passed]
            start += count - passed
        held.append(item)
    if len(held) > start:
        yield held, range(start, len(held))
