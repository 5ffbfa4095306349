"""Window plans cover everything, weights are what they say, and fusion is a weighted mean."""

import math
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from canvas_core.errors import GeometryError
from canvas_core.plan.boxes import Box, Size
from canvas_core.plan.windows import (
    PLANNERS,
    VARIANCE,
    WEIGHTS,
    WindowSettings,
    centred_weights,
    even_starts,
    frame_weights,
    official_starts,
    official_weights,
    plan_frames,
    shares,
)
from canvas_core.sampling.fusion import fuse_frames, fuse_windows

lengths = st.integers(1, 300)


@st.composite
def windows_and_overlaps(draw):
    window = draw(st.integers(2, 70))
    return window, draw(st.integers(0, window - 1))


@st.composite
def settings(draw):
    window = Size(8 * draw(st.integers(2, 12)), 8 * draw(st.integers(2, 12)))
    overlap = draw(st.integers(0, min(window) - 8))
    return WindowSettings(window, overlap, draw(st.sampled_from(list(PLANNERS))), draw(st.sampled_from(list(WEIGHTS))))


small = st.builds(Size, st.integers(1, 40), st.integers(1, 40))


def fewest_windows(length, window, overlap):
    """Lay windows end to end with exactly the asked overlap until the length is reached."""
    count, reached = 1, window
    while reached < length:
        count, reached = count + 1, reached + window - overlap
    return count


def slow_gaussian(length, centre):
    return [
        math.exp(-(((i - centre) / length) ** 2) / (2 * VARIANCE)) / math.sqrt(2 * math.pi * VARIANCE)
        for i in range(length)
    ]


def pieces(plan, seed=0):
    """One random piece [2, h, w] for each window of a plan."""
    generator = torch.Generator().manual_seed(seed)
    return [(box, torch.randn(2, *box.size, generator=generator)) for box in plan.windows]


def slow_fusion(parts, weights, size):
    """The weighted mean, cell by cell."""
    out = torch.zeros(2, *size, dtype=torch.float64)
    for y in range(size.h):
        for x in range(size.w):
            seen = [
                (piece[:, y - b.y, x - b.x], weights[y - b.y, x - b.x])
                for b, piece in parts
                if Box(y, x, 1, 1).inside(b)
            ]
            total = sum(weight.double() for _, weight in seen)
            out[:, y, x] = sum(value.double() * weight.double() for value, weight in seen) / total
    return out


@given(lengths, windows_and_overlaps(), st.sampled_from(list(PLANNERS)))
def test_starts_cover_everything_and_stay_inside(length, sizes, planner):
    window, overlap = sizes
    starts = PLANNERS[planner](length, window, overlap)
    reach = min(window, length)
    assert {i for start in starts for i in range(start, start + reach)} == set(range(length))
    assert starts == sorted(set(starts))


@given(lengths, windows_and_overlaps())
def test_even_starts_keep_the_overlap_with_the_fewest_windows(length, sizes):
    window, overlap = sizes
    starts = even_starts(length, window, overlap)
    gaps = [after - before for before, after in zip(starts, starts[1:], strict=False)]
    assert all(window - gap >= overlap for gap in gaps)
    assert not gaps or max(gaps) - min(gaps) <= 1
    assert len(starts) == fewest_windows(length, window, overlap)


@given(lengths, windows_and_overlaps(), st.integers(0, 99))
def test_official_starts_overlap_a_quarter_and_clamp_the_last(length, sizes, ignored):
    window, overlap = sizes
    starts = official_starts(length, window, overlap)
    assert starts == official_starts(length, window, ignored)
    assert starts[-1] == max(0, length - window)
    assert starts[:-1] == [i * (window - window // 4) for i in range(len(starts) - 1)]


@given(settings(), small)
def test_a_plan_covers_every_cell(chosen, size):
    plan = chosen.plan(size)
    seen = torch.zeros(tuple(size))
    for box in plan.windows:
        assert box.inside(size)
        box.crop(seen).add_(1)
    assert seen.min() >= 1
    assert len(plan) == len(set(plan.windows))


@given(settings(), small)
def test_windows_larger_than_the_canvas_are_clipped_to_it(chosen, size):
    window = chosen.plan(size).windows[0].size
    assert window == Size(min(chosen.sides.h // 8, size.h), min(chosen.sides.w // 8, size.w))
    assert {box.size for box in chosen.plan(size).windows} == {window}


def test_a_plan_can_have_another_cell():
    assert WindowSettings(64, 16).plan(Size(13, 17), cell=16) == WindowSettings(32, 8).plan(Size(13, 17), cell=8)


def test_a_window_smaller_than_a_cell_is_refused():
    with pytest.raises(GeometryError, match="one latent cell of this model is 32 px"):
        WindowSettings(24, 8).plan(Size(13, 17), cell=32)


def test_windows_run_down_the_columns():
    boxes = WindowSettings(64, 0).plan(Size(13, 17)).windows
    assert [(box.x, box.y) for box in boxes] == sorted((box.x, box.y) for box in boxes)
    assert len(boxes) == 2 * 3


@given(st.builds(Size, st.integers(1, 70), st.integers(1, 70)))
def test_centred_weights_are_symmetric_positive_and_float32(size):
    weights = centred_weights(size)
    assert weights.dtype == torch.float32
    assert weights.shape == tuple(size)
    assert weights.min() > 0
    assert torch.allclose(weights, weights.flip(0), rtol=1e-6, atol=0)
    assert torch.allclose(weights, weights.flip(1), rtol=1e-6, atol=0)


@pytest.mark.parametrize("make", WEIGHTS.values(), ids=WEIGHTS)
def test_weights_are_the_published_formula(make):
    centre = 13 / 2 if make is official_weights else 6
    exact = [[y * x for x in slow_gaussian(17, 8)] for y in slow_gaussian(13, centre)]
    assert torch.allclose(make(Size(13, 17)).double(), torch.tensor(exact, dtype=torch.float64), rtol=1e-6)


@given(st.integers(1, 70))
def test_frame_weights_are_symmetric_positive_and_float32(frames):
    weights = frame_weights(frames)
    assert weights.dtype == torch.float32
    assert weights.min() > 0
    assert torch.allclose(weights, weights.flip(0), rtol=1e-6, atol=0)
    assert torch.allclose(weights.double(), torch.tensor(slow_gaussian(frames, (frames - 1) / 2)).double(), rtol=1e-5)


@given(lengths, windows_and_overlaps())
def test_time_windows_cover_every_frame(total, sizes):
    window, overlap = sizes
    spans = plan_frames(total, window, overlap)
    assert {frame for span in spans for frame in span} == set(range(total))
    assert {len(span) for span in spans} == {min(window, total)}
    shared = [before.stop - after.start for before, after in zip(spans, spans[1:], strict=False)]
    assert all(share >= overlap for share in shared) and all(share == overlap for share in shared[:-1])
    assert len(spans) == fewest_windows(total, window, overlap)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_fusion_is_the_weighted_mean_of_each_cell(weights):
    chosen = WindowSettings(Size(40, 56), 16, weights=weights)
    plan = chosen.plan(Size(13, 17))
    parts, weigh = pieces(plan), chosen.weigh(plan.windows[0].size)
    fused = fuse_windows(parts, weigh, Size(13, 17))
    assert (fused - slow_fusion(parts, weigh, plan.size)).abs().max() < 1e-6


@given(settings(), small, st.randoms(use_true_random=False))
def test_shares_are_what_fusion_takes_of_a_window(chosen, size, draw):
    plan = chosen.plan(size)
    parts = shares(plan, chosen)
    assert list(parts) == list(dict.fromkeys(plan.windows))
    assert (torch.stack(list(parts.values())).sum(0) - 1).abs().max() < 1e-6
    box, share = draw.choice(list(parts.items()))
    crops = [(each, torch.full(tuple(each.size), float(each == box))) for each in parts]
    fused = fuse_windows(crops, chosen.weigh(box.size), size)
    assert share.dtype == torch.float32 and (share - fused).abs().max() < 1e-6


@given(settings(), small, st.randoms(use_true_random=False))
def test_the_order_of_windows_does_not_matter(chosen, size, draw):
    plan = chosen.plan(size)
    parts, weights = pieces(plan), chosen.weigh(plan.windows[0].size)
    shuffled = draw.sample(parts, len(parts))
    one, other = (fuse_windows(order, weights, size) for order in (parts, shuffled))
    assert (one - other).abs().max() < 1e-5 * max(1, one.abs().max())


def test_a_shuffled_plan_of_a_large_canvas_fuses_alike():
    chosen = WindowSettings(128, 64)
    plan = chosen.plan(Size(61, 83))
    parts, weights = pieces(plan), chosen.weigh(plan.windows[0].size)
    shuffled = random.Random(1).sample(parts, len(parts))
    one, other = (fuse_windows(order, weights, Size(61, 83)) for order in (parts, shuffled))
    assert one.shape == (2, 61, 83) and (one - other).abs().max() < 1e-6


@given(settings(), small)
def test_fusing_crops_of_a_picture_gives_it_back(chosen, size):
    picture = torch.randn(3, *size, generator=torch.Generator().manual_seed(0))
    plan = chosen.plan(size)
    parts = [(box, box.crop(picture)) for box in plan.windows]
    fused = fuse_windows(iter(parts), chosen.weigh(plan.windows[0].size), Size(*picture.shape[-2:]))
    assert torch.allclose(fused, picture, rtol=1e-5, atol=1e-6)


@given(st.integers(1, 60), windows_and_overlaps())
def test_fusing_spans_of_a_clip_gives_it_back(total, sizes):
    clip = torch.randn(total, 2, 3, generator=torch.Generator().manual_seed(0))
    parts = [(span, clip[span.start : span.stop]) for span in plan_frames(total, *sizes)]
    fused = fuse_frames(parts, frame_weights(len(parts[0][0])), len(clip))
    assert torch.allclose(fused, clip, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("order", [1, -1])
def test_frame_fusion_is_the_weighted_mean_of_each_frame(order):
    spans, weights = plan_frames(17, 7, 3), frame_weights(7)
    parts = [(span, torch.randn(7, 2, 3, generator=torch.Generator().manual_seed(span.start))) for span in spans]
    fused = fuse_frames(parts[::order], weights, 17)
    for frame in range(17):
        seen = [(piece[frame - span.start], weights[frame - span.start]) for span, piece in parts if frame in span]
        mean = sum(value * weight for value, weight in seen) / sum(weight for _, weight in seen)
        assert torch.allclose(fused[frame], mean, atol=1e-6)


def test_default_settings_are_the_published_ones():
    chosen = WindowSettings()
    assert (chosen.sides, chosen.round_overlap) == (Size(512, 512), Size(150, 100))
    assert WindowSettings(256).round_overlap == Size(75, 50)
    assert WindowSettings(64, 16, min_overlap=Size(0, 8)).round_overlap == Size(0, 8)


REFUSED = {
    "not a multiple": ({"window": 100}, "multiple of 8"),
    "too small": ({"window": 8, "overlap": 0}, "at least 16"),
    "negative overlap": ({"overlap": -1}, "overlap is -1 px"),
    "overlap of a window": ({"window": 64, "overlap": 57}, "0 to 56"),
    "overlap of the short side": ({"window": Size(512, 64), "overlap": 64}, "0 to 56"),
    "planner": ({"planner": "grid"}, "planner is 'grid'"),
    "weights": ({"weights": "flat"}, "weights is 'flat'"),
    "minimum overlap": ({"min_overlap": Size(512, 0)}, "minimum overlap"),
    "negative minimum": ({"min_overlap": Size(0, -1)}, "minimum overlap"),
    "no frames": ({"frames": 0, "frame_overlap": 0}, "time window has 0 frames"),
    "frame overlap": ({"frames": 8, "frame_overlap": 8}, "frame overlap is 8"),
    "negative frame overlap": ({"frame_overlap": -1}, "frame overlap is -1"),
}


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED)
def test_settings_that_cannot_work_are_refused(options, message):
    with pytest.raises(GeometryError, match=message):
        WindowSettings(**options)


@pytest.mark.parametrize(("window", "overlap"), [(8, 8), (8, 9), (8, -1), (0, 0)])
def test_frame_plans_that_cannot_work_are_refused(window, overlap):
    with pytest.raises(GeometryError, match="frame overlap"):
        plan_frames(20, window, overlap)


@pytest.mark.parametrize("step", [2, 3])
@given(h=st.integers(1, 70), w=st.integers(1, 70))
def test_windows_start_at_whole_patches(step, h, w):
    settings = WindowSettings(window=16 * step, overlap=8)
    plan = settings.plan(Size(h, w), step=step)
    seen = torch.zeros(h, w)
    for box in plan.windows:
        box.crop(seen).add_(1)
        assert box.inside(Size(h, w))
        assert box.y % step == 0 or box.bottom == h
        assert box.x % step == 0 or box.right == w
    assert seen.min() >= 1
    assert len({box.size for box in plan.windows}) == 1
