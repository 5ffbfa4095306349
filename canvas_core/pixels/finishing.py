"""What is done to a generated area without a network, in the order that presets count on."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch

from ..errors import SamplingError
from ..progress import Watch, unwatched
from .border_match import match_border
from .compositing import paste_borrowed
from .fill import fill_hidden
from .placed import CHUNK, Placed, PlacedFrames, stack_placed
from .refine import refine_fill
from .texture import add_texture, check_share

FADE = 8
"""Frames over which the texture of one chunk goes over into the next one's."""


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


@dataclass(frozen=True)
class Finishing:
    """`finish_hidden` and what comes before and after it, for one run."""

    match: int = 0
    """Pixels"""
    texture: float = 0.0
    """Share 0..1"""
    refine: str | None = None
    """Fill that the result is laid over"""
    borrowed: bool = False
    """Whether known pixels beyond the source are put back"""
    feather: int = 0
    """Pixels over which these blend"""

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
        return paste_borrowed(result, frames, mask, self.feather) if self.borrowed else result


def finish_frames(
    decode_some: Callable[[torch.Tensor], torch.Tensor],
    latents: torch.Tensor,
    placed: PlacedFrames,
    finishing: Finishing,
    watch: Watch = unwatched,
) -> Iterator[torch.Tensor]:
    """Decoded and finished frames [H, W, 3] 0..1 of latents [N, C, h, w], one after the other.

    Texture is chosen for a chunk of frames at a time; neighbouring chunks share frames, over which one goes over into the other.
    """
    count, lap = (CHUNK, FADE) if finishing.texture else (1, 0)  # without texture every frame is finished by itself
    tail: list[torch.Tensor] = []
    start = 0
    for chunk in _overlapping(placed, count, lap):
        some = list(finishing.apply(decode_some(latents[start : start + len(chunk)]), *stack_placed(chunk)))
        for index, before in enumerate(tail):
            share = (index + 1) / (lap + 1)
            some[index] = before * (1 - share) + some[index] * share
        watch("finish", len(chunk) - len(tail))
        done = max(len(chunk) - lap, 0)
        tail = [frame.clone() for frame in some[done:]]  # a view would keep the whole chunk alive
        yield from some[:done]
        del some
        start += done
    yield from tail


def _overlapping(placed: Iterable[Placed], count: int, lap: int) -> Iterator[list[Placed]]:
    """Lists of `count` frames, the first `lap` of each being the last of the one before; the last list may be shorter."""
    held: list[Placed] = []
    shown = 0
    for one in placed:
        held.append(one)
        if len(held) == count:
            yield list(held)
            held = held[count - lap :]
            shown = lap
    if len(held) > shown:
        yield held
