"""Finished and placed frames that wait: in a lossless temporary file, read as often as needed."""

import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from ..media.video import Source, write_clip
from ..plan.boxes import Size
from ..progress import Watch, unwatched
from .eight_bit import to_levels
from .placed import Placed


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
