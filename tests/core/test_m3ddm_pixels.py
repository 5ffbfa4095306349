"""The pictures that M3DDM is told of, against the obvious way to make them."""

import torch

from canvas_core.pixels.fill import fill_hidden
from canvas_core.systems.m3ddm.global_frames import global_frames, stretch
from canvas_core.systems.m3ddm.pixels import global_pixels, known_pixels, start_pixels

FRAMES, H, W = 3, 13, 17


def levels(count=FRAMES):
    return torch.randint(256, (count, H, W, 3), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)


def hidden():
    """Left columns, more of them from frame to frame; one pixel is hidden slightly."""
    mask = torch.zeros(FRAMES, H, W)
    for index in range(FRAMES):
        mask[index, :, : 4 + index] = 1
    mask[1, 5, 12] = 0.2
    return mask


def test_whatever_is_hidden_is_black_however_slightly():
    frames = levels().float() / 255 + 0.01
    expected = frames.clone()
    expected[hidden() > 0] = 0
    assert torch.equal(known_pixels(frames, hidden()), expected)


def test_the_start_is_filled_by_telea_and_reports():
    frames, told = levels().float() / 255, []
    start = start_pixels(frames, hidden(), lambda *done: told.append(done))
    assert torch.equal(start, fill_hidden(frames, hidden(), "telea"))
    assert torch.equal(start[hidden() == 0], frames[hidden() == 0])
    assert told == [("fill", index + 1, FRAMES) for index in range(FRAMES)]


def test_global_frames_are_those_of_an_8_bit_video():
    video = levels(40)
    expected = torch.cat([stretch(video[index].float() / 255) for index in global_frames(40)])
    assert torch.equal(global_pixels(video.float() / 255), expected)
