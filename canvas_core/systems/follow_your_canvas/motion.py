"""AnimateDiff's motion module: attention over time at each spatial position, [(B F), C, H, W] in and out."""

import math
from typing import Any

import torch
from einops import rearrange
from torch import nn

from ...networks.layers import Attend, Attention, FeedForward

HEADS = 8
GROUPS = 32


class FramePosition(nn.Module):
    """The stored position code, added to [.., F, C]. Training may have resized it, so the checkpoint's values count.

    Made in float32 whatever the weights are: those may be stored in 8 bits, positions may not.
    """

    def __init__(self, ops: Any, frames: int, width: int):
        super().__init__()
        angle = torch.arange(frames)[:, None] * torch.exp(torch.arange(0, width, 2) * (-math.log(10000) / width))
        code = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)  # F C
        self.register_buffer("pe", code[None, :, :width].float().to(ops.device))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.pe[:, : x.shape[-2]].to(x)


class MotionAttention(Attention):
    """Each spatial position attends over time; query, key and value all carry the position code."""

    def __init__(self, ops: Any, width: int, frames: int):
        super().__init__(ops, width, HEADS)
        self.pos_encoder = FramePosition(ops, frames, width)

    def forward(self, x: torch.Tensor, attend: Attend) -> torch.Tensor:
        return super().forward(self.pos_encoder(x), attend)


class MotionBlock(nn.Module):
    """Two attentions over time and a feed-forward; x [(B H W), F, C]."""

    def __init__(self, ops: Any, width: int, frames: int):
        super().__init__()
        self.attention_blocks = nn.ModuleList(MotionAttention(ops, width, frames) for _ in range(2))
        self.norms = nn.ModuleList(ops.LayerNorm(width) for _ in range(2))
        self.ff = FeedForward(ops, width)
        self.ff_norm = ops.LayerNorm(width)

    def forward(self, x: torch.Tensor, attend: Attend) -> torch.Tensor:
        for attention, norm in zip(self.attention_blocks, self.norms, strict=True):
            x = x + attention(norm(x), attend)
        return x + self.ff(self.ff_norm(x))


class TemporalTransformer(nn.Module):
    """The body of a motion module, with its residual."""

    def __init__(self, ops: Any, width: int, frames: int):
        super().__init__()
        self.norm = ops.GroupNorm(GROUPS, width, eps=1e-6)
        self.proj_in = ops.Linear(width, width)
        self.transformer_blocks = nn.ModuleList([MotionBlock(ops, width, frames)])
        self.proj_out = ops.Linear(width, width)

    def forward(self, x: torch.Tensor, frames: int, attend: Attend) -> torch.Tensor:
        h = rearrange(self.norm(x), "(b f) c h w -> (b h w) f c", f=frames)
        h = self.proj_out(self.transformer_blocks[0](self.proj_in(h), attend))
        return x + rearrange(h, "(b h w) f c -> (b f) c h w", h=x.shape[2], w=x.shape[3])


class MotionModule(nn.Module):
    """AnimateDiff's motion module; a level of nesting that exists for the published keys."""

    def __init__(self, ops: Any, width: int, frames: int):
        super().__init__()
        self.temporal_transformer = TemporalTransformer(ops, width, frames)

    def forward(self, x: torch.Tensor, frames: int, attend: Attend) -> torch.Tensor:
        return self.temporal_transformer(x, frames, attend)
