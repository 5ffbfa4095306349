"""Layers of M3DDM's UNet. Tensors are [B, C, F, H, W]; group norms outside the spatial transformers look at all frames together."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from einops import rearrange
from torch import nn
from torch.nn.functional import interpolate, silu

from ...networks.layers import Attend, Attention, FeedForward, TimestepEmbedding, sinusoid
from .config import M3DDMConfig

FRAME_PERIOD = 1000
"""Longest period of the sinusoid of a frame's place; Stable Diffusion's is 10,000."""

FRAME_FEATURES = 320
"""Sinusoid features of a frame's place, at every width."""


class GlobalKeys(NamedTuple):
    """Key and value [B, N, D] of the global tokens in one layer; the same for all frames and time steps."""

    k: torch.Tensor
    v: torch.Tensor


class PseudoConv3d(nn.Module):
    """3x3 inside each frame, then 3 over time; [B, in, F, H, W] -> [B, out, F, H, W]."""

    def __init__(self, ops: Any, inputs: int, outputs: int):
        super().__init__()
        self.spatial_conv = ops.Conv2d(inputs, outputs, 3, padding=1)
        self.temporal_conv = ops.Conv1d(outputs, outputs, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, (h, w) = x.shape[0], x.shape[-2:]
        x = self.spatial_conv(rearrange(x, "b c f h w -> (b f) c h w"))
        x = self.temporal_conv(rearrange(x, "(b f) c h w -> (b h w) c f", b=batch))
        return rearrange(x, "(b h w) c f -> b c f h w", h=h, w=w)


class ResnetBlock(nn.Module):
    """[B, in, F, H, W] with embeddings of time and frame rate to [B, out, F, H, W]."""

    def __init__(self, ops: Any, config: M3DDMConfig, inputs: int, outputs: int):
        super().__init__()
        self.norm1 = ops.GroupNorm(config.norm_groups, inputs, eps=config.norm_eps)
        self.conv1 = PseudoConv3d(ops, inputs, outputs)
        self.time_emb_proj = ops.Linear(config.time_width, outputs)
        self.fps_emb_proj = ops.Linear(config.time_width, outputs)
        self.norm2 = ops.GroupNorm(config.norm_groups, outputs, eps=config.norm_eps)
        self.conv2 = PseudoConv3d(ops, outputs, outputs)
        self.conv_shortcut = ops.Conv3d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x: torch.Tensor, time: torch.Tensor, fps: torch.Tensor) -> torch.Tensor:
        h = self.conv1(silu(self.norm1(x)))
        h = h + (self.time_emb_proj(silu(time)) + self.fps_emb_proj(silu(fps)))[..., None, None, None]
        h = self.conv2(silu(self.norm2(h)))
        return h + (x if self.conv_shortcut is None else self.conv_shortcut(x))


class TransformerBlock(nn.Module):
    """Self-attention, a second attention and a feed-forward; x [N, L, D]."""

    def __init__(self, ops: Any, width: int, heads: int, context_width: int | None = None):
        super().__init__()
        self.norm1 = ops.LayerNorm(width)
        self.attn1 = Attention(ops, width, heads)
        self.norm2 = ops.LayerNorm(width)
        self.attn2 = Attention(ops, width, heads, context_width)
        self.norm3 = ops.LayerNorm(width)
        self.ff = FeedForward(ops, width)

    def forward(self, x: torch.Tensor, attend: Attend, keys: GlobalKeys | None = None) -> torch.Tensor:
        """The second attention reads `keys`, or x itself."""
        x = x + self.attn1(self.norm1(x), attend)
        h = self.norm2(x)
        x = x + (self.attn2(h, attend) if keys is None else self._read(h, keys, attend))
        return x + self.ff(self.norm3(x))

    def _read(self, x: torch.Tensor, keys: GlobalKeys, attend: Attend) -> torch.Tensor:
        # All frames of a clip see the same tokens, so they share one set of keys: (B F) L D -> B (F L) D.
        clips = self.attn2.to_q(x).reshape(keys.k.shape[0], -1, x.shape[-1])
        return self.attn2.to_out[0](attend(clips, keys.k, keys.v, self.attn2.heads)).reshape(x.shape)


class SpatialTemporalTransformer(nn.Module):
    """Attention inside each frame and to the global tokens, then over time at each place; [B, C, F, H, W] in and out."""

    def __init__(self, ops: Any, config: M3DDMConfig, width: int):
        super().__init__()
        groups, heads = config.norm_groups, config.heads
        self.norm = ops.GroupNorm(groups, width, eps=1e-6)
        self.proj_in = ops.Conv2d(width, width, 1)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(ops, width, heads, config.global_width)])
        self.proj_out = ops.Conv2d(width, width, 1)
        self.temporal_position_embed_proj = TimestepEmbedding(ops, FRAME_FEATURES, width)
        self.norm2 = ops.GroupNorm(groups, width, eps=1e-6)
        self.proj_in2 = ops.Conv3d(width, width, 1)
        self.transformer_blocks2 = nn.ModuleList([TransformerBlock(ops, width, heads)])
        self.proj_out2 = ops.Conv3d(width, width, 1)

    def forward(self, x: torch.Tensor, keys: GlobalKeys, attend: Attend) -> torch.Tensor:
        return self._over_time(self._inside_frames(x, keys, attend), attend)

    def _inside_frames(self, x: torch.Tensor, keys: GlobalKeys, attend: Attend) -> torch.Tensor:
        frames = rearrange(x, "b c f h w -> (b f) c h w")
        h = rearrange(self.proj_in(self.norm(frames)), "n c h w -> n (h w) c")
        h = self.transformer_blocks[0](h, attend, keys)
        h = self.proj_out(rearrange(h, "n (h w) c -> n c h w", h=x.shape[3]))
        return rearrange(frames + h, "(b f) c h w -> b c f h w", b=x.shape[0])

    def _over_time(self, x: torch.Tensor, attend: Attend) -> torch.Tensor:
        places = torch.arange(x.shape[2], device=x.device)
        code = self.temporal_position_embed_proj(sinusoid(places, FRAME_FEATURES, FRAME_PERIOD).to(x.dtype))
        h = rearrange(self.proj_in2(self.norm2(x)), "b c f h w -> (b h w) f c")
        h = self.transformer_blocks2[0](h + code, attend)
        return x + self.proj_out2(rearrange(h, "(b h w) f c -> b c f h w", h=x.shape[3], w=x.shape[4]))


class Resample(nn.Module):
    """The 1x3x3 convolution of a down- or up-sampler, under the published key `conv`. Time is never resampled."""

    def __init__(self, ops: Any, width: int, stride: int):
        super().__init__()
        self.conv = ops.Conv3d(width, width, (1, 3, 3), stride=(1, stride, stride), padding=(0, 1, 1))

    def forward(self, x: torch.Tensor, size: Sequence[int] | None = None) -> torch.Tensor:
        """With `size` (height, width), x is first resized to it (nearest), exact for cells that are not a multiple of 8, where
        the published code stops."""
        if size is not None:
            x = interpolate(x, size=(x.shape[2], *size), mode="nearest")
        return self.conv(x)
