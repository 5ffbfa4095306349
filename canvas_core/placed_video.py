"""A source on its canvas, frame by frame, for clips that are too long to be held.

Placed frames are pairs of a frame [H, W, 3] 0..1 and its mask [H, W], 1 = generate. They are read as often as needed.
"""

import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, TypeVar

import numpy as np
import torch

from .media.video import Source, write_clip
from .models.sam import to_levels
from .plan.boxes import Size
from .plan.canvas import GREY, Canvas, generation_mask, place_source
from .progress import Watch, unwatched
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


@dataclass(frozen=True)
class Kept:
    """Placed frames in a lossless file, their masks packed in memory."""

    source: Source
    masks: list[bytes]

    def __iter__(self) -> Iterator[Placed]:
        size = self.source.size
        for frame, packed in zip(self.source, self.masks, strict=True):
            bits = np.unpackbits(np.frombuffer(zlib.decompress(packed), np.uint8), count=size.h * size.w)
            yield Placed(frame.float() / 255, torch.from_numpy(bits.reshape(size.h, size.w)).float())


@contextmanager
def keep(placed: Iterable[Placed], watch: Watch = unwatched) -> Iterator[Kept]:
    """Placed frames written to a temporary file, rounded to 8 bits, so that they need not be made again."""
    masks: list[bytes] = []

    def levels() -> Iterator[torch.Tensor]:
        for frame, mask in placed:
            watch("borrow", 1)
            masks.append(zlib.compress(np.packbits(mask.numpy() > 0).tobytes()))
            yield to_levels(frame)

    with keep_frames(levels()) as source:
        yield Kept(source, masks)


@contextmanager
def keep_frames(frames: Iterable[torch.Tensor]) -> Iterator[Source]:
    """Frames [H, W, 3] uint8 written losslessly to a temporary file, to be read as often as needed."""
    sizes: list[Size] = []

    def passing() -> Iterator[torch.Tensor]:
        for frame in frames:
            sizes.append(Size(*frame.shape[:2]))
            yield frame

    rate = Fraction(25)
    with TemporaryDirectory(prefix="canvas-") as folder:
        path = write_clip(Path(folder) / "frames.mkv", passing(), rate)
        yield Source(path, rate, sizes[0], len(sizes))
