"""What a training clip hides: shares of the strategies, one mask a clip, ratios within their range."""

from collections import Counter
from itertools import combinations, product

import numpy as np
import pytest

from canvas_core.plan.boxes import Size
from canvas_core.training.data.masks import EDGES, GUIDES, SIDES, MaskSettings, draw_mask

SIZE = Size(37, 53)
DRAWS = 3000
PLAIN = (1.0, 0.0, 0.0)
"""Guide chances without guide frames."""


def drawn(settings, frames, count=DRAWS, seed=0, size=SIZE):
    draw = np.random.default_rng(seed)
    return [draw_mask(settings, frames, size, draw) for _ in range(count)]


def assert_distributed(found, expected):
    """Frequencies agree with the chances within four standard deviations."""
    counts, total = Counter(found), len(found)
    assert set(counts) <= set(expected) and sum(expected.values()) == pytest.approx(1)
    for key, chance in expected.items():
        assert abs(counts[key] / total - chance) <= 4 * (chance * (1 - chance) / total) ** 0.5, key


def hidden_sides(mask):
    """Sides of the first frame that are hidden from end to end; none where everything is."""
    ends = {"left": mask[0, :, 0], "top": mask[0, 0], "right": mask[0, :, -1], "bottom": mask[0, -1]}
    return frozenset(side for side, line in ends.items() if line.all() and not mask.all())


def chances_of_sides(edges):
    """Chance of every set of hidden sides, by going through all draws there are."""
    four, single, opposite, any_, all_ = edges
    found = Counter({frozenset(SIDES): four, frozenset(): all_})
    for side in SIDES:
        found[frozenset([side])] += single / 4 + any_ / 16 / 4  # an empty subset becomes a single side
    for pair in (("left", "right"), ("top", "bottom")):
        found[frozenset(pair)] += opposite / 2
    for count in range(1, 5):
        for subset in combinations(SIDES, count):
            found[frozenset(subset)] += any_ / 16
    return found


@pytest.mark.parametrize("edges", [EDGES, (0, 0, 0, 1, 0), (0.5, 0.5, 0, 0, 0)])
def test_sides_are_hidden_as_often_as_asked(edges):
    settings = MaskSettings(edges=edges, guides=PLAIN)
    found = [hidden_sides(mask) for mask, _ in drawn(settings, 2)]
    assert_distributed(found, chances_of_sides(edges))


def chances_of_guides(guides, frames):
    """Chance of every set of given frames; a clip given whole would leave nothing to learn."""
    none, ends, coins = guides
    found = Counter({(): none})
    for last in (False, True):
        found[tuple(sorted({0, *([frames - 1] if last else [])}))] += ends / 2
    for coin in product((False, True), repeat=frames):
        found[tuple(i for i, given in enumerate(coin) if given)] += coins / 2**frames
    found[()] += found.pop(tuple(range(frames)), 0)
    return found


@pytest.mark.parametrize("frames", [2, 3, 5])
@pytest.mark.parametrize("guides", [GUIDES, (0, 1, 0)])
def test_guide_frames_are_given_as_often_as_asked(guides, frames):
    settings = MaskSettings(edges=(0, 0, 0, 0, 1), guides=guides)
    found = [tuple(np.flatnonzero(~mask.any((1, 2)))) for mask, _ in drawn(settings, frames)]
    assert_distributed(found, chances_of_guides(guides, frames))


@pytest.mark.parametrize("size", [SIZE, Size(64, 41)])
def test_one_mask_a_clip_but_for_guide_frames(size):
    for mask, known in drawn(MaskSettings(), 5, 200, size=size):
        assert mask.shape == (5, *size) and mask.dtype == np.uint8 and set(np.unique(mask)) <= {0, 1}
        hidden = [frame for frame in mask if frame.any()]
        assert hidden and all(np.array_equal(frame, hidden[0]) for frame in hidden)
        expected = np.ones(size, np.uint8)
        if known:
            expected[known.y : known.bottom, known.x : known.right] = 0
        assert np.array_equal(hidden[0], expected)


@pytest.mark.parametrize("ratio", [(0.15, 0.75), (0.4, 0.5)])
def test_the_hidden_share_is_within_its_range(ratio):
    for _, known in drawn(MaskSettings(ratio=ratio), 1, 500):
        if known:
            widths = [
                (SIZE.h, known.y),
                (SIZE.h, SIZE.h - known.bottom),
                (SIZE.w, known.x),
                (SIZE.w, SIZE.w - known.right),
            ]
            for side, width in widths:
                assert width == 0 or ratio[0] * side / 2 - 0.5 <= width <= ratio[1] * side / 2 + 0.5
            for one, other in (widths[:2], widths[2:]):
                assert one[1] == other[1] or 0 in (one[1], other[1])


def test_a_swaying_side_only_gives_way():
    changing = 0
    for mask, known in drawn(MaskSettings(edges=(0.5, 0.5, 0, 0, 0), guides=PLAIN, sway=1), 5, 200):
        assert not mask[:, known.y : known.bottom, known.x : known.right].any()
        for line in (mask[:, known.y, : known.x], mask[:, : known.y, known.x]):
            widths = line.sum(1).astype(int)
            assert max(widths[0], widths[-1]) == line.shape[1]  # whole at one end of the clip
            assert (np.diff(widths) >= 0).all() or (np.diff(widths) <= 0).all()
            changing += bool(np.ptp(widths))
    assert changing > 100


def test_a_single_frame_is_never_given_whole():
    assert all(mask.any() for mask, _ in drawn(MaskSettings(guides=(0, 1, 0), sway=1), 1, 200))
