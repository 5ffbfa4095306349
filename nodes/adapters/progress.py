"""Core's progress bar and its cancel button, for works that know neither."""

import comfy.model_management
import comfy.utils

from ...canvas_core.progress import Watch

PARTS = 100
"""Steps of the bar for each stage."""


def watch_stages(*stages: str) -> Watch:
    """A watch for works of these stages, which follow each other and take the same share of the bar.

    It raises core's InterruptProcessingException when the user has cancelled.
    """
    bar = comfy.utils.ProgressBar(len(stages) * PARTS)

    def watch(stage: str, done: int, total: int) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        bar.update_absolute(int(PARTS * (stages.index(stage) + done / total)))

    return watch
