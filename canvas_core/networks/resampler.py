"""A Q-former that turns any number of features into a fixed number of tokens."""

from typing import Any

import torch
from torch import nn

from .layers import Attend


def feed_forward_of(ops: Any, width: int) -> nn.Sequential:
    """A feed-forward layer without biases that begins with a norm of its own."""
    return nn.Sequential(
        ops.LayerNorm(width),
        ops.Linear(width, 4 * width, bias=False),
        nn.GELU(),
        ops.Linear(4 * width, width, bias=False),
    )


class PerceiverAttention(nn.Module):
    """Queries attend over the features and themselves."""

    def __init__(self, ops: Any, width: int, heads: int, inner: int):
        super().__init__()
        self.heads = heads
        self.norm1 = ops.LayerNorm(width)
        self.norm2 = ops.LayerNorm(width)
        self.to_q = ops.Linear(width, inner, bias=False)
        self.to_kv = ops.Linear(width, 2 * inner, bias=False)
        self.to_out = ops.Linear(inner, width, bias=False)

    def forward(self, x: torch.Tensor, queries: torch.Tensor, attend: Attend) -> torch.Tensor:
        queries = self.norm2(queries)
        k, v = self.to_kv(torch.cat([self.norm1(x), queries], dim=1)).chunk(2, dim=-1)
        return self.to_out(attend(self.to_q(queries), k, v, self.heads))


class Resampler(nn.Module):
    """Features [B, L, D] to a fixed number of tokens [B, N, output] (Q-former, IP-Adapter-Plus)."""

    def __init__(
        self, ops: Any, width: int, query_width: int, heads: int, inner: int, depth: int, tokens: int, output: int
    ):
        """width: D; query_width, heads and inner: of the queries and their attention; depth: layers; tokens: N."""
        super().__init__()
        self.latents = nn.Parameter(
            torch.empty(1, tokens, query_width, dtype=ops.dtype, device=ops.device).normal_(std=query_width**-0.5)
        )
        self.proj_in = ops.Linear(width, query_width)
        self.proj_out = ops.Linear(query_width, output)
        self.norm_out = ops.LayerNorm(output)
        self.layers = nn.ModuleList(
            nn.ModuleList([PerceiverAttention(ops, query_width, heads, inner), feed_forward_of(ops, query_width)])
            for _ in range(depth)
        )

    def forward(self, x: torch.Tensor, attend: Attend) -> torch.Tensor:
        x = self.proj_in(x)
        queries = self.latents.to(x).expand(x.shape[0], -1, -1)
        for attention, feed_forward in self.layers:
            queries = queries + attention(x, queries, attend)
            queries = queries + feed_forward(queries)
        return self.norm_out(self.proj_out(queries))
