"""Placed frames as a stream: the same as all of them at once, read as often as needed, and nothing left behind."""

import pytest
import torch

from canvas_core.pixels import placed as placed_video
from canvas_core.pixels.placed import OnCanvas, Placed, batches, borrow, stack_placed
from canvas_core.pixels.placing import GREY, generation_mask, place_source
from canvas_core.pixels.propagation import propagate
from canvas_core.pixels.store import keep, keep_frames
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


def test_frames_are_placed_as_all_at_once_and_again():
    stream = OnCanvas(panning(5), CANVAS)
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


def test_borrowing_by_chunks_is_borrowing(monkeypatch):
    frames, masks = propagate(*whole(panning(9)))
    found = stack_placed(list(borrow(OnCanvas(panning(9), CANVAS))))
    assert torch.equal(found[0], frames) and torch.equal(found[1], masks)
    monkeypatch.setattr(placed_video, "CHUNK", 2)
    chunked, kept = stack_placed(list(borrow(OnCanvas(panning(9), CANVAS))))
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


def test_kept_frames_come_back_as_often_as_needed_and_leave_no_file():
    frames, masks = propagate(*whole(panning(5)))
    told = []
    stream = (Placed(*pair) for pair in zip(frames, masks, strict=True))
    with keep(stream, lambda stage, units: told.append((stage, units))) as kept:
        folder = kept.source.path.parent
        for _ in range(2):
            again = stack_placed(list(kept))
            assert (again[0] - frames).abs().max() <= 0.5 / 255 + 1e-6
            assert torch.equal(again[1], masks)
    assert told == [("borrow", 1)] * 5
    assert not folder.exists()


def test_no_file_is_left_when_the_work_stops(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def stopping():
        yield torch.zeros(8, 8, 3, dtype=torch.uint8)
        assert list(tmp_path.iterdir())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), keep_frames(stopping()):
        raise AssertionError("nothing was written")
    assert not list(tmp_path.iterdir())


def test_batches_hold_everything_once():
    assert list(batches(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(batches([], 3)) == []
