"""Fills of the hidden area: known pixels stay, every side and shape of mask works, and the cone is its definition."""

import numpy as np
import pytest
import torch

from canvas_core.errors import GeometryError
from canvas_core.pixels.fill import FILLS, fill_hidden
from canvas_core.pixels.placing import generation_mask
from canvas_core.pixels.propagation import propagate
from canvas_core.plan.boxes import Box, Size
from canvas_core.progress import unwatched

SIZE = Size(37, 53)
SHAPES = {
    "all sides": Box(9, 11, 17, 21),
    "left": Box(0, 13, 37, 40),
    "right and bottom": Box(0, 0, 25, 31),
    "thin source": Box(17, 0, 3, 53),
}


def waves(frames=3, size=SIZE):
    """Slow waves, values 0.2 to 0.8."""
    t, y, x = torch.meshgrid(torch.arange(frames), torch.arange(size.h), torch.arange(size.w), indexing="ij")
    planes = [torch.sin(x / 7 + t / 5), torch.cos(y / 6 + x / 13), torch.sin((x + y) / 9 - t / 4)]
    return torch.stack(planes, dim=-1) * 0.3 + 0.5


def holes(frames=3, seed=0):
    """Blobs that differ from frame to frame, about half hidden."""
    noise = torch.rand(frames, 1, *SIZE, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.avg_pool2d(noise, 9, 1, 4)[:, 0]
    return (smooth > smooth.median()).float()


def boxed(box, frames=3):
    return generation_mask(SIZE, box).expand(frames, *SIZE)


MASKS = {name: boxed(box) for name, box in SHAPES.items()} | {"blobs": holes()}


@pytest.mark.parametrize("how", FILLS)
@pytest.mark.parametrize("shape", MASKS)
def test_known_pixels_stay_and_hidden_ones_do_not_count(how, shape):
    frames, mask = waves(), MASKS[shape]
    filled = fill_hidden(frames, mask, how)
    assert torch.equal(filled[mask == 0], frames[mask == 0])
    assert filled.isfinite().all() and filled.min() >= 0 and filled.max() <= 1
    elsewhere = torch.where(mask[..., None] > 0, torch.rand(frames.shape), frames)
    assert torch.allclose(fill_hidden(elsewhere, mask, how), filled, atol=1e-5)


@pytest.mark.parametrize("how", [how for how in FILLS if how != "grey"])
def test_a_plain_colour_is_continued(how):
    colour = torch.tensor([0.2, 0.6, 0.9])
    frames = colour.expand(2, *SIZE, 3)
    tolerance = 0.02 if how == "telea" else 1e-5  # OpenCV rounds to 8 bits at every pixel it carries on
    assert torch.allclose(fill_hidden(frames, holes(2), how), frames, atol=tolerance)


def slow_cone(columns, width):
    """The definition: a border column [H, 3] carried `width` pixels outward -> [H, width, 3] without the known mean."""
    h = len(columns)
    rows = np.arange(-400, h + 400)
    padded = columns[rows.clip(0, h - 1)]
    out = np.empty((h, width, 3))
    for d in range(1, width + 1):
        weights = np.exp(-((rows[None] - np.arange(h)[:, None]) ** 2) / (2 * (0.6 + 0.4 * d) ** 2))
        out[:, d - 1] = weights @ padded / weights.sum(1, keepdims=True)
    return out


def test_cone_is_the_border_column_blurred_along_itself():
    frames, known = waves(1, Size(61, 90)), 43
    mask = generation_mask(Size(61, 90), Box(0, 0, 61, known))[None]
    blurred = slow_cone(frames[0, :, known - 1].double().numpy(), 90 - known)
    weight = np.exp(-np.arange(1, 91 - known) / 150)[None, :, None]
    expected = blurred * weight + frames[0, :, :known].mean((0, 1)).numpy() * (1 - weight)
    assert np.abs(fill_hidden(frames, mask, "cone")[0, :, known:].numpy() - expected).max() < 0.03


def test_edge_takes_the_nearest_known_pixel():
    frames, mask = waves(1), holes(1)
    filled, known = fill_hidden(frames, mask, "edge")[0], (mask[0] == 0).nonzero()
    for y, x in (mask[0] == 1).nonzero()[::37].tolist():
        distance = (known - torch.tensor([y, x])).double().norm(dim=1)
        close = known[distance <= distance.min() * 1.05 + 0.01]  # the transform measures in steps of 5 x 5
        assert (frames[0, close[:, 0], close[:, 1]] == filled[y, x]).all(-1).any()


def test_detail_is_mirrored_at_the_border():
    frames = torch.rand(1, *SIZE, 3, generator=torch.Generator().manual_seed(1)) * 0.4 + 0.3
    mask = generation_mask(SIZE, Box(0, 0, 37, 29))[None]
    detail = (fill_hidden(frames, mask, "cone + detail") - fill_hidden(frames, mask, "cone"))[0, :, 29:]
    mirrored = frames[0, :, 28 - detail.shape[1] : 28].flip(1)
    assert torch.corrcoef(torch.stack([detail.flatten(), mirrored.flatten()]))[0, 1] > 0.9


def test_a_frame_without_known_pixels_takes_the_nearest_one():
    frames, mask = waves(5), boxed(SHAPES["left"], 5).clone()
    mask[[0, 1, 4]] = 1
    filled = fill_hidden(frames, mask, "cone")
    for index, source in enumerate([2, 2, 2, 3, 3]):
        assert torch.equal(filled[index], filled[source])
    assert torch.equal(filled[2:4], fill_hidden(frames[2:4], mask[2:4], "cone"))


def test_nothing_hidden_changes_nothing():
    frames = waves()
    assert torch.equal(fill_hidden(frames, torch.zeros(frames.shape[:3]), "cone"), frames)


@pytest.mark.parametrize(
    ("frames", "mask", "how", "words"),
    [
        (waves(), holes(), "magic", "one of grey, edge"),
        (waves(), holes(2), "cone", "one mask per frame"),
        (waves()[..., :2], holes(), "cone", "RGB"),
        (waves(), torch.ones(3, *SIZE), "cone", "every pixel"),
    ],
)
def test_refusals_say_what_is_needed(frames, mask, how, words):
    with pytest.raises(GeometryError, match=words):
        fill_hidden(frames, mask, how)


WORKS = {
    "fill": (lambda frames, mask, watch: fill_hidden(frames, mask, watch=watch), 5),
    "borrow": (propagate, 10),
}


@pytest.mark.parametrize(("stage", "work", "total"), [(stage, *work) for stage, work in WORKS.items()], ids=WORKS)
def test_long_work_reports_and_can_be_stopped(stage, work, total):
    frames, mask, said = torch.rand(5, 40, 48, 3), torch.zeros(5, 40, 48), []
    mask[..., :9] = 1
    done = work(frames, mask, lambda *told: said.append(told))
    assert said == [(stage, count + 1, total) for count in range(total)]
    assert all(torch.equal(*pair) for pair in zip(listed(done), listed(work(frames, mask, unwatched)), strict=True))

    def stop(stage, done, total):
        seen.append(done)
        if done > 0.3 * total:
            raise KeyboardInterrupt

    seen = []
    with pytest.raises(KeyboardInterrupt):
        work(frames, mask, stop)
    assert seen[-1] <= 0.3 * total + 1


def listed(result):
    return result if isinstance(result, tuple) else [result]


def test_frames_that_hide_nothing_count_too():
    said = []
    frames = torch.rand(3, 12, 14, 3)
    mask = torch.zeros(3, 12, 14)
    mask[1, :, :4] = 1
    fill_hidden(frames, mask, watch=lambda *told: said.append(told))
    assert said[-1] == ("fill", 3, 3)
