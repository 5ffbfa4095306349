"""The picture of a key-frame plan shows each frame where it is made and where it guides."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from canvas_core.drawing.keyframes import LEFT, PLOT, TOP, describe_levels, draw_levels, pack_levels
from canvas_core.drawing.rounds import WINDOW_COLOURS
from canvas_core.plan.keyframes import plan_levels
from canvas_core.systems.m3ddm.official import official_plan
from canvas_core.systems.m3ddm.plan import m3ddm_strides

PLANS = {
    "short": (16, (15, 5, 1)),
    "m3ddm": (128, (15, 5, 1)),
    "globalpaint": (128, (3, 1)),
    "one level": (61, (1,)),
    "overlap": (90, (4, 1), 12, 7),
    "single frames": (20, (3, 1), 1, 0),
}
LONG = {"m3ddm": (500, (15, 5, 1)), "globalpaint": (500, (5, 1)), "very long": (2000, (15, 5, 1))}


def rows_of(plan):
    """The picture below its title."""
    return draw_levels(plan).numpy()[TOP:]


def frame_of(picture, plan, frame):
    """The part of the picture where a frame is, [H, w, 3], without its first and last column."""
    width = min(40, PLOT / plan.length)
    return picture[:, round(LEFT + frame * width) + 1 : round(LEFT + (frame + 1) * width) - 1]


def levels_in(picture, plan):
    """Strides whose colour is in a picture [H, W, 3]."""
    present = {tuple(colour) for colour in np.unique(picture.reshape(-1, 3), axis=0).tolist()}
    return {stride for stride, colour in zip(plan.strides, WINDOW_COLOURS, strict=False) if colour in present}


@pytest.mark.parametrize("arguments", PLANS.values(), ids=PLANS)
def test_every_frame_is_filled_in_the_level_that_makes_it_and_in_no_other(arguments):
    plan = plan_levels(*arguments)
    picture = rows_of(plan)
    for frame, (index, _) in plan.finished.items():
        assert levels_in(frame_of(picture, plan, frame), plan) == {plan.clips[index].stride}


@pytest.mark.parametrize("arguments", PLANS.values(), ids=PLANS)
def test_a_frame_is_hollow_once_for_each_clip_that_it_guides(arguments):
    plan = plan_levels(*arguments)
    picture = rows_of(plan)[:-40]  # without the axis
    guided = [clip.frames[slot] for clip in plan.clips for slot in clip.guides]
    for frame in range(plan.length):
        white = (frame_of(picture, plan, frame) == 255).all(-1).any(1).astype(int)
        assert (np.diff(white, prepend=0) == 1).sum() == guided.count(frame)


@pytest.mark.parametrize("arguments", LONG.values(), ids=LONG)
def test_key_frames_of_long_clips_can_be_told_apart(arguments):
    plan = plan_levels(*arguments)
    picture = rows_of(plan)
    for colour, stride in zip(WINDOW_COLOURS, plan.strides[:-1], strict=False):
        columns = (picture[:, LEFT:] == colour).all(-1).any(0).astype(int)
        made = [frame for frame, (index, _) in plan.finished.items() if plan.clips[index].stride == stride]
        assert (np.diff(columns, prepend=0) == 1).sum() == len(made)


def white_of(length):
    """Share of white in the picture of a plan, where all guides are."""
    return (rows_of(plan_levels(length, (3, 1))) == 255).all(-1).mean()


def test_guides_of_long_clips_are_seen():
    assert white_of(500) > 2 * (rows_of(plan_levels(500, (1,), 16, 0)) == 255).all(-1).mean()


@st.composite
def plans(draw):
    """Any plan of a moderate length."""
    length = draw(st.integers(1, 300))
    finer = draw(st.sets(st.integers(2, 40), max_size=min(3, length - 1)))
    clip = draw(st.integers(1, 24))
    return plan_levels(length, (*sorted(finer, reverse=True), 1), clip, draw(st.integers(0, clip - 1)))


@given(plans())
def test_clips_of_a_row_do_not_touch_and_none_is_lost(plan):
    packed = pack_levels(plan)
    assert [level.stride for level in packed] == list(plan.strides)
    for level in packed:
        for row in level.rows:
            assert all(a.frames[-1] < b.frames[0] for a, b in zip(row, row[1:], strict=False))
        clips = [clip for row in level.rows for clip in row]
        assert sorted(clips, key=plan.clips.index) == [clip for clip in plan.clips if clip.stride == level.stride]


SIZES = {
    "one frame": ((1, (1,)), 200),
    "short": ((16, (15, 5, 1)), 300),
    "very long": ((2000, (15, 5, 1)), 300),
    "many rows": ((2000, (1,), 64, 63), 1200),
    "many levels": ((50, tuple(range(40, 0, -1))), 2400),
}


@pytest.mark.parametrize(("arguments", "tallest"), SIZES.values(), ids=SIZES)
def test_pictures_fit_a_screen(arguments, tallest):
    picture = draw_levels(plan_levels(*arguments))
    assert picture.dtype == torch.uint8 and picture.shape[2] == 3
    assert 600 <= picture.shape[1] <= 1400 and 100 <= picture.shape[0] <= tallest


@pytest.mark.parametrize("length", [2, 61, 241])
def test_the_published_plan_with_repeated_frames_can_be_drawn(length):
    plan = official_plan(length).plan
    assert levels_in(rows_of(plan), plan) == {clip.stride for clip in plan.clips}


def test_words_count_clips_and_frames():
    plan = plan_levels(128, m3ddm_strides(128))
    assert describe_levels(plan).splitlines() == [
        "128 frames in strides of 15, 5, 1: the model samples 12 clips",
        "stride 15: 1 clip of up to 9 frames, 9 frames made",
        "stride 5: 2 clips of up to 16 frames, 17 frames made",
        "stride 1: 9 clips of up to 16 frames, 102 frames made",
    ]


def test_words_for_a_level_without_clips():
    assert describe_levels(plan_levels(4, (9, 5, 1))).splitlines() == [
        "4 frames in strides of 9, 5, 1: the model samples 2 clips",
        "stride 9: 1 clip of up to 1 frame, 1 frame made",
        "stride 5: 0 clips, 0 frames made",
        "stride 1: 1 clip of up to 4 frames, 3 frames made",
    ]
