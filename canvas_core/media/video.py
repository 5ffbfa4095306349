"""Reading and writing clips: frame rate and sound are kept, and a file is written whole or not at all."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

from ..atomic_write import write_whole
from ..errors import VideoError
from ..plan.boxes import Size
from .sound import Sound

CODECS = {
    ".mp4": ("libx264", "yuv420p", {"crf": "14", "preset": "medium"}),
    ".mov": ("libx264", "yuv420p", {"crf": "14", "preset": "medium"}),
    ".mkv": ("ffv1", "bgr0", {}),
}
"""Suffix to codec, pixel format and options; .mkv is lossless."""


@dataclass(frozen=True)
class Clip:
    """Frames [F, h, w, 3] uint8 with their rate in frames a second, and the file they came from."""

    frames: torch.Tensor
    rate: Fraction
    path: Path


@dataclass(frozen=True)
class Source:
    """A video that is decoded frame by frame, as often as it is iterated: [h, w, 3] uint8 each."""

    path: Path
    rate: Fraction
    """Frames a second"""
    size: Size
    length: int
    """Frames that are read"""

    def __iter__(self) -> Iterator[torch.Tensor]:
        return islice(_decode(self.path), self.length)


def open_source(path: str | Path, limit: int | None = None) -> Source:
    """The first `limit` frames of a video, or all, to be read later. Every frame is decoded once to count them.

    Raises VideoError when nothing can be decoded, now or when it is read.
    """
    path = Path(path)
    rate = _rate(path)
    length, size = 0, Size(0, 0)
    for frame in islice(_decode(path), limit):
        length, size = length + 1, Size(*frame.shape[:2])
    if not length:
        raise VideoError(f"{path.name} has no frames that can be decoded; convert it to .mp4 first")
    return Source(path, rate, size, length)


def read_clip(path: str | Path, limit: int | None = None) -> Clip:
    """The first `limit` frames of a video, or all. Raises VideoError when nothing can be decoded."""
    path = Path(path)
    rate = _rate(path)
    frames = list(islice(_decode(path), limit))
    if not frames:
        raise VideoError(f"{path.name} has no frames that can be decoded; convert it to .mp4 first")
    return Clip(torch.stack(frames), rate, path)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """The container of a video and its first video stream."""
    if not path.is_file():
        raise VideoError(f"there is no file at {path}; check the name and the folder")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise VideoError(f"{path.name} has no video stream; pick a video file")
            yield container, container.streams.video[0]
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"{path.name} cannot be read as a video ({error}); convert it to .mp4 first") from None


def _rate(path: Path) -> Fraction:
    with _opened(path) as (_, stream):
        return Fraction(stream.average_rate or stream.guessed_rate or 25)


def _decode(path: Path) -> Iterator[torch.Tensor]:
    size = None
    with _opened(path) as (container, stream):
        for frame in container.decode(stream):
            upright = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
            size = size or upright.shape
            if upright.shape != size:
                raise VideoError(
                    f"{path.name} changes its size from {size[1]}x{size[0]} to {upright.shape[1]}x{upright.shape[0]}; convert it to one size first"
                )
            yield torch.from_numpy(upright.copy())


def check_writable(path: str | Path) -> Path:
    """The path, if a video can be written there. Raises VideoError on an unknown suffix or a missing folder."""
    path = Path(path)
    if path.suffix not in CODECS:
        raise VideoError(f"the output is {path.name}, but must end in {', '.join(CODECS)}; .mkv is lossless")
    if not path.parent.is_dir():
        raise VideoError(f"there is no folder {path.parent} to write {path.name} into; create it first")
    return path


def write_clip(path: str | Path, frames: Iterable[torch.Tensor], rate: Fraction, sound: Path | None = None) -> Path:
    """Write frames [H, W, 3] uint8, with the sound of the file `sound` cut to their length.

    Raises VideoError; a failure, a full disk or Ctrl-C leaves no file behind and an older one untouched.
    """
    target = check_writable(path)

    def write(temporary: Path) -> None:
        try:
            _encode(temporary, frames, rate, sound)
        except av.FFmpegError as error:
            raise OSError(error.errno, error.strerror) from None

    write_whole(target, write, VideoError)
    return target


def _encode(path: Path, frames: Iterable[torch.Tensor], rate: Fraction, sound: Path | None) -> None:
    with av.open(str(path), "w") as container:
        iterator = iter(frames)
        first = next(iterator, None)
        if first is None:
            raise VideoError("there are no frames to write; choose at least one frame")
        stream = _add_video(container, path.suffix, rate, first)
        audio = Sound(container, sound, path.suffix) if sound else None
        count = 0
        for frame in chain([first], iterator):
            container.mux(stream.encode(_to_frame(frame, stream.pix_fmt)))
            count += 1
        container.mux(stream.encode())
        if audio:
            audio.write(count / rate)


def _add_video(container: Any, suffix: str, rate: Fraction, first: torch.Tensor) -> Any:
    codec, pixel_format, options = CODECS[suffix]
    stream = container.add_stream(codec, rate=rate, options=options)
    stream.height, stream.width = first.shape[:2]
    stream.pix_fmt = pixel_format
    if pixel_format == "yuv420p":  # untagged files are read with another matrix by some players
        context = stream.codec_context
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
    return stream


def _to_frame(frame: torch.Tensor, pixel_format: str) -> av.VideoFrame:
    image = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame.numpy()), format="rgb24")
    if pixel_format != "yuv420p":
        return image.reformat(format=pixel_format)
    return image.reformat(format=pixel_format, dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)
