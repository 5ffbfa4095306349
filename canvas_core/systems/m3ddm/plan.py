"""M3DDM's levels of key frames: which strides a video gets, and the frame rate that a clip of a level is told."""

STRIDES = (15, 5, 1)
"""Of the published code; its paper draws 30, 15, 1."""

SHORT = 50
"""Frames below which M3DDM leaves out the key frames."""


def m3ddm_strides(length: int) -> tuple[int, ...]:
    """M3DDM's strides for a video: key frames only from 50 frames on."""
    return STRIDES if length >= SHORT else (1,)


def clip_rate(fps: float, stride: int, official: bool = False) -> float:
    """Frames of a level per second of the video, as M3DDM is told: a whole number, at least 1.

    `official` cuts as the published code does (fps // stride), which gives 0 for strides above the rate.
    """
    return float(fps // stride) if official else max(1.0, round(fps / stride))
