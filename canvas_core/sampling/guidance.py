"""How the predictions of several conditions combine, one function per published formula. All tensors share one shape."""

import torch


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
