"""A picture and a few words of a key-frame plan: which clip makes which frames, and what guides it."""

from dataclasses import dataclass
from itertools import count

import cv2
import numpy as np
import torch

from ..plan.keyframes import ClipPlan, KeyframePlan
from .rounds import WINDOW_COLOURS

Colour = tuple[int, int, int]

PAPER, BAR, GUIDE, INK = (22, 22, 22), (58, 58, 58), (255, 255, 255), (235, 235, 235)
TEXT = 0.45
"""Size of the letters."""
LEFT, TOP, BOTTOM, RIGHT = 150, 64, 36, 24
"""Pixels around the rows."""
PLOT, FRAME = 1200, 40
"""Pixels of the time line of a long clip, and of one frame of a short clip."""
ROWS, ROW, THIN = 1000, 22, 3
"""Pixels of all rows together where there are many, and of one row at most and at least."""
GAP, LABEL = 12, 40
"""Pixels between levels, and the least height of one."""
HOLLOW = 5
"""Pixels of a mark that an outline needs; a narrower guide is a short white tick."""


@dataclass(frozen=True)
class Level:
    """The clips of one stride in rows, so that no two of a row touch."""

    stride: int
    colour: Colour
    rows: tuple[tuple[ClipPlan, ...], ...]

    @property
    def clips(self) -> int:
        return sum(len(row) for row in self.rows)


def _pack(clips: list[ClipPlan]) -> tuple[tuple[ClipPlan, ...], ...]:
    """Each clip in the first row whose last clip has ended."""
    rows: list[list[ClipPlan]] = []
    for clip in clips:
        row = next((row for row in rows if max(row[-1].frames) < min(clip.frames)), None)
        if row is None:
            rows.append(row := [])
        row.append(clip)
    return tuple(tuple(row) for row in rows)


def pack_levels(plan: KeyframePlan) -> list[Level]:
    """The levels of a plan from the coarsest to the finest."""
    levels = []
    for index, stride in enumerate(plan.strides):
        rows = _pack([clip for clip in plan.clips if clip.stride == stride])
        levels.append(Level(stride, WINDOW_COLOURS[index % len(WINDOW_COLOURS)], rows))
    return levels


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


@dataclass(frozen=True)
class Sheet:
    """Where things lie on the picture, in pixels."""

    frames: int
    row: int
    """Height of a row"""

    @property
    def frame(self) -> float:
        """Width of a frame."""
        return min(FRAME, PLOT / self.frames)

    @property
    def width(self) -> int:
        """Width of the picture; short clips leave room for the words."""
        return LEFT + max(round(self.frames * self.frame), PLOT // 2) + RIGHT

    def height(self, level: Level) -> int:
        return max(LABEL, len(level.rows) * self.row)

    def x(self, frame: float) -> int:
        return LEFT + round(frame * self.frame)

    def mark(self, stride: int) -> int:
        """Width of the mark of one frame of a level."""
        room = max(round(self.frame * stride) - 1, 1)
        return min(room, max(round(self.frame) - 2, 2))


def _sheet_for(plan: KeyframePlan, levels: list[Level]) -> Sheet:
    rows = sum(len(level.rows) for level in levels)
    return Sheet(plan.length, max(THIN, min(ROW, ROWS // rows)))


def _write(image: np.ndarray, text: str, corner: tuple[int, int], colour: Colour = INK) -> None:
    cv2.putText(image, text, corner, cv2.FONT_HERSHEY_SIMPLEX, TEXT, colour, 1, cv2.LINE_AA)


def _draw_mark(image: np.ndarray, x: int, y: int, width: int, height: int, colour: Colour | None) -> None:
    """One frame of a clip: filled with `colour` where the clip makes it, hollow where it is a guide."""
    if colour is not None:
        image[y : y + height, x : x + width] = colour
    elif width >= HOLLOW and height >= HOLLOW:
        cv2.rectangle(image, (x, y), (x + width - 1, y + height - 1), GUIDE, 1)
    else:
        inset = height // 4
        image[y + inset : y + height - inset, x : x + width] = GUIDE


def _draw_clip(image: np.ndarray, sheet: Sheet, clip: ClipPlan, y: int, colour: Colour) -> None:
    edge = 1 if sheet.row > THIN else 0
    width, height = sheet.mark(clip.stride), sheet.row - 2 * edge
    image[y + edge : y + edge + height, sheet.x(min(clip.frames)) : sheet.x(max(clip.frames) + 1)] = BAR
    inset = edge + (1 if height > HOLLOW else 0)
    for slots, paint in ((clip.writes, colour), (clip.guides, None)):
        for slot in slots:
            x = sheet.x(clip.frames[slot]) + (1 if sheet.frame > HOLLOW else 0)
            _draw_mark(image, x, y + inset, width, sheet.row - 2 * inset, paint)


def _draw_level(image: np.ndarray, sheet: Sheet, level: Level, top: int) -> None:
    _write(image, f"stride {level.stride}", (14, top + 16), level.colour)
    _write(image, _count(level.clips, "clip"), (14, top + 34))
    for index, row in enumerate(level.rows):
        for clip in row:
            _draw_clip(image, sheet, clip, top + index * sheet.row, level.colour)


def _numbered_frames(sheet: Sheet) -> range:
    """Every 1, 2 or 5 times a power of ten, so that the numbers have room."""
    nice = (digit * 10**power for power in count() for digit in (1, 2, 5))
    step = next(step for step in nice if step * sheet.frame >= 60 or step >= sheet.frames)
    return range(0, sheet.frames, step)


def _draw_axis(image: np.ndarray, sheet: Sheet, bottom: int) -> None:
    cv2.line(image, (sheet.x(0), bottom), (sheet.x(sheet.frames), bottom), INK, 1)
    for frame in _numbered_frames(sheet):
        x = sheet.x(frame + 0.5)
        cv2.line(image, (x, bottom), (x, bottom + 5), INK, 1)
        (width, _), _ = cv2.getTextSize(str(frame), cv2.FONT_HERSHEY_SIMPLEX, TEXT, 1)
        _write(image, str(frame), (x - width // 2, bottom + 22))
    _write(image, "frame", (14, bottom + 22))


def _draw_title(image: np.ndarray, plan: KeyframePlan, colour: Colour) -> None:
    _write(
        image,
        f"{_count(plan.length, 'frame')}, {_count(len(plan.clips), 'clip')}, sampled level by level from the top",
        (14, 24),
    )
    _draw_mark(image, LEFT, 36, 12, 12, colour)
    _write(image, "made by the clip", (LEFT + 20, 47))
    _draw_mark(image, LEFT + 190, 36, 12, 12, None)
    _write(image, "guide: finished before", (LEFT + 210, 47))


def draw_levels(plan: KeyframePlan) -> torch.Tensor:
    """The clips of a plan over time, a block of rows for each level in the order they are sampled, [H, W, 3] uint8."""
    levels = pack_levels(plan)
    sheet = _sheet_for(plan, levels)
    heights = [sheet.height(level) + GAP for level in levels]
    image = np.full((TOP + sum(heights) + BOTTOM, sheet.width, 3), PAPER, np.uint8)
    _draw_title(image, plan, levels[0].colour)
    for index, level in enumerate(levels):
        _draw_level(image, sheet, level, TOP + sum(heights[:index]))
    _draw_axis(image, sheet, TOP + sum(heights))
    return torch.from_numpy(image)


def describe_levels(plan: KeyframePlan) -> str:
    """The plan in words: one line for the whole and one for each level."""
    strides = ", ".join(map(str, plan.strides))
    lines = [
        f"{_count(plan.length, 'frame')} in strides of {strides}: the model samples {_count(len(plan.clips), 'clip')}"
    ]
    for stride in plan.strides:
        clips = [clip for clip in plan.clips if clip.stride == stride]
        made = sum(len(clip.writes) for clip in clips)
        longest = max((len(clip.frames) for clip in clips), default=0)
        size = f" of up to {_count(longest, 'frame')}" if clips else ""
        lines.append(f"stride {stride}: {_count(len(clips), 'clip')}{size}, {_count(made, 'frame')} made")
    return "\n".join(lines)
