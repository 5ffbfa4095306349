"""Plans of hierarchical sampling: every frame once, guides finished before they guide, published schedules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canvas_core.errors import GeometryError
from canvas_core.plan.keyframes import plan_levels, read_strides
from canvas_core.systems.catalogue import STRIDES
from canvas_core.systems.m3ddm.global_frames import global_frames
from canvas_core.systems.m3ddm.official import official_plan
from canvas_core.systems.m3ddm.plan import clip_rate, m3ddm_strides


@st.composite
def plans(draw):
    """Length, strides, clip length and overlap that fit together."""
    length = draw(st.integers(1, 300))
    finer = draw(st.sets(st.integers(2, 40), max_size=min(3, length - 1)))
    clip = draw(st.integers(1, 24))
    return length, (*sorted(finer, reverse=True), 1), clip, draw(st.integers(0, clip - 1))


@st.composite
def plans_around_given(draw):
    """Such a plan's arguments, given frames that leave at least one to make, and whether the last frame is a key frame."""
    arguments = draw(plans())
    last = arguments[0] - 1
    found = draw(st.sets(st.integers(0, last), max_size=last)) if last else set()
    return *arguments, tuple(found), draw(st.booleans())


def written_of(clips):
    """Frames that clips finish, in the order they do."""
    return [clip.frames[slot] for clip in clips for slot in clip.writes]


def guiding(clip):
    """Frames that guide a clip."""
    return {clip.frames[slot] for slot in clip.guides}


@given(plans())
def test_every_frame_is_finished_once(arguments):
    plan = plan_levels(*arguments)
    assert sorted(written_of(plan.clips)) == sorted(plan.finished) == list(range(arguments[0]))
    for frame, (index, slot) in plan.finished.items():
        assert plan.clips[index].frames[slot] == frame and slot in plan.clips[index].writes


@given(plans_around_given())
def test_every_frame_that_is_not_given_is_finished_once(arguments):
    length, *_, found, _ = arguments
    plan = plan_levels(*arguments)
    assert sorted(written_of(plan.clips)) == sorted(plan.finished) == sorted(set(range(length)) - set(found))
    assert plan.given == tuple(sorted(found))
    assert all(clip.writes for clip in plan.clips)


@given(plans_around_given())
def test_given_and_finished_frames_guide_wherever_they_appear(arguments):
    *_, found, _ = arguments
    done = set(found)
    for clip in plan_levels(*arguments).clips:
        assert guiding(clip) == done & set(clip.frames)
        assert sorted(clip.guides + clip.writes) == list(range(len(clip.frames)))
        done |= set(clip.frames)


@given(plans_around_given())
def test_clips_are_runs_of_the_key_frames_of_their_level(arguments):
    length, strides, size, _, _, ends = arguments
    plan = plan_levels(*arguments)
    for clip in plan.clips:
        level = sorted({*range(0, length, clip.stride), *((length - 1,) if ends else ())})
        start = level.index(clip.frames[0])
        assert clip.frames == tuple(level[start : start + min(size, len(level))])
    assert plan.longest == max(len(clip.frames) for clip in plan.clips) <= size


@given(plans_around_given())
def test_after_each_level_its_key_frames_are_finished_and_the_last_frame_where_plans_end_with_one(arguments):
    length, strides, *_, found, ends = arguments
    plan = plan_levels(*arguments)
    for stride in strides:
        done = {*found, *written_of(clip for clip in plan.clips if clip.stride >= stride)}
        assert done >= set(range(0, length, stride))
        assert not ends or length - 1 in done
    if ends and length - 1 not in found:
        assert plan.clips[plan.finished[length - 1][0]].stride == strides[0]


@given(plans())
def test_nothing_given_and_no_end_are_the_default(arguments):
    assert plan_levels(*arguments) == plan_levels(*arguments, given=(), ends=False)


@given(plans_around_given())
def test_waves_are_the_clips_in_order_and_wait_only_for_earlier_waves(arguments):
    plan = plan_levels(*arguments)
    assert [clip for wave in plan.waves for clip in wave] == list(plan.clips)
    before = set()
    for wave in plan.waves:
        made = set(written_of(wave))
        assert wave and not any(guiding(clip) & made for clip in wave)
        assert not before or guiding(wave[0]) & before  # it had to wait
        before = made


@given(plans())
def test_guides_are_finished_before_they_guide(arguments):
    done = set()
    for clip in plan_levels(*arguments).clips:
        assert guiding(clip) <= done
        assert sorted(clip.guides + clip.writes) == list(range(len(clip.frames)))
        done |= set(clip.frames)


@given(plans())
def test_clips_are_evenly_spaced_ordered_and_no_longer_than_asked(arguments):
    length, strides, size, _ = arguments
    clips = plan_levels(*arguments).clips
    assert [clip.stride for clip in clips] == sorted((clip.stride for clip in clips), reverse=True)
    assert {clip.stride for clip in clips} <= set(strides)
    for clip in clips:
        assert clip.frames == tuple(range(clip.frames[0], clip.frames[-1] + 1, clip.stride))
        level = -(-length // clip.stride)
        assert len(clip.frames) == min(size, level) and clip.frames[-1] < length


@given(plans_around_given())
def test_neighbours_of_a_level_share_frames_unless_all_between_them_are_finished(arguments):
    length, _, size, overlap, found, ends = arguments
    clips, done = plan_levels(*arguments).clips, set(found)
    for first, second in zip(clips, clips[1:], strict=False):
        done |= set(first.frames)
        if first.stride == second.stride and len(set(first.frames) & set(second.frames)) < overlap:
            level = sorted({*range(0, length, first.stride), *((length - 1,) if ends else ())})
            between = level[level.index(first.frames[0]) + size - overlap : level.index(second.frames[0]) + overlap]
            assert len(between) > overlap and set(between) <= done


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


def test_given_key_frames_are_the_ends_of_clips_between_them():
    plan = plan_levels(46, (1,), given=(45, 0, 30, 15))
    assert [(clip.frames[0], clip.frames[-1], clip.guides) for clip in plan.clips] == [
        (0, 15, (0, 15)),
        (15, 30, (0, 15)),
        (30, 45, (0, 15)),
    ]
    assert plan.given == (0, 15, 30, 45) and len(plan.waves) == 1


def test_a_plan_that_ends_with_a_key_frame_closes_its_last_gap():
    plan = plan_levels(50, (15, 1), ends=True)
    assert plan.clips[0].frames == (0, 15, 30, 45, 49)
    assert plan.clips[-1].frames == tuple(range(34, 50))
    assert [guiding(clip) for clip in plan.clips[1:4]] == [{0, 15}, {15, 30}, {30, 45}]


@pytest.mark.parametrize(
    ("arguments", "sizes"),
    [
        ((200, (15, 5, 1)), [1, 2, 11, 3, 1]),  # 18 clips of M3DDM
        ((500, (15, 5, 1)), [1, 1, 7, 31, 3, 1]),
        ((200, (15, 1)), [1, 13, 1]),
        ((46, (1,), 16, 4), [1, 1, 1, 1]),  # every clip is guided by the one before
        ((46, (1,), 16, 0), [2, 1]),  # the last reaches back
        ((46, (1,), 16, 1, range(0, 46, 15)), [3]),
    ],
)
def test_clips_between_key_frames_need_not_wait_for_each_other(arguments, sizes):
    assert [len(wave) for wave in plan_levels(*arguments).waves] == sizes


@pytest.mark.parametrize("length", [50, 61, 100, 241, 500])
def test_without_its_faults_the_official_plan_guides_alike(length):
    """Dense clips that both plans have: the same guides."""
    official = {clip.frames: clip.guides for clip in official_plan(length).plan.clips if clip.stride == 1}
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
    "given beyond the end": ((30, (1,), 16, 1, (3, 30)), "frame 30 is given, but the video has frames 0 to 29"),
    "given before the start": ((30, (1,), 16, 1, (3, -1)), "frame -1 is given, but the video has frames 0 to 29"),
    "all given": ((3, (1,), 16, 1, (2, 0, 1, 2)), "all 3 frames are given, so there is nothing to generate"),
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
