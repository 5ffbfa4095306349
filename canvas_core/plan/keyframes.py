"""Hierarchical sampling of long clips: which frames are made together, in which order, and what guides them.

Key frames of the largest stride come first, then those of each smaller stride between them; a frame that is finished
guides every later clip it appears in. Plans are data: nothing here knows a model.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ..errors import GeometryError

CLIP, OVERLAP = 16, 1
"""Frames of a clip, and how many it shares with the next one of its level: M3DDM's and GlobalPaint's."""


@dataclass(frozen=True)
class ClipPlan:
    """Frames that are sampled together."""

    stride: int
    frames: tuple[int, ...]
    """Frame of each slot"""
    guides: tuple[int, ...]
    """Slots whose frame is given, or was finished by an earlier clip"""
    writes: tuple[int, ...]
    """Slots whose result finishes their frame: it guides later clips"""


@dataclass(frozen=True)
class KeyframePlan:
    """Clips in the order they are sampled."""

    length: int
    """Frames of the video"""
    strides: tuple[int, ...]
    clips: tuple[ClipPlan, ...]
    given: tuple[int, ...] = ()
    """Frames in which nothing is hidden from the start, such as a guide image or key frames of another system"""

    @property
    def finished(self) -> dict[int, tuple[int, int]]:
        """Frame -> (clip, slot) whose result it is."""
        return {clip.frames[slot]: (index, slot) for index, clip in enumerate(self.clips) for slot in clip.writes}

    @property
    def longest(self) -> int:
        """Frames of the longest clip."""
        return max((len(clip.frames) for clip in self.clips), default=0)

    @property
    def waves(self) -> list[list[ClipPlan]]:
        """The clips in lists whose members can be sampled at the same time: none is guided by another of its list."""
        waves: list[list[ClipPlan]] = []
        made: set[int] = set()
        for clip in self.clips:
            if not waves or any(clip.frames[slot] in made for slot in clip.guides):
                waves.append([])
                made = set()
            waves[-1].append(clip)
            made.update(clip.frames[slot] for slot in clip.writes)
        return waves


def plan_levels(
    length: int,
    strides: Sequence[int],
    clip: int = CLIP,
    overlap: int = OVERLAP,
    given: Collection[int] = (),
    ends: bool = False,
) -> KeyframePlan:
    """A plan for a video of `length` frames in which every frame that is not `given` is finished exactly once.

    The frames of a level are the multiples of its stride, and the last frame too where the plan `ends` with a key frame. Clips of
    `clip` frames share `overlap` with the one before, which are guides, as is every frame that is given or that a coarser level
    has finished. The last clip of a level reaches back over finished frames instead of beyond the end. Raises GeometryError on
    strides, sizes or frames that cannot work.
    """
    strides = tuple(strides)
    _check_strides(length, strides)
    _check_given(length, given)
    if not 0 <= overlap < clip:
        raise GeometryError(
            f"clips of {clip} frames cannot share {overlap}; choose an overlap of 0 to {max(clip - 1, 0)} and clips of at least one frame"
        )
    done = set(given)
    clips = []
    for stride in strides:
        level = sorted({*range(0, length, stride), *([length - 1] if ends else [])})
        for frames in _cut(level, clip, overlap):
            guides = tuple(slot for slot, frame in enumerate(frames) if frame in done)
            writes = tuple(slot for slot, frame in enumerate(frames) if frame not in done)
            if writes:
                clips.append(ClipPlan(stride, frames, guides, writes))
                done.update(frames)
    return KeyframePlan(length, strides, tuple(clips), tuple(sorted(set(given))))


def _check_given(length: int, given: Collection[int]) -> None:
    strange = sorted(frame for frame in given if not 0 <= frame < length)
    if strange:
        raise GeometryError(
            f"frame {strange[0]} is given, but the video has frames 0 to {length - 1}; give frames of the video"
        )
    if len(set(given)) == length:
        raise GeometryError(f"all {length} frames are given, so there is nothing to generate; leave some of them out")


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


def read_strides(text: str) -> tuple[int, ...]:
    """Strides from a text such as "15, 5, 1". Raises GeometryError when it holds anything but whole numbers."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise GeometryError(
            f"the list of strides is {text!r}, but must be whole numbers with commas between them, such as 15, 5, 1"
        ) from None
