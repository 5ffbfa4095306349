"""Placed frames as a stream: the same as all of them at once, read as often as needed, and nothing left behind."""

import pytest
import torch

from canvas_core.errors import SamplingError
from canvas_core.pixels import placed as placed_video
from canvas_core.pixels.eight_bit import FromLevels
from canvas_core.pixels.placed import OnCanvas, Placed, PlacedVideo, batches, borrow, read_together, stack_placed
from canvas_core.pixels.placing import GREY, generation_mask, place_source
from canvas_core.pixels.propagation import propagate
from canvas_core.pixels.store import CHUNK, IN_MEMORY, ON_DISK, OnDisk
from canvas_core.plan.boxes import Size
from canvas_core.plan.canvas import Pads, canvas_of_pads

SIZE = Size(61, 79)
CANVAS = canvas_of_pads(SIZE, Pads(24, 0, 13, 3))


def panning(frames):
    """A picture that passes by, 4 pixels a frame, [F, *SIZE, 3] uint8."""
    noise = torch.rand(1, 3, SIZE.h, SIZE.w + 4 * frames, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.avg_pool2d(noise, 5, 1, 2)[0].permute(1, 2, 0)
    picture = ((smooth - smooth.mean()) * 3 + 0.5).clamp(0.05, 0.95)
    frames = [picture[:, 4 * t : 4 * t + SIZE.w] for t in range(frames)]
    return (torch.stack(frames) * 255).round().to(torch.uint8)


def whole(frames):
    """All frames on the canvas at once, and their masks."""
    mask = generation_mask(CANVAS.size, CANVAS.source).expand(len(frames), -1, -1)
    return place_source(frames.float() / 255, CANVAS.size, CANVAS.source, GREY), mask


def on_canvas(frames):
    return OnCanvas(FromLevels(panning(frames)), CANVAS)


def test_frames_are_placed_as_all_at_once_and_again():
    stream = on_canvas(5)
    for _ in range(2):
        frames, masks = stack_placed(list(stream))
        expected, mask = whole(panning(5))
        assert torch.equal(frames, expected) and torch.equal(masks, mask)


@pytest.mark.parametrize("length", range(12))
@pytest.mark.parametrize(("count", "halo"), [(1, 0), (1, 2), (3, 1), (3, 5), (20, 4)])
def test_every_item_is_worked_on_once_with_its_neighbours(length, count, halo):
    seen = []
    for run, middle in placed_video._with_halo(range(length), count, halo):
        assert len(run) <= count + 2 * halo + count
        items = [run[index] for index in middle]
        assert run[: middle.start] == list(range(max(items[0] - halo, 0), items[0]))
        wanted = list(range(items[-1] + 1, min(items[-1] + 1 + halo, length)))
        assert run[middle.stop : middle.stop + halo] == wanted
        seen += items
    assert seen == list(range(length))


def test_borrowing_by_chunks_is_borrowing():
    frames, masks = propagate(*whole(panning(9)))
    for chunk in (None, 9, CHUNK):
        found = stack_placed(list(borrow(on_canvas(9), chunk)))
        assert torch.equal(found[0], frames) and torch.equal(found[1], masks)
    chunked, kept = stack_placed(list(borrow(on_canvas(9), 2)))
    assert (kept == masks).float().mean() > 0.98
    both = (kept == 0) & (masks == 0)
    assert (chunked - frames)[both].abs().max() < 0.02


def test_only_wanted_frames_borrow():
    frames, masks = whole(panning(6))
    every, one = propagate(frames, masks), propagate(frames, masks, wanted=range(2, 3))
    assert torch.equal(one[0][2], every[0][2]) and torch.equal(one[1][2], every[1][2])
    assert (one[1][2] < masks[2]).any()
    others = [0, 1, 3, 4, 5]
    assert torch.equal(one[0][others], frames[others]) and torch.equal(one[1][others], masks[others])


def test_kept_placed_frames_come_back_as_often_as_needed_and_leave_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    frames, masks = propagate(*whole(panning(5)))
    with ON_DISK.keep_placed(Placed(*pair) for pair in zip(frames, masks, strict=True)) as kept:
        assert list(tmp_path.iterdir())
        for _ in range(2):
            again = stack_placed(list(kept))
            assert (again[0] - frames).abs().max() <= 0.5 / 255 + 1e-6
            assert torch.equal(again[1], masks)
    assert not list(tmp_path.iterdir())


def test_kept_frames_of_8_bits_come_back_as_they_were(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    frames = panning(5).float() / 255
    with ON_DISK.keep(iter(frames)) as kept:
        assert list(tmp_path.iterdir())
        for _ in range(2):
            assert torch.equal(torch.stack(list(kept)), frames)
    assert not list(tmp_path.iterdir())


def test_frames_in_memory_are_the_same_ones(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    frames, masks = propagate(*whole(panning(3)))
    placed = [Placed(*pair) for pair in zip(frames, masks, strict=True)]
    with IN_MEMORY.keep(iter(frames)) as kept, IN_MEMORY.keep_placed(iter(placed)) as kept_placed:
        for _ in range(2):
            assert torch.equal(torch.stack(list(kept)), frames)
            assert all(one is other for one, other in zip(kept_placed, placed, strict=True))
        assert not list(tmp_path.iterdir())


def test_a_store_holds_everything_or_a_chunk():
    assert IN_MEMORY.chunk is None and ON_DISK.chunk == CHUNK and OnDisk(chunk=7).chunk == 7


def test_no_file_is_left_when_the_work_stops(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def stopping():
        yield torch.zeros(8, 8, 3)
        assert list(tmp_path.iterdir())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), ON_DISK.keep(stopping()):
        raise AssertionError("nothing was written")
    assert not list(tmp_path.iterdir())


def test_batches_hold_everything_once():
    assert list(batches(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(batches([], 3)) == []


@pytest.mark.parametrize("count", [1, 3, 16])
def test_a_video_is_read_together_with_its_placed_frames(count):
    source, placed = FromLevels(panning(7)), on_canvas(7)
    firsts, frames, pairs = zip(*read_together(PlacedVideo(source, placed, CANVAS, 24.0), 7, count), strict=True)
    assert firsts == tuple(range(0, 7, count))
    assert torch.equal(torch.cat(frames), panning(7).float() / 255)
    found, expected = stack_placed([one for some in pairs for one in some]), stack_placed(list(placed))
    assert all(torch.equal(*both) for both in zip(found, expected, strict=True))


@pytest.mark.parametrize(("length", "has"), [(6, "has more"), (8, "has 7")])
@pytest.mark.parametrize("count", [1, 3, 16])
def test_a_video_of_another_length_is_refused(length, has, count):
    video = PlacedVideo(FromLevels(panning(7)), on_canvas(7), CANVAS, 24.0)
    with pytest.raises(SamplingError, match=f"plan was made for {length} frames, but the video {has}"):
        list(read_together(video, length, count))
