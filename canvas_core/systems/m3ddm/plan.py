"""M3DDM's levels of key frames: which strides a video gets, the frame rate it is told, and the published plan, faults included."""

from ...plan.keyframes import CLIP, OVERLAP, ClipPlan, KeyframePlan

STRIDES = (15, 5, 1)
"""Of the published code; its paper draws 30, 15, 1."""

SHORT = 50
"""Frames below which M3DDM leaves out the key frames."""


def m3ddm_strides(length: int) -> tuple[int, ...]:
    """M3DDM's strides for a video: key frames only from 50 frames on."""
    return STRIDES if length >= SHORT else (1,)


def official_m3ddm_plan(length: int) -> KeyframePlan:
    """The plan of alimama-creative/M3DDM-Video-Outpainting @ e2ccd7c, faults included.

    Clips are filled up with copies of the last frame, whatever the stride; a frame keeps its first latent and its last
    picture; pictures of filled-up slots are numbered on, beyond the end too; a video of one frame has no clip at all, and one
    whose length exceeds a multiple of the stride may end before its last key frame. `plan_levels` does none of this.
    """
    strides, done, clips = m3ddm_strides(length), set[int](), []
    for stride in strides:
        level = range(0, length, stride)
        for start in range(0, max(length // stride - 1, 0), CLIP - OVERLAP):
            own = tuple(level[start : start + CLIP])
            frames = own + (length - 1,) * (CLIP - len(own))
            guides = tuple(slot for slot, frame in enumerate(frames) if frame in done)
            firsts = {frame: slot for slot, frame in reversed(list(enumerate(frames))) if frame not in done}
            shows = tuple((slot, own[0] + slot * stride) for slot in range(CLIP))
            clips.append(ClipPlan(stride, frames, guides, tuple(sorted(firsts.values())), shows))
            done.update(frames)
    return KeyframePlan(length, strides, tuple(clips))


def clip_rate(fps: float, stride: int, official: bool = False) -> float:
    """Frames of a level per second of the video, as M3DDM is told: a whole number, at least 1.

    `official` cuts as the published code does (fps // stride), which gives 0 for strides above the rate.
    """
    return float(fps // stride) if official else max(1.0, round(fps / stride))
