"""How the predictions of several conditions combine, one function per published formula. All tensors share one shape."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch


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


def text_guidance(negative: torch.Tensor, positive: torch.Tensor, scale: float) -> torch.Tensor:
    """Classifier-free guidance, Ho and Salimans (2022)."""
    return negative + scale * (positive - negative)


def text_layout_guidance(
    null: torch.Tensor, text: torch.Tensor, layout: torch.Tensor, text_scale: float, layout_scale: float
) -> torch.Tensor:
    """Two-condition guidance of Follow-Your-Canvas @ 2748eb1.

    null: negative text, null layout; text: the prompt, null layout; layout: negative text, real layout.
    """
    return null + text_scale * (text - null) + layout_scale * (layout - null)


def context_global_guidance(
    null: torch.Tensor, context: torch.Tensor, both: torch.Tensor, context_scale: float, global_scale: float
) -> torch.Tensor:
    """Two-condition guidance of M3DDM @ e2ccd7c: from nothing to the context, and from there to the global frames.

    null: neither; context: the context alone; both: context and global frames.
    """
    return null + context_scale * (context - null) + global_scale * (both - context)


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
