"""Rounds grow from the source to the canvas, each around the one before."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canvas_core.plan.boxes import Box, Size
from canvas_core.plan.canvas import ANCHORS, Pads, canvas_of_pads, canvas_of_size
from canvas_core.plan.rounds import count_rounds, plan_rounds
from canvas_core.plan.windows import WindowSettings

sources = st.builds(Size, st.integers(1, 200), st.integers(1, 200))
pads = st.builds(Pads, st.integers(1, 900), *[st.integers(0, 900)] * 3)


@st.composite
def settings(draw):
    window = Size(8 * draw(st.integers(2, 20)), 8 * draw(st.integers(2, 20)))
    lap = Size(draw(st.integers(0, window.h // 2)), draw(st.integers(0, window.w // 2)))
    return WindowSettings(window, 0, min_overlap=lap)


def sides(before, after):
    """Pixels by which a box grows to the top, left, bottom and right of where it was."""
    return [before.y - after.y, before.x - after.x, after.bottom - before.bottom, after.right - before.right]


def grown_boxes(canvas, rounds):
    """The source and every round's canvas as boxes on the final canvas."""
    boxes = [Box(canvas.source.y - r.original.y, canvas.source.x - r.original.x, *r.canvas.size) for r in rounds]
    return [canvas.source, *boxes]


@given(sources, pads, settings(), st.sampled_from([2, 8, 64]))
def test_each_round_holds_the_one_before(source, pads, chosen, multiple):
    canvas = canvas_of_pads(source, pads, multiple)
    rounds = plan_rounds(canvas, chosen)
    grown = grown_boxes(canvas, rounds)
    for step, before, after in zip(rounds, grown, grown[1:], strict=False):
        assert before.inside(after)
        assert before.moved(-after.y, -after.x) == step.canvas.source
        assert canvas.source.moved(-after.y, -after.x) == step.original
        assert step.original.inside(step.canvas.source)


@given(sources, pads, settings(), st.sampled_from([2, 8, 64]))
def test_the_last_round_is_the_canvas(source, pads, chosen, multiple):
    canvas = canvas_of_pads(source, pads, multiple)
    *earlier, last = plan_rounds(canvas, chosen)
    assert (last.canvas.size, last.canvas.trim, last.original) == (canvas.size, canvas.trim, canvas.source)
    assert all(step.canvas.trim == Box(0, 0, *step.canvas.size) for step in earlier)
    if multiple % 8 == 0:
        assert all(side % 8 == 0 for step in [*earlier, last] for side in step.canvas.size)


@given(sources, st.builds(Size, st.integers(1, 900), st.integers(0, 900)), settings(), st.sampled_from(list(ANCHORS)))
def test_no_side_grows_further_than_a_window_reaches(source, extra, chosen, anchor):
    asked = Size((source.h + extra.h) // 2 * 2 + 2, (source.w + extra.w) // 2 * 2 + 2)
    canvas = canvas_of_size(source, asked, anchor)
    rounds = plan_rounds(canvas, chosen)
    grown = grown_boxes(canvas, rounds)
    window, lap = chosen.sides, chosen.round_overlap
    reach = [window.h - lap.h, window.w - lap.w] * 2
    rounding = 8 + len(rounds)  # floored to cells, and the last round takes what the division left
    for before, after in zip(grown, grown[1:], strict=False):
        assert all(growth <= limit + rounding for growth, limit in zip(sides(before, after), reach, strict=True))


@given(sources, pads, settings())
def test_there_are_no_more_rounds_than_the_widest_side_needs(source, pads, chosen):
    canvas = canvas_of_pads(source, pads)
    tall, wide = max(canvas.pads.top, canvas.pads.bottom), max(canvas.pads.left, canvas.pads.right)
    reach = Size(chosen.sides.h - chosen.round_overlap.h, chosen.sides.w - chosen.round_overlap.w)
    count = count_rounds(canvas, chosen)
    assert count == len(plan_rounds(canvas, chosen))
    assert count * reach.h >= tall and count * reach.w >= wide
    assert count == 1 or (count - 1) * reach.h < tall or (count - 1) * reach.w < wide


def test_the_published_example_has_6_and_15_windows():
    chosen = WindowSettings(planner="official", weights="official")
    canvas = canvas_of_size(Size(512, 512), Size(1152, 2048))
    rounds = plan_rounds(canvas, chosen)
    counts = [len(chosen.plan(Size(r.canvas.size.h // 8, r.canvas.size.w // 8))) for r in rounds]
    assert [str(r.canvas.size) for r in rounds] == ["1280x832", "2048x1152"]
    assert counts == [6, 15]


@pytest.mark.parametrize("anchor", ANCHORS)
def test_the_source_keeps_its_place_while_the_canvas_grows(anchor):
    canvas = canvas_of_size(Size(136, 200), Size(1064, 1504), anchor)
    rounds = plan_rounds(canvas, WindowSettings(256, 64))
    assert len(rounds) > 2
    for step in rounds:
        free = Size(step.canvas.size.h - 136, step.canvas.size.w - 200)
        assert abs(step.original.y - free.h * canvas.source.y / (1064 - 136)) < 1
        assert abs(step.original.x - free.w * canvas.source.x / (1504 - 200)) < 1


def test_a_canvas_within_reach_takes_one_round():
    canvas = canvas_of_size(Size(100, 130), Size(160, 200), "top left", (3, 5))
    (only,) = plan_rounds(canvas, WindowSettings(256, 64))
    assert (only.canvas, only.original) == (canvas, canvas.source)
