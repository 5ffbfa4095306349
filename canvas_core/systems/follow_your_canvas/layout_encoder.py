"""Follow-Your-Canvas's layout encoder: SAM features of the anchor's frames to layout tokens.

Layout extraction (`temporal_proj`) and Q-former (`image_proj_model`) of mayuelala/FollowYourCanvas @ 2748eb1.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from einops import rearrange
from torch import nn

from ...errors import ConditioningError
from ...networks.layers import Attend, Attention, attend, bind
from ...networks.resampler import Resampler, feed_forward_of
from .config import LayoutEncoderConfig

POOL = 4
"""Frames averaged by each of the two pooling steps."""

MIN_FRAMES = POOL * POOL

Span = TypeVar("Span", bound=Sequence[int])
"""Frames of a clip as a range or a tuple, which can be keys."""


def _pool_frames(x: torch.Tensor) -> torch.Tensor:
    """Mean of every four frames, [B, F, L, D] -> [B, F // 4, L, D]; a rest of less than four is dropped."""
    whole = x.shape[1] // POOL * POOL
    return x[:, :whole].unflatten(1, (-1, POOL)).mean(dim=2)


class TemporalProjection(nn.Module):
    """SAM features [B, F, L, C] to [B, F // 16, L / patch^2, D]; L is a square grid, row by row."""

    def __init__(self, ops: Any, config: LayoutEncoderConfig):
        super().__init__()
        width = config.width
        self.patch_embed = ops.Conv2d(config.features, width, config.patch, stride=config.patch)
        self.attn_temp = Attention(ops, width, config.temporal_heads, inner=config.temporal_inner)
        self.norm_temp = ops.LayerNorm(width)
        self.ff = feed_forward_of(ops, width)
        self.norm1 = ops.LayerNorm(width)
        self.attn_temp_2 = Attention(ops, width, config.temporal_heads, inner=config.temporal_inner)
        self.norm_temp_2 = ops.LayerNorm(width)
        self.ff_2 = feed_forward_of(ops, width)
        self.norm2 = ops.LayerNorm(width)

    def forward(self, features: torch.Tensor, attend: Attend) -> torch.Tensor:
        batch, tokens = features.shape[0], features.shape[2]
        side = round(tokens**0.5)
        if side * side != tokens:
            raise ConditioningError(
                f"the layout features have {tokens} tokens a frame, but need a square grid such as 64 x 64; use the features of a SAM image encoder"
            )
        x = self.patch_embed(rearrange(features, "b f (h w) c -> (b f) c h w", h=side))
        x = rearrange(x, "(b f) c h w -> (b h w) f c", b=batch)
        x = x + self.attn_temp(self.norm_temp(x), attend)
        x = x + self.ff(self.norm1(x))  # `ff` starts with a second LayerNorm of its own
        x = _pool_frames(x[..., None, :])[..., 0, :]
        x = x + self.attn_temp_2(self.norm_temp_2(x), attend)
        x = x + self.ff_2(self.norm2(x))
        return _pool_frames(rearrange(x, "(b l) f c -> b f l c", b=batch))


class LayoutEncoder(nn.Module):
    """SAM features [B, F, L, C] to layout tokens [B, N, output]; keys are those of the published checkpoint."""

    def __init__(
        self, config: LayoutEncoderConfig, operations: Any = nn, dtype: torch.dtype | None = None, device: Any = None
    ):
        super().__init__()
        ops = bind(operations, dtype, device)
        self.config = config
        self.temporal_proj = TemporalProjection(ops, config)
        self.image_proj_model = Resampler(
            ops,
            config.width,
            config.query_width,
            config.query_heads,
            config.query_inner,
            config.depth,
            config.tokens,
            config.output,
        )

    def forward(self, features: torch.Tensor, attend: Attend = attend) -> torch.Tensor:
        """Fewer than 16 frames are filled up by repeating the last frame's features. Raises ConditioningError on a bad shape."""
        if features.ndim != 4 or features.shape[-1] != self.config.features:
            raise ConditioningError(
                f"the layout features are {tuple(features.shape)}, but must be [batch, frames, tokens, {self.config.features}]; use the SAM file this canvas model was trained with"
            )
        missing = MIN_FRAMES - features.shape[1]
        if missing > 0:
            features = torch.cat([features, features[:, -1:].expand(-1, missing, -1, -1)], dim=1)
        x = self.temporal_proj(features, attend)
        return self.image_proj_model(x.flatten(1, 2), attend)


def layout_tokens(
    encoder: LayoutEncoder, features: torch.Tensor, spans: Sequence[Span], device: Any, dtype: torch.dtype
) -> dict[tuple[str, Span], torch.Tensor]:
    """Real and null tokens [1, N, D] of every span of SAM features [F, L, C]: frames that are sampled together, any of them."""
    tokens, nulls = {}, {}
    with torch.inference_mode():
        for span in spans:
            real = features[list(span)][None].to(device, dtype)
            if len(span) not in nulls:  # the null layout depends on nothing but the number of frames
                nulls[len(span)] = encoder(torch.zeros_like(real)).float().cpu()
            tokens["real", span] = encoder(real).float().cpu()
            tokens["null", span] = nulls[len(span)]
    return tokens
