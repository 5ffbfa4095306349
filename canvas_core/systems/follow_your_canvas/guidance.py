"""Which conditions Follow-Your-Canvas is asked with, and how its answers combine."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch

from ...sampling.guidance import text_guidance, text_layout_guidance


class Branch(NamedTuple):
    """What one model evaluation is told."""

    text: str
    """positive or negative"""
    layout: str
    """real or null; the null layout is zeros after the SAM encoder, so its tokens are not zero"""


@dataclass(frozen=True)
class Guidance:
    """The branches to evaluate and how their predictions, in that order, become one."""

    branches: tuple[Branch, ...]
    combine: Callable[..., torch.Tensor]


def guide_by_text(scale: float) -> Guidance:
    """Text guidance with the real layout in both branches, as Follow-Your-Canvas runs by default.

    At scale 1 the negative branch has no say and is not run.
    """
    if scale == 1:
        return Guidance((Branch("positive", "real"),), lambda positive: positive)
    return Guidance((Branch("negative", "real"), Branch("positive", "real")), partial(text_guidance, scale=scale))


def guide_by_text_and_layout(text_scale: float, layout_scale: float) -> Guidance:
    """Three branches, so that text and layout have scales of their own."""
    branches = (Branch("negative", "null"), Branch("positive", "null"), Branch("negative", "real"))
    return Guidance(branches, partial(text_layout_guidance, text_scale=text_scale, layout_scale=layout_scale))
