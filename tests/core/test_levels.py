"""Plans of hierarchical sampling: every frame once, guides finished before they guide, published schedules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canvas_core.errors import GeometryError
from canvas_core.plan.keyframes import plan_levels, read_strides
from canvas_core.systems.catalogue import STRIDES
from canvas_core.systems.m3ddm.global_frames import global_frames
from canvas_core.systems.m3ddm.plan import clip_rate, m3ddm_strides, official_m3ddm_plan


@st.composite
def plans(draw):
    """Length, strides, clip length and overlap that fit together."""
    length = draw(st.integers(1, 300))
    finer = draw(st.sets(st.integers(2, 40), max_size=min(3, length - 1)))
    clip = draw(st.integers(1, 24))
    return length, (*sorted(finer, reverse=True), 1), clip, draw(st.integers(0, clip - 1))


@given(plans())
def test_every_frame_is_finished_and_shown_once(given_plan):
    length = given_plan[0]
    plan = plan_levels(*given_plan)
    written = [clip.frames[slot] for clip in plan.clips for slot in clip.writes]
    shown = [(clip.frames[slot], number) for clip in plan.clips for slot, number in clip.shows]
    assert sorted(written) == list(range(length))
    assert sorted(shown) == [(frame, frame) for frame in range(length)]
    assert plan.finished == plan.shown


@given(plans())
def test_guides_are_finished_before_they_guide(given_plan):
    done = set()
    for clip in plan_levels(*given_plan).clips:
        assert {clip.frames[slot] for slot in clip.guides} <= done
        assert sorted(clip.guides + clip.writes) == list(range(len(clip.frames)))
        done |= set(clip.frames)


@given(plans())
def test_clips_are_evenly_spaced_ordered_and_no_longer_than_asked(given_plan):
    length, strides, size, _ = given_plan
    clips = plan_levels(*given_plan).clips
    assert [clip.stride for clip in clips] == sorted((clip.stride for clip in clips), reverse=True)
    assert {clip.stride for clip in clips} <= set(strides)
    for clip in clips:
        assert clip.frames == tuple(range(clip.frames[0], clip.frames[-1] + 1, clip.stride))
        level = -(-length // clip.stride)
        assert len(clip.frames) == min(size, level) and clip.frames[-1] < length


@given(plans())
def test_neighbours_of_a_level_share_frames(given_plan):
    _, _, _, overlap = given_plan
    clips = plan_levels(*given_plan).clips
    for first, second in zip(clips, clips[1:], strict=False):
        if first.stride == second.stride:
            assert len(set(first.frames) & set(second.frames)) >= min(overlap, len(second.frames))


def test_globalpaint_fills_five_gaps_between_shared_key_frames():
    plan = plan_levels(46, STRIDES["globalpaint"](46))
    assert [clip.frames for clip in plan.clips] == [
        tuple(range(0, 46, 3)),
        *(tuple(range(s, s + 16)) for s in (0, 15, 30)),
    ]
    assert all(clip.guides == (0, 3, 6, 9, 12, 15) for clip in plan.clips[1:])


def test_the_last_clip_reaches_back_instead_of_beyond_the_end():
    clips = plan_levels(21, (1,)).clips
    assert clips[1].frames == tuple(range(5, 21)) and clips[1].guides == tuple(range(11))


@pytest.mark.parametrize("length", [50, 61, 100, 241, 500])
def test_without_its_faults_the_official_plan_guides_alike(length):
    """Dense clips that both plans have: the same guides."""
    official = {clip.frames: clip.guides for clip in official_m3ddm_plan(length).clips if clip.stride == 1}
    ours = {clip.frames: clip.guides for clip in plan_levels(length, m3ddm_strides(length)).clips if clip.stride == 1}
    shared = official.keys() & ours.keys()
    assert len(shared) >= length // 15 - 1
    assert all(official[frames] == ours[frames] for frames in shared)


REFUSED = {
    "rising": ((30, (5, 15, 1)), "the strides are 5, 15, 1, but must fall"),
    "repeated": ((30, (5, 5, 1)), "the strides are 5, 5, 1, but must fall"),
    "no end": ((30, (15, 5)), "the strides are 15, 5, but must fall from level to level and end in 1"),
    "none": ((30, ()), "the strides are missing"),
    "zero": ((30, (5, 0)), "the strides are 5, 0"),
    "levels": ((2, (15, 5, 1)), "3 levels are more than the 2 frames"),
    "no frames": ((0, (1,)), "the video has 0 frames"),
    "overlap": ((30, (1,), 4, 4), "clips of 4 frames cannot share 4; choose an overlap of 0 to 3"),
    "negative overlap": ((30, (1,), 4, -1), "clips of 4 frames cannot share -1"),
    "no clip": ((30, (1,), 0, 0), "clips of 0 frames cannot share 0"),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_work_is_refused(arguments, message):
    with pytest.raises(GeometryError, match=message):
        plan_levels(*arguments)


@given(st.integers(1, 3000), st.integers(1, 40))
def test_global_frames_span_the_video(length, count):
    found = global_frames(length, count)
    assert len(found) == count and list(found) == sorted(found)
    assert found[0] == 0 and found[-1] == (length - 1 if count > 1 else 0)


def test_the_rate_of_a_level_is_a_whole_number_and_never_none():
    assert [clip_rate(30, stride) for stride in (1, 5, 15)] == [30, 6, 2]
    assert [clip_rate(12, stride) for stride in (1, 5, 15)] == [12, 2, 1]
    assert [clip_rate(12, stride, official=True) for stride in (1, 5, 15)] == [12, 2, 0]


@pytest.mark.parametrize(
    ("name", "length", "expected"),
    [("m3ddm", 49, (1,)), ("m3ddm", 50, (15, 5, 1)), ("globalpaint", 3, (1,)), ("globalpaint", 4, (3, 1))],
)
def test_published_strides_leave_out_what_a_video_is_too_short_for(name, length, expected):
    assert STRIDES[name](length) == expected


@pytest.mark.parametrize(("text", "expected"), [("15, 5, 1", (15, 5, 1)), ("1", (1,)), (" 3,1 ", (3, 1))])
def test_strides_are_read_from_a_text(text, expected):
    assert read_strides(text) == expected


@pytest.mark.parametrize("text", ["", "a, 1", "1.5, 1", "5; 1", "5,,1"])
def test_strides_that_are_no_whole_numbers_are_refused(text):
    with pytest.raises(GeometryError, match="must be whole numbers with commas between them"):
        read_strides(text)
