"""How works report what they have done, and how whoever watches may stop them."""

from collections.abc import Callable
from typing import Protocol


class Watch(Protocol):
    """Is told how far a stage of the work is; may raise to stop it."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """`done` of `total` units of a stage are done; stages may follow each other or take turns."""


def unwatched(stage: str, done: int, total: int) -> None:
    """For works that nobody watches."""


def within(watch: Watch, part: str) -> Watch:
    """A watch for one part of a work, whose stages are named after it."""
    return lambda stage, done, total: watch(f"{part}: {stage}", done, total)


def count_up(watch: Watch, stage: str, total: int) -> Callable[[int], None]:
    """A function that is called with the units done since its last call, for works that know no more than that."""
    done = 0

    def advance(units: int) -> None:
        nonlocal done
        done += units
        watch(stage, done, total)

    return advance
