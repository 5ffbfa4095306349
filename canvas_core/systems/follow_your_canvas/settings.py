"""How Follow-Your-Canvas is run."""

LONGEST_STRIDE = 16
"""Frame stride that Follow-Your-Canvas was trained with at most."""


def clip_stride(fps: int, stride: int) -> int:
    """The frame stride that Follow-Your-Canvas is told for a level, of the 2 to 16 it was trained with."""
    return min(fps * stride, LONGEST_STRIDE)
