"""Layers that several networks share. B batch, F frames, C channels, H W cells, L tokens, D features."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from torch.nn.functional import gelu, scaled_dot_product_attention

Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, int], torch.Tensor]
"""attend(q [B, L, heads * d], k [B, M, heads * d], v [B, M, heads * d], heads) -> [B, L, heads * d]."""

BATCH_LIMIT = 2**15
"""Sequences per attention call: CUDA's fused kernels refuse grids beyond 65,535 sequences times heads."""


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int) -> torch.Tensor:
    """Softmax attention with the scale 1 / sqrt(d)."""
    if k.shape[1] == 1:  # a single key gets all the weight; a kernel would take longer to say so
        return v.expand(-1, q.shape[1], -1)

    def split(x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (heads, -1)).transpose(1, 2)  # B heads L d

    def chunk(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return x.split(max(1, BATCH_LIMIT // heads))

    parts = [
        scaled_dot_product_attention(split(a), split(b), split(c))
        for a, b, c in zip(chunk(q), chunk(k), chunk(v), strict=True)
    ]
    return torch.cat(parts).transpose(1, 2).flatten(2)


def bind(operations: Any, dtype: torch.dtype | None, device: Any) -> SimpleNamespace:
    """The layers a network is built of, taken from `operations` with dtype and device filled in and kept beside them."""
    names = ("Linear", "Conv1d", "Conv2d", "Conv3d", "GroupNorm", "LayerNorm")
    layers = {name: partial(getattr(operations, name), dtype=dtype, device=device) for name in names}
    return SimpleNamespace(**layers, dtype=dtype, device=device)


def up_inputs(widths: Sequence[int], layers: int, level: int) -> list[int]:
    """Channels entering each resnet on the way up at a level of a UNet: what comes from below, then the skip."""
    below = widths[min(level + 1, len(widths) - 1)]
    skips = [widths[level]] * layers + [widths[max(level - 1, 0)]]
    return [body + skip for body, skip in zip([below] + [widths[level]] * layers, skips, strict=True)]


def sinusoid(values: torch.Tensor, features: int, period: float = 10000) -> torch.Tensor:
    """Numbers [...] to [..., features] float32: cosines, then sines, of frequencies 1 to 1 / period."""
    half = features // 2
    frequency = torch.exp(torch.arange(half, dtype=torch.float32, device=values.device) * -math.log(period) / half)
    angle = values.float()[..., None] * frequency
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


class TimestepEmbedding(nn.Module):
    """Two linear layers with SiLU between them; [..., in] -> [..., out]."""

    def __init__(self, ops: Any, inputs: int, outputs: int):
        super().__init__()
        self.linear_1 = ops.Linear(inputs, outputs)
        self.linear_2 = ops.Linear(outputs, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear_2(nn.functional.silu(self.linear_1(x)))


class Attention(nn.Module):
    """Multi-head self-attention of x [B, L, D]; keys and values may be made of another width."""

    def __init__(self, ops: Any, width: int, heads: int, context_width: int | None = None, inner: int | None = None):
        super().__init__()
        self.heads = heads
        inner = inner or width
        self.to_q = ops.Linear(width, inner, bias=False)
        self.to_k = ops.Linear(context_width or width, inner, bias=False)
        self.to_v = ops.Linear(context_width or width, inner, bias=False)
        self.to_out = nn.ModuleList([ops.Linear(inner, width)])

    def forward(self, x: torch.Tensor, attend: Attend) -> torch.Tensor:
        return self.to_out[0](attend(self.to_q(x), self.to_k(x), self.to_v(x), self.heads))


class GEGLU(nn.Module):
    """Linear layer whose output is gated: value * gelu(gate)."""

    def __init__(self, ops: Any, inputs: int, outputs: int):
        super().__init__()
        self.proj = ops.Linear(inputs, 2 * outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * gelu(gate)


class FeedForward(nn.Module):
    """GEGLU to four times the width and back."""

    def __init__(self, ops: Any, width: int):
        super().__init__()
        self.net = nn.ModuleList([GEGLU(ops, width, 4 * width), nn.Identity(), ops.Linear(4 * width, width)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net[2](self.net[0](x))
