"""What is done to a generated area without a network, in the order that presets count on."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch

from ..errors import SamplingError
from ..plan.canvas import Canvas
from .border_match import match_border
from .compositing import paste_borrowed, paste_frames
from .fill import fill_hidden
from .placed import Frames, PlacedFrames, stack_placed
from .refine import refine_fill
from .texture import add_texture, check_share

T = TypeVar("T")

FADE = 8
"""Frames over which the texture of one chunk goes over into the next one's, or half of a shorter chunk."""


def finish_hidden(
    result: torch.Tensor,
    frames: torch.Tensor,
    mask: torch.Tensor,
    match: float,
    texture: float,
    filled: torch.Tensor | None = None,
) -> torch.Tensor:
    """The result [F, H, W, 3] with its hidden area (mask [F, H, W] = 1) refined over `filled`, if given, then matched to the known pixels of
    `frames` [F, H, W, 3] over `match` pixels, then with a share of `texture`. Raises GeometryError, see the three steps."""
    if filled is not None:
        result = refine_fill(result, filled, mask)
    return add_texture(match_border(result, frames, mask, match), frames, mask, texture)


Paste = Callable[[torch.Tensor, torch.Tensor, Canvas], torch.Tensor]
"""paste(result [F, H, W, 3], what it started from [F, h, w, 3], canvas) -> frames of the whole canvas."""


@dataclass(frozen=True)
class Finishing:
    """Everything that is done to the frames of one run after decoding."""

    match: int = 0
    """Pixels over which the result is drawn to the known colours at their border"""
    texture: float = 0.0
    """Share 0..1 of the known area's detail that is laid over the generated one"""
    refine: str | None = None
    """Fill that the result is laid over"""
    borrow: bool = False
    """Whether hidden pixels are borrowed from other frames first; what is known beyond the source is then put back"""
    feather: int = 0
    """Pixels over which what is put back blends"""
    start_from: str = "source"
    """What later rounds start from, see START_FROM"""
    paste_whole: Paste | None = None
    """A paste that must see the whole clip, in place of the feathered one"""

    def __post_init__(self) -> None:
        if self.match < 0:
            raise SamplingError(f"the border match is {self.match} px, but must be 0 or more; 0 turns it off")
        check_share(self.texture)

    def apply(
        self, decoded: torch.Tensor, frames: torch.Tensor, mask: torch.Tensor, filled: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Decoded frames [F, H, W, 3], finished; frames [F, H, W, 3] and mask [F, H, W] say what is known.

        The result is laid over `filled` [F, H, W, 3]; where that is not given, over the fill that `refine` names, if it names one.
        """
        if filled is None and self.refine:
            filled = fill_hidden(frames, mask, self.refine)
        result = finish_hidden(decoded, frames, mask, self.match, self.texture, filled)
        return paste_borrowed(result, frames, mask, self.feather) if self.borrow else result

    def paste(self, result: Iterable[torch.Tensor], source: Frames, canvas: Canvas) -> Iterator[torch.Tensor]:
        """Frames of the asked area with those of the source [h, w, 3] on top, one after the other."""
        return paste_frames(result, source, canvas, self.feather)


def finish_frames(
    decoded: Iterable[torch.Tensor],
    placed: PlacedFrames,
    finishing: Finishing,
    chunk: int | None = None,
    advance: Callable[[int], None] = lambda frames: None,
) -> Iterator[torch.Tensor]:
    """Finished frames [H, W, 3] 0..1 of decoded ones, one after the other; advance(frames) is told of those that are done.

    Texture is chosen for a chunk of frames at a time, or for all at once; neighbouring chunks share frames, over which one goes
    over into the other.
    """
    count = chunk if finishing.texture else 1  # without texture every frame is finished by itself
    lap = min(FADE, count // 2) if count else 0
    tail: list[torch.Tensor] = []
    for pairs in _overlapping(zip(decoded, placed, strict=True), count, lap):
        images = torch.stack([image for image, _ in pairs])
        some = list(finishing.apply(images, *stack_placed([one for _, one in pairs])))
        for index, before in enumerate(tail):
            share = (index + 1) / (lap + 1)
            some[index] = before * (1 - share) + some[index] * share
        advance(len(pairs) - len(tail))
        done = max(len(pairs) - lap, 0) if count else len(pairs)
        tail = [frame.clone() for frame in some[done:]]  # a view would keep the whole chunk alive
        yield from some[:done]
        del some, images
    yield from tail


def _overlapping(items: Iterable[T], count: int | None, lap: int) -> Iterator[list[T]]:
    """Lists of `count` items, the first `lap` of each being the last of the one before; the last may be shorter. None: one list."""
    held: list[T] = []
    seen = 0
    for one in items:
        held.append(one)
        if len(held) == count:
            yield list(held)
            held = held[count - lap :]
            seen = lap
    if len(held) > seen:
        yield held
