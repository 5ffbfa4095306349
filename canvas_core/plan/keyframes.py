"""Hierarchical sampling of long clips: which frames are made together, in which order, and what guides them.

Key frames of the largest stride come first, then those of each smaller stride between them; a frame that is finished
guides every later clip it appears in. Plans are data: nothing here knows a model.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import GeometryError

CLIP, OVERLAP = 16, 1
"""Frames of a clip, and how many it shares with the next one of its level: M3DDM's and GlobalPaint's."""

STRIDES = {"m3ddm": (15, 5, 1), "globalpaint": (3, 1)}
"""Published strides by name. M3DDM's are those of its code; its paper draws 30, 15, 1. GlobalPaint's follow from its demos."""

SHORT = 50
"""Frames below which M3DDM leaves out the key frames."""

GLOBAL_FRAMES = 16

LONGEST_STRIDE = 16
"""Frame stride that Follow-Your-Canvas was trained with at most."""


@dataclass(frozen=True)
class ClipPlan:
    """Frames that are sampled together."""

    stride: int
    frames: tuple[int, ...]
    """Frame of each slot"""
    guides: tuple[int, ...]
    """Slots whose frame was finished by an earlier clip"""
    writes: tuple[int, ...]
    """Slots whose result finishes their frame: it guides later clips"""
    shows: tuple[tuple[int, int], ...]
    """(slot, number of the picture) for each picture that the clip leaves; a later clip's replaces it"""


@dataclass(frozen=True)
class KeyframePlan:
    """Clips in the order they are sampled."""

    length: int
    """Frames of the video"""
    strides: tuple[int, ...]
    clips: tuple[ClipPlan, ...]

    @property
    def shown(self) -> dict[int, tuple[int, int]]:
        """Number of each picture -> (clip, slot) that it comes from."""
        return {number: (index, slot) for index, clip in enumerate(self.clips) for slot, number in clip.shows}

    @property
    def finished(self) -> dict[int, tuple[int, int]]:
        """Frame -> (clip, slot) whose result it is."""
        return {clip.frames[slot]: (index, slot) for index, clip in enumerate(self.clips) for slot in clip.writes}


def plan_levels(length: int, strides: Sequence[int], clip: int = CLIP, overlap: int = OVERLAP) -> KeyframePlan:
    """A plan for a video of `length` frames in which every frame is finished and shown exactly once.

    The frames of a level are the multiples of its stride. Clips of `clip` frames share `overlap` with the one before, which
    are guides, as is every frame that a coarser level has finished. The last clip of a level reaches back over finished
    frames instead of beyond the end. Raises GeometryError on strides or sizes that cannot work.
    """
    strides = tuple(strides)
    _check_strides(length, strides)
    if not 0 <= overlap < clip:
        raise GeometryError(
            f"clips of {clip} frames cannot share {overlap}; choose an overlap of 0 to {max(clip - 1, 0)} and clips of at least one frame"
        )
    done: set[int] = set()
    clips = []
    for stride in strides:
        level = range(0, length, stride)
        for frames in _cut(level, clip, overlap):
            guides = tuple(slot for slot, frame in enumerate(frames) if frame in done)
            writes = tuple(slot for slot, frame in enumerate(frames) if frame not in done)
            if writes:
                clips.append(ClipPlan(stride, frames, guides, writes, tuple((slot, frames[slot]) for slot in writes)))
                done.update(frames)
    return KeyframePlan(length, strides, tuple(clips))


def _check_strides(length: int, strides: tuple[int, ...]) -> None:
    if length < 1:
        raise GeometryError(f"the video has {length} frames, but at least one is needed")
    if not strides or strides[-1] != 1 or any(a <= b for a, b in zip(strides, strides[1:], strict=False)):
        raise GeometryError(
            f"the strides are {', '.join(map(str, strides)) or 'missing'}, but must fall from level to level and end in 1, such as 15, 5, 1"
        )
    if len(strides) > length:
        raise GeometryError(
            f"{len(strides)} levels are more than the {length} frames of the video; use fewer strides, such as 1 alone"
        )


def _cut(level: Sequence[int], clip: int, overlap: int) -> list[tuple[int, ...]]:
    """The frames of a level in clips that overlap; the last one ends with the level."""
    starts = list(range(0, max(len(level) - clip, 0), clip - overlap)) + [max(len(level) - clip, 0)]
    return [tuple(level[start : start + clip]) for start in dict.fromkeys(starts)]


def m3ddm_strides(length: int) -> tuple[int, ...]:
    """M3DDM's strides for a video: key frames only from 50 frames on."""
    return STRIDES["m3ddm"] if length >= SHORT else (1,)


def published_strides(name: str, length: int) -> tuple[int, ...]:
    """The strides of STRIDES by name, without those that a video of `length` frames is too short for."""
    if name == "m3ddm":
        return m3ddm_strides(length)
    return tuple(stride for stride in STRIDES[name] if stride == 1 or stride < length)


def read_strides(text: str) -> tuple[int, ...]:
    """Strides from a text such as "15, 5, 1". Raises GeometryError when it holds anything but whole numbers."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise GeometryError(
            f"the list of strides is {text!r}, but must be whole numbers with commas between them, such as 15, 5, 1"
        ) from None


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


def global_frames(length: int, count: int = GLOBAL_FRAMES) -> tuple[int, ...]:
    """Frames spread evenly over a video, as M3DDM shows them to every clip; short videos repeat some."""
    return tuple(int(index * (length - 1) / max(count - 1, 1)) for index in range(count))


def clip_stride(fps: int, stride: int) -> int:
    """The frame stride that Follow-Your-Canvas is told for a level, of the 2 to 16 it was trained with."""
    return min(fps * stride, LONGEST_STRIDE)


def clip_rate(fps: float, stride: int, official: bool = False) -> float:
    """Frames of a level per second of the video, as M3DDM is told: a whole number, at least 1.

    `official` cuts as the published code does (fps // stride), which gives 0 for strides above the rate.
    """
    return float(fps // stride) if official else max(1.0, round(fps / stride))
