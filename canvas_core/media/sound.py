"""The sound of a source clip, put under the frames of a result: copied where the container takes it, else encoded as AAC."""

from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

COPIED = {
    ".mp4": ("aac", "mp3", "ac3", "eac3", "alac"),
    ".mov": ("aac", "mp3", "ac3", "alac", "pcm_s16le", "pcm_s24le"),
    ".mkv": ("aac", "mp3", "ac3", "eac3", "alac", "opus", "vorbis", "flac", "pcm_s16le", "pcm_s24le"),
}
"""Suffix of the result to codecs that players expect in it."""


class Sound:
    """The first audio stream of a file, on its way into `container`. Its clock is that of the file's first video frame."""

    def __init__(self, container: Any, path: Path, suffix: str):
        self.container = container
        self.source = av.open(str(path))
        self.stream: Any = self.source.streams.audio[0] if self.source.streams.audio else None
        if self.stream is None:
            return
        video = self.source.streams.video[0] if self.source.streams.video else self.stream
        self.begin = (video.start_time or 0) * Fraction(video.time_base)
        self.copied = self.stream.codec_context.name in COPIED[suffix]
        if self.copied:
            self.target = container.add_stream_from_template(self.stream)
        else:
            self.target = container.add_stream("aac", rate=self.stream.rate)

    def write(self, seconds: Fraction) -> None:
        """Mux the sound up to `seconds` after the first video frame, and close the file."""
        with closing(self.source):
            if self.stream is None:
                return
            for packet in self._copy(seconds) if self.copied else self._encode(seconds):
                self.container.mux(packet)

    def _copy(self, seconds: Fraction) -> Iterator[Any]:
        begin = round(self.begin / self.stream.time_base)
        for packet in self.source.demux(self.stream):
            if packet.dts is None or not 0 <= (packet.pts - begin) * self.stream.time_base < seconds:
                continue
            packet.pts, packet.dts = packet.pts - begin, packet.dts - begin
            packet.stream = self.target
            yield packet

    def _encode(self, seconds: Fraction) -> Iterator[Any]:
        resampler = av.AudioResampler(format="fltp", layout=self.target.layout, rate=self.target.rate)
        for frame in self.source.decode(self.stream):
            start = frame.pts * Fraction(frame.time_base) - self.begin
            if not 0 <= start < seconds:
                continue
            frame.pts = round(start / Fraction(frame.time_base))
            for resampled in resampler.resample(frame):
                yield from self.target.encode(resampled)
        yield from self.target.encode()
