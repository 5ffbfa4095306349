"""How long works report what they have done."""

from collections.abc import Callable

Watch = Callable[[str, int], None]
"""watch(stage, units): is called as the work goes on, with the units that were done since; may raise to stop it."""


def unwatched(stage: str, units: int) -> None:
    """For works that nobody watches."""
