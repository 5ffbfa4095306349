"""Where frames wait that are needed again: in memory as they are, or in a lossless temporary file, a chunk at a time."""

import zlib
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import numpy as np
import torch

from ..media.video import Source, write_clip
from ..plan.boxes import Size
from .eight_bit import FromLevels, from_levels, to_levels
from .placed import Frames, Placed, PlacedFrames

CHUNK = 64
"""Frames whose pixels are held and worked on together."""


class Store(Protocol):
    """Keeps what is read more than once."""

    @property
    def chunk(self) -> int | None:
        """Frames whose pixels are held and worked on together; None for all."""

    def keep(self, frames: Iterable[torch.Tensor]) -> AbstractContextManager[Frames]:
        """Frames [H, W, 3] 0..1, read once."""

    def keep_placed(self, placed: Iterable[Placed]) -> AbstractContextManager[PlacedFrames]:
        """Placed frames, read once."""


@dataclass(frozen=True)
class InMemory:
    """Holds frames as they are."""

    chunk: int | None = None

    def keep(self, frames: Iterable[torch.Tensor]) -> AbstractContextManager[Frames]:
        return nullcontext(list(frames))

    def keep_placed(self, placed: Iterable[Placed]) -> AbstractContextManager[PlacedFrames]:
        return nullcontext(list(placed))


@dataclass(frozen=True)
class OnDisk:
    """Holds a chunk of frames; the others wait in a lossless file, rounded to 8 bits."""

    chunk: int | None = CHUNK

    @contextmanager
    def keep(self, frames: Iterable[torch.Tensor]) -> Iterator[Frames]:
        with _keep_levels(to_levels(frame) for frame in frames) as source:
            yield FromLevels(source)

    @contextmanager
    def keep_placed(self, placed: Iterable[Placed]) -> Iterator[PlacedFrames]:
        masks: list[bytes] = []

        def levels() -> Iterator[torch.Tensor]:
            for frame, mask in placed:
                masks.append(zlib.compress(np.packbits(mask.numpy() > 0).tobytes()))
                yield to_levels(frame)

        with _keep_levels(levels()) as source:
            yield _Kept(source, masks)


IN_MEMORY, ON_DISK = InMemory(), OnDisk()


@dataclass(frozen=True)
class _Kept:
    """Placed frames in a lossless file, their masks packed in memory."""

    source: Source
    masks: list[bytes]

    def __iter__(self) -> Iterator[Placed]:
        size = self.source.size
        for frame, packed in zip(self.source, self.masks, strict=True):
            bits = np.unpackbits(np.frombuffer(zlib.decompress(packed), np.uint8), count=size.h * size.w)
            yield Placed(from_levels(frame), torch.from_numpy(bits.reshape(size.h, size.w)).float())


@contextmanager
def _keep_levels(frames: Iterable[torch.Tensor]) -> Iterator[Source]:
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
