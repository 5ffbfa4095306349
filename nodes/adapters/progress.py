"""Core's progress bar and its cancel button, for work that knows neither."""

from collections.abc import Callable

import comfy.model_management
import comfy.utils

PARTS = 100
"""Steps of the bar for each work."""


def watch_works(count: int) -> list[Callable[[float], None]]:
    """A report(done) for each of `count` works that follow each other; `done` is the share 0..1 of the work that is done.

    Reporting moves the bar, and raises core's InterruptProcessingException when the user has cancelled.
    """
    bar = comfy.utils.ProgressBar(count * PARTS)

    def make(before: int) -> Callable[[float], None]:
        def report(done: float) -> None:
            comfy.model_management.throw_exception_if_processing_interrupted()
            bar.update_absolute(int(PARTS * (before + done)))

        return report

    return [make(index) for index in range(count)]
