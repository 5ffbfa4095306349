"""Clips come back as they were written, with their rate and sound, or are not written at all."""

from contextlib import contextmanager
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from canvas_core.errors import VideoError
from canvas_core.media.video import read_clip, write_clip

RATES = [Fraction(25), Fraction(24000, 1001), Fraction(30000, 1001), Fraction(8), Fraction(60)]
COLOURS = {
    "red": (230, 20, 20),
    "green": (20, 220, 30),
    "blue": (25, 15, 225),
    "yellow": (235, 230, 10),
    "grey": (128, 128, 128),
}


def noise(frames=3, h=26, w=34):
    return torch.randint(0, 256, (frames, h, w, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def smooth(frames=5, h=48, w=80):
    """A slowly moving picture without detail."""
    t, y, x = torch.meshgrid(torch.arange(frames), torch.arange(h), torch.arange(w), indexing="ij")
    waves = [torch.sin(x / 17 + t / 9), torch.cos(y / 13 + x / 31), torch.sin((x + y) / 23 - t / 7)]
    return (torch.stack(waves, dim=-1) * 90 + 128).to(torch.uint8)


def patch(colour, frames=3):
    """A plain patch of one colour on grey."""
    clip = torch.full((frames, 64, 96, 3), 128, dtype=torch.uint8)
    clip[:, 16:48, 32:64] = torch.tensor(colour, dtype=torch.uint8)
    return clip


def psnr(one, other):
    return -10 * torch.log10((one.double() / 255 - other.double() / 255).square().mean()).item()


def tone(sound, seconds, rate):
    """Frames of a 440 Hz tone in the format of an audio stream."""
    wave = np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)
    frame = av.AudioFrame.from_ndarray((wave * 20000).astype(np.int16)[None], format="s16", layout="mono")
    frame.sample_rate = rate
    sound.codec_context.open()
    fitting = av.AudioResampler(sound.format, "mono", rate, sound.codec_context.frame_size or 1024)
    return [*fitting.resample(frame), *fitting.resample(None)]


def write_tone(path, seconds=2.0, codec="aac", rate=44100, picture=True):
    """A file with a tone, and a grey picture unless told otherwise."""
    with av.open(str(path), "w") as container:
        sound = container.add_stream(codec, rate=rate, layout="mono")
        parts = [(sound, frame) for frame in tone(sound, seconds, rate)]
        if picture:
            video = container.add_stream("mpeg4", rate=25, width=64, height=48)
            grey = np.full((48, 64, 3), 99, np.uint8)
            parts += [(video, av.VideoFrame.from_ndarray(grey)) for _ in range(int(25 * seconds))] + [(video, None)]
        for stream, frame in [*parts, (sound, None)]:
            container.mux(stream.encode(frame))
    return path


def read_tone(path):
    """(seconds, loudest frequency in Hz) of a file's sound."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray().astype(np.float64).mean(0) for frame in container.decode(audio=0)]
        rate = container.streams.audio[0].rate
    wave = np.concatenate(frames)
    peak = np.abs(np.fft.rfft(wave)).argmax() * rate / len(wave)
    return len(wave) / rate, peak


def failing(frames, error):
    """Half the frames, then an error."""
    yield from frames[: len(frames) // 2]
    raise error


@contextmanager
def full_disk(limit):
    """No file may grow beyond `limit` bytes."""
    resource = pytest.importorskip("resource")  # limits of a process, which Windows has not
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def assert_nothing_was_written(folder, older):
    assert list(folder.iterdir()) == [older]
    assert older.read_bytes() == b"older bytes"


@pytest.fixture
def older(tmp_path):
    """An empty folder but for an older file."""
    path = tmp_path / "older.mkv"
    path.write_bytes(b"older bytes")
    return path


@pytest.mark.parametrize("size", [(26, 34), (1, 1), (13, 17), (64, 100)])
def test_mkv_is_lossless(tmp_path, size):
    frames = noise(3, *size)
    clip = read_clip(write_clip(tmp_path / "clip.mkv", frames, Fraction(25)))
    assert clip.frames.dtype == torch.uint8
    assert torch.equal(clip.frames, frames)


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_other_containers_are_close(tmp_path, suffix):
    frames = smooth()
    clip = read_clip(write_clip(tmp_path / f"clip{suffix}", frames, Fraction(25)))
    assert clip.frames.shape == frames.shape
    assert psnr(clip.frames, frames) > 30


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("colour", COLOURS.values(), ids=COLOURS)
def test_saturated_colours_come_back(tmp_path, suffix, colour):
    clip = read_clip(write_clip(tmp_path / f"clip{suffix}", patch(colour), Fraction(25)))
    found = clip.frames[:, 20:44, 36:60].double().mean(dim=(0, 1, 2))
    assert (found - torch.tensor(colour)).abs().max() < 12


@pytest.mark.parametrize("colour", COLOURS.values(), ids=COLOURS)
def test_stored_colours_are_bt709_and_say_so(tmp_path, colour):
    path = write_clip(tmp_path / "clip.mp4", patch(colour), Fraction(25))
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        tags = [
            int(tag) for tag in (context.colorspace, context.color_primaries, context.color_trc, context.color_range)
        ]
        planes = next(container.decode(video=0)).to_ndarray(format="yuv420p")
    assert tags == [1, 1, 1, 1]  # BT.709 three times, limited range
    r, g, b = (value / 255 for value in colour)
    luma = 0.2126 * r + 0.7152 * g + 0.0722 * b
    assert abs(planes[24:40, 40:56].mean() - (16 + 219 * luma)) < 3


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("rate", RATES, ids=str)
def test_the_frame_rate_is_kept(tmp_path, suffix, rate):
    path = write_clip(tmp_path / f"clip{suffix}", smooth(7), rate)
    clip = read_clip(path)
    assert (clip.rate, len(clip.frames), clip.path) == (rate, 7, path)
    with av.open(str(path)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert all(abs(time - index / rate) < 2e-3 for index, time in enumerate(times))


@pytest.mark.parametrize("limit", [1, 2, 7, 99])
def test_a_limit_takes_the_first_frames(tmp_path, limit):
    frames = noise(7)
    path = write_clip(tmp_path / "clip.mkv", frames, Fraction(25))
    assert torch.equal(read_clip(path, limit).frames, frames[:limit])


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("frames", [10, 25])
def test_sound_is_kept_and_cut_to_the_length(tmp_path, suffix, frames):
    source = write_tone(tmp_path / "source.mp4")
    path = write_clip(tmp_path / f"clip{suffix}", smooth(frames), Fraction(25), source)
    seconds, peak = read_tone(path)
    assert abs(seconds - frames / 25) < 0.1
    assert abs(peak - 440) < 10
    assert len(read_clip(path).frames) == frames


@pytest.mark.parametrize("codec", ["aac", "libmp3lame", "libopus", "ac3", "alac", "pcm_s16le"])
def test_sound_of_other_codecs_is_kept(tmp_path, codec):
    source = write_tone(tmp_path / "source.mkv", codec=codec, rate=48000)
    seconds, peak = read_tone(write_clip(tmp_path / "clip.mkv", smooth(25), Fraction(25), source))
    assert abs(seconds - 1) < 0.1 and abs(peak - 440) < 10


def test_sound_shorter_than_the_clip_is_kept_whole(tmp_path):
    source = write_tone(tmp_path / "source.mp4", seconds=0.5)
    seconds, _ = read_tone(write_clip(tmp_path / "clip.mkv", smooth(25), Fraction(25), source))
    assert abs(seconds - 0.5) < 0.1


def test_sound_of_a_file_whose_clock_starts_late(tmp_path):
    """MPEG streams start at half a second or more, picture and sound alike."""
    source = write_tone(tmp_path / "source.mpg", codec="mp2", rate=48000)
    path = write_clip(tmp_path / "clip.mkv", smooth(25), Fraction(25), source)
    with av.open(str(path)) as container:
        first = next(container.decode(audio=0)).time
    assert abs(first) < 0.1
    assert abs(read_tone(path)[0] - 1) < 0.1


@pytest.mark.parametrize(
    ("codec", "name"), [("adpcm_ms", "clip.mp4"), ("pcm_mulaw", "clip.mkv"), ("libopus", "clip.mov")]
)
def test_sound_that_the_container_cannot_hold_does_not_lose_the_picture(tmp_path, codec, name):
    source = write_tone(tmp_path / ("source.mkv" if codec == "libopus" else "source.avi"), codec=codec, rate=48000)
    path = write_clip(tmp_path / name, smooth(25), Fraction(25), source)
    assert len(read_clip(path).frames) == 25


def test_a_silent_source_gives_a_silent_clip(tmp_path):
    silent = write_clip(tmp_path / "silent.mkv", noise(), Fraction(25))
    with av.open(str(write_clip(tmp_path / "clip.mkv", noise(), Fraction(25), silent))) as container:
        assert not container.streams.audio


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.mov"])
@pytest.mark.parametrize("content", [b"", b"no video at all\n" * 99, b"\0" * 3000], ids=["empty", "text", "zeros"])
def test_unreadable_files_are_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(VideoError, match=f"{name} cannot be read as a video|{name} has no"):
        read_clip(tmp_path / name)


def test_a_truncated_file_is_refused(tmp_path):
    whole = write_clip(tmp_path / "whole.mp4", smooth(), Fraction(25)).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(VideoError, match=r"cut\.mp4 cannot be read"):
        read_clip(tmp_path / "cut.mp4")


def test_a_file_without_video_is_refused(tmp_path):
    with pytest.raises(VideoError, match=r"tone\.mp4 has no video stream"):
        read_clip(write_tone(tmp_path / "tone.mp4", picture=False))


@pytest.mark.parametrize("name", ["missing.mp4", "."])
def test_a_missing_file_is_refused(tmp_path, name):
    with pytest.raises(VideoError, match="there is no file at"):
        read_clip(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "message"),
    [("clip.avi", "must end in .mp4, .mov, .mkv"), ("clip", "must end in"), ("missing/clip.mkv", "there is no folder")],
)
def test_outputs_that_cannot_be_are_refused_before_the_first_frame(tmp_path, name, message):
    frames = iter(noise())
    with pytest.raises(VideoError, match=message):
        write_clip(tmp_path / name, frames, Fraction(25))
    assert len(list(frames)) == 3 and not list(tmp_path.iterdir())


def test_no_frames_are_refused(tmp_path, older):
    with pytest.raises(VideoError, match="no frames to write"):
        write_clip(older, [], Fraction(25))
    assert_nothing_was_written(tmp_path, older)


@pytest.mark.parametrize("name", ["older.mkv", "newer.mp4", "newer.mkv"])
@pytest.mark.parametrize(
    "error", [RuntimeError("network"), KeyboardInterrupt(), VideoError("refused"), MemoryError()], ids=repr
)
@pytest.mark.parametrize("frames", [1, 30])
def test_an_interrupted_clip_leaves_nothing(tmp_path, older, name, error, frames):
    with pytest.raises(type(error)):
        write_clip(tmp_path / name, failing(smooth(frames), error), Fraction(25))
    assert_nothing_was_written(tmp_path, older)


def test_an_interrupted_clip_with_sound_leaves_nothing(tmp_path_factory, tmp_path, older):
    source = write_tone(tmp_path_factory.mktemp("tone") / "source.mp4")
    with pytest.raises(KeyboardInterrupt):
        write_clip(older, failing(smooth(30), KeyboardInterrupt()), Fraction(25), source)
    assert_nothing_was_written(tmp_path, older)


@pytest.mark.parametrize("name", ["older.mkv", "newer.mp4", "newer.mov", "newer.mkv"])
@pytest.mark.parametrize("limit", [0, 100, 20_000])
def test_a_full_disk_leaves_nothing(tmp_path, older, name, limit):
    with pytest.raises(VideoError, match=f"writing {name} failed .*; free some disk space"), full_disk(limit):
        write_clip(tmp_path / name, noise(9, 128, 160), Fraction(25))
    assert_nothing_was_written(tmp_path, older)


def test_a_folder_in_the_way_is_an_error_and_nothing_is_left(tmp_path):
    (tmp_path / "clip.mkv").mkdir()
    with pytest.raises(VideoError, match=r"clip\.mkv"):
        write_clip(tmp_path / "clip.mkv", noise(), Fraction(25))
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mkv"]


def test_an_older_file_is_replaced_whole(tmp_path, older):
    write_clip(older, noise(), Fraction(25))
    assert torch.equal(read_clip(older).frames, noise())
    assert list(tmp_path.iterdir()) == [older]


def test_a_clip_can_be_written_over_its_own_source(tmp_path):
    path = write_tone(tmp_path / "clip.mp4", seconds=1.0)
    clip = read_clip(path)
    write_clip(path, clip.frames, clip.rate, path)
    assert len(read_clip(path).frames) == 25
    assert abs(read_tone(path)[1] - 440) < 10
