"""A source on its canvas, frame by frame, for clips that are too long to be held.

Placed frames are pairs of a frame [H, W, 3] 0..1 and its mask [H, W], 1 = generate. Frames and placed frames are read as often as needed.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import torch

from ..errors import SamplingError
from ..plan.canvas import Canvas
from .placing import GREY, generation_mask, place_source
from .propagation import OFFSETS, propagate

T = TypeVar("T")

Frames = Iterable[torch.Tensor]
"""Frames [h, w, 3] 0..1 that can be iterated again."""

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


NOTHING: Mapping[int, torch.Tensor] = MappingProxyType({})


class Video(NamedTuple):
    """A source."""

    frames: Frames
    rate: float
    """Frames a second"""
    given: Mapping[int, torch.Tensor] = NOTHING
    """Frame to its whole canvas [H, W, 3] 0..1, where that is known: a guide image, or a key frame that another system made"""


class PlacedVideo(NamedTuple):
    """A source and what is known of it on a canvas."""

    source: Frames
    placed: PlacedFrames
    canvas: Canvas
    rate: float
    """Frames a second"""


def batches(items: Iterable[T], count: int) -> Iterator[list[T]]:
    """Lists of up to `count` items."""
    iterator = iter(items)
    while batch := list(islice(iterator, count)):
        yield batch


def stack_placed(placed: list[Placed]) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames [F, H, W, 3] and masks [F, H, W]."""
    return torch.stack([one.frame for one in placed]), torch.stack([one.mask for one in placed])


def read_together(video: PlacedVideo, length: int, count: int) -> Iterator[tuple[int, torch.Tensor, list[Placed]]]:
    """Read a video once, `count` frames at a time: number of the first, source frames [F, h, w, 3], placed frames.

    Raises SamplingError when it is not `length` frames long.
    """
    first = 0
    for pairs in batches(zip(video.source, video.placed, strict=True), count):
        if first + len(pairs) > length:
            raise SamplingError(f"the plan was made for {length} frames, but the video has more; make it again")
        yield first, torch.stack([frame for frame, _ in pairs]), [placed for _, placed in pairs]
        first += len(pairs)
    if first != length:
        raise SamplingError(f"the plan was made for {length} frames, but the video has {first}; make it again")


@dataclass(frozen=True)
class OnCanvas:
    """Source frames placed on a canvas, on grey; of frames that are given the whole canvas, in which nothing is hidden."""

    frames: Frames
    canvas: Canvas
    given: Mapping[int, torch.Tensor] = field(default_factory=dict)
    """Frame to [H, W, 3]"""

    def __iter__(self) -> Iterator[Placed]:
        canvas = self.canvas
        mask = generation_mask(canvas.size, canvas.source)
        for index, frame in enumerate(self.frames):
            if index in self.given:
                yield Placed(self.given[index], torch.zeros_like(mask))
            else:
                yield Placed(place_source(frame[None], canvas.size, canvas.source, GREY)[0], mask)


def borrow(placed: PlacedFrames, chunk: int | None) -> Iterator[Placed]:
    """The same with hidden pixels borrowed from other frames, see `propagate`, which up to `chunk` + HALO frames it equals.

    `chunk` frames are worked on together; None takes all of them.
    """
    runs = _with_halo(placed, chunk, HALO) if chunk else [_whole(placed)]
    for run, middle in runs:
        frames, masks = propagate(*stack_placed(run), wanted=middle)
        yield from (Placed(frames[index], masks[index]) for index in middle)


def _whole(items: Iterable[T]) -> tuple[list[T], range]:
    every = list(items)
    return every, range(len(every))


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
