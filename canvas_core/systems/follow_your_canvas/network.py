"""The Follow-Your-Canvas UNet: Stable Diffusion 2.1 with motion modules, layout attention and a region embedding.

Reproduces UNet3DConditionModel of mayuelala/FollowYourCanvas @ 2748eb1 with the attention scale of its xformers path.
Frames are the batch: tensors are [(B F), C, H, W], frame fastest. The layout encoder is a network of its own.
"""

from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import nn
from torch.nn.functional import interpolate, silu

from ...errors import ConditioningError
from ...networks.layers import Attend, Attention, FeedForward, TimestepEmbedding, attend, bind, sinusoid, up_inputs
from .clean_guess import CleanGuess
from .config import UNetConfig
from .motion import MotionModule
from .smooth_fill import SmoothFill

Control = dict[str, list[torch.Tensor | None]]
"""Residuals of a ControlNet or adapter: `input` after each layer on the way down, `middle`, and `output` for the skips; the last of
each list is used first."""


class ResnetBlock(nn.Module):
    """[(B F), in, H, W] and a time embedding [(B F), T] to [(B F), out, H, W]."""

    def __init__(self, ops: Any, config: UNetConfig, inputs: int, outputs: int):
        super().__init__()
        self.norm1 = ops.GroupNorm(config.norm_groups, inputs, eps=config.norm_eps)
        self.conv1 = ops.Conv2d(inputs, outputs, 3, padding=1)
        self.time_emb_proj = ops.Linear(config.time_width, outputs)
        self.norm2 = ops.GroupNorm(config.norm_groups, outputs, eps=config.norm_eps)
        self.conv2 = ops.Conv2d(outputs, outputs, 3, padding=1)
        self.conv_shortcut = ops.Conv2d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x: torch.Tensor, emb: torch.Tensor) -> torch.Tensor:
        h = self.conv1(silu(self.norm1(x)))
        h = h + self.time_emb_proj(silu(emb))[:, :, None, None]
        h = self.conv2(silu(self.norm2(h)))
        return h + (x if self.conv_shortcut is None else self.conv_shortcut(x))


class LayoutCrossAttention(Attention):
    """One query over the text and over the layout tokens; both answers are added (IP-Adapter's decoupled attention)."""

    def __init__(self, ops: Any, width: int, heads: int, text_width: int, layout_width: int):
        super().__init__(ops, width, heads, text_width)
        self.to_k_ip = ops.Linear(layout_width, width, bias=False)
        self.to_v_ip = ops.Linear(layout_width, width, bias=False)

    def attend_both(self, x: torch.Tensor, text: torch.Tensor, layout: torch.Tensor, attend: Attend) -> torch.Tensor:
        q = self.to_q(x)
        told = attend(q, self.to_k(text), self.to_v(text), self.heads)
        seen = attend(q, self.to_k_ip(layout), self.to_v_ip(layout), self.heads)
        return self.to_out[0](told + seen)


class SpatialBlock(nn.Module):
    """Transformer block inside each frame; x [(B F), L, D], text [B, T, D'], layout [B, N, D'']."""

    def __init__(self, ops: Any, config: UNetConfig, width: int, heads: int):
        super().__init__()
        self.norm1 = ops.LayerNorm(width)
        self.attn1 = Attention(ops, width, heads)
        self.norm2 = ops.LayerNorm(width)
        self.attn2 = LayoutCrossAttention(ops, width, heads, config.text_width, config.layout_width)
        self.norm3 = ops.LayerNorm(width)
        self.ff = FeedForward(ops, width)

    def forward(self, x: torch.Tensor, text: torch.Tensor, layout: torch.Tensor, attend: Attend) -> torch.Tensor:
        x = x + self.attn1(self.norm1(x), attend)
        # All frames of a clip see the same context, so they share one set of keys: (B F) L D -> B (F L) D.
        clips = self.norm2(x).reshape(text.shape[0], -1, x.shape[-1])
        x = x + self.attn2.attend_both(clips, text, layout, attend).reshape(x.shape)
        return x + self.ff(self.norm3(x))


class SpatialTransformer(nn.Module):
    """Self-attention, text and layout attention inside each frame."""

    def __init__(self, ops: Any, config: UNetConfig, width: int, heads: int):
        super().__init__()
        self.norm = ops.GroupNorm(config.norm_groups, width, eps=1e-6)
        self.proj_in = ops.Linear(width, width)
        self.transformer_blocks = nn.ModuleList([SpatialBlock(ops, config, width, heads)])
        self.proj_out = ops.Linear(width, width)

    def forward(self, x: torch.Tensor, text: torch.Tensor, layout: torch.Tensor, attend: Attend) -> torch.Tensor:
        h = rearrange(self.norm(x), "n c h w -> n (h w) c")
        h = self.transformer_blocks[0](self.proj_in(h), text, layout, attend)
        return x + rearrange(self.proj_out(h), "n (h w) c -> n c h w", h=x.shape[2])


class Resample(nn.Module):
    """The convolution of a down- or up-sampler, under the published key `conv`."""

    def __init__(self, ops: Any, width: int, stride: int):
        super().__init__()
        self.conv = ops.Conv2d(width, width, 3, stride=stride, padding=1)

    def forward(self, x: torch.Tensor, size: torch.Size | None = None) -> torch.Tensor:
        """With `size`, x is first resized to it (nearest): exact for cells that are not a multiple of 8."""
        return self.conv(x if size is None else interpolate(x, size=size, mode="nearest"))


@dataclass
class Conditions:
    """What every layer of one forward pass may need."""

    emb: torch.Tensor
    """[(B F), T]"""
    text: torch.Tensor
    """[B, L, D]"""
    layout: torch.Tensor
    """[B, N, D], region embedding included"""
    frames: int
    attend: Attend


class Level(nn.Module):
    """The layers of one resolution: resnet, spatial transformer, motion module."""

    def __init__(self, ops: Any, config: UNetConfig, level: int, inputs: list[int]):
        super().__init__()
        width, heads = config.block_out_channels[level], config.heads[level]
        self.resnets = nn.ModuleList(ResnetBlock(ops, config, channels, width) for channels in inputs)
        self.attentions = nn.ModuleList(
            SpatialTransformer(ops, config, width, heads) for _ in inputs if config.attention[level]
        )
        self.motion_modules = nn.ModuleList(MotionModule(ops, width, config.max_frames) for _ in inputs)
        self.downsamplers = nn.ModuleList()
        self.upsamplers = nn.ModuleList()

    def layer(self, index: int, x: torch.Tensor, c: Conditions) -> torch.Tensor:
        """One resnet with what follows it."""
        x = self.resnets[index](x, c.emb)
        if len(self.attentions):
            x = self.attentions[index](x, c.text, c.layout, c.attend)
        return self.motion_modules[index](x, c.frames, c.attend)


class MidBlock(nn.Module):
    """Resnet, spatial transformer, motion module, resnet at the coarsest resolution."""

    def __init__(self, ops: Any, config: UNetConfig):
        super().__init__()
        width, heads = config.block_out_channels[-1], config.heads[-1]
        self.resnets = nn.ModuleList(ResnetBlock(ops, config, width, width) for _ in range(2))
        self.attentions = nn.ModuleList([SpatialTransformer(ops, config, width, heads)])
        self.motion_modules = nn.ModuleList([MotionModule(ops, width, config.max_frames)])

    def forward(self, x: torch.Tensor, c: Conditions) -> torch.Tensor:
        x = self.resnets[0](x, c.emb)
        x = self.attentions[0](x, c.text, c.layout, c.attend)
        x = self.motion_modules[0](x, c.frames, c.attend)
        return self.resnets[1](x, c.emb)


class FollowYourCanvasUNet(nn.Module):
    """Predicts v [(B F), 4, H, W] for clips outpainted by Follow-Your-Canvas."""

    def __init__(self, config: UNetConfig, operations: Any = nn, dtype: torch.dtype | None = None, device: Any = None):
        super().__init__()
        ops = bind(operations, dtype, device)
        self.config = config
        self.dtype = dtype or torch.get_default_dtype()
        widths, layers = config.block_out_channels, config.layers_per_block
        if config.prediction == "x0":
            self.smooth_fill = SmoothFill(config.out_channels, ops.dtype, ops.device)
        self.conv_in = ops.Conv2d(config.in_channels, widths[0], 3, padding=1)
        self.time_embedding = TimestepEmbedding(ops, widths[0], config.time_width)
        self.fps_embedding = TimestepEmbedding(ops, widths[0], config.time_width)
        self.add_cond_embedding = TimestepEmbedding(ops, 6 * config.region_features, config.layout_width)
        entering = [widths[0], *widths[:-1]]
        self.down_blocks = nn.ModuleList(
            Level(ops, config, i, [entering[i]] + [w] * (layers - 1)) for i, w in enumerate(widths)
        )
        self.mid_block = MidBlock(ops, config)
        self.up_blocks = nn.ModuleList(
            Level(ops, config, i, up_inputs(widths, layers, i)) for i in reversed(range(len(widths)))
        )
        for level in range(len(widths) - 1):
            self.down_blocks[level].downsamplers.append(Resample(ops, widths[level], stride=2))
            self.up_blocks[level].upsamplers.append(Resample(ops, widths[-1 - level], stride=1))
        self.conv_norm_out = ops.GroupNorm(config.norm_groups, widths[0], eps=config.norm_eps)
        self.conv_out = ops.Conv2d(widths[0], config.out_channels, 3, padding=1)

    def forward(
        self,
        x: torch.Tensor,
        timestep: torch.Tensor,
        text: torch.Tensor,
        layout: torch.Tensor,
        fps: torch.Tensor,
        region: torch.Tensor,
        attend: Attend = attend,
        control: Control | None = None,
    ) -> torch.Tensor:
        """x [(B F), 9, H, W], timestep [B], text [B, L, D], layout [B, N, D'], fps [B] (training frame stride, 2 to 16),
        region [B, 6] integers in pixels -> v [(B F), 4, H, W].

        With x0 prediction the clean latent comes back instead, float32. Raises ConditioningError when a clip is longer than
        the position code or a token width does not fit.
        """
        c = self._conditions(x, timestep, text, layout, fps, region, attend)
        if self.config.prediction == "v":
            return self._run(x, c, control)
        channels = self.config.out_channels
        noisy, mask, known = x.float().split([channels, 1, channels], dim=1)
        fill = self.smooth_fill(known, mask, c.frames)
        guess = CleanGuess(noisy, fill, mask, timestep, self.config.spread)
        # The guess holds all that the noisy latent tells, without the noise that tells nothing.
        return guess.finish(self._run(torch.cat([guess.start, mask, fill], dim=1).to(x), c, control))

    def _run(self, x: torch.Tensor, c: Conditions, control: Control | None) -> torch.Tensor:
        """The network itself; shapes as in `forward`."""
        control = {key: list(parts) for key, parts in (control or {}).items()}
        h = _add_control(self.conv_in(x), control, "input")
        skips = [h]
        for down in self.down_blocks:
            for index in range(len(down.resnets)):
                h = _add_control(down.layer(index, h, c), control, "input")
                skips.append(h)
            for resample in down.downsamplers:
                h = _add_control(resample(h), control, "input")
                skips.append(h)
        h = _add_control(self.mid_block(h, c), control, "middle")
        for up in self.up_blocks:
            for index in range(len(up.resnets)):
                skip = _add_control(skips.pop(), control, "output")
                h = up.layer(index, torch.cat([h, skip], dim=1), c)
            for resample in up.upsamplers:
                h = resample(h, skips[-1].shape[2:])
        return self.conv_out(silu(self.conv_norm_out(h)))

    def _conditions(
        self,
        x: torch.Tensor,
        timestep: torch.Tensor,
        text: torch.Tensor,
        layout: torch.Tensor,
        fps: torch.Tensor,
        region: torch.Tensor,
        attend: Attend,
    ) -> Conditions:
        frames = x.shape[0] // timestep.shape[0]
        if frames > self.config.max_frames:
            raise ConditioningError(
                f"the clip has {frames} frames, but this model reaches {self.config.max_frames} at once; add time windows of at most {self.config.max_frames} frames or shorten the clip"
            )
        _check_width("text", text, self.config.text_width, "use the text encoder this model was trained with")
        _check_width("layout", layout, self.config.layout_width, "use the layout encoder of the same canvas file")
        width = self.config.block_out_channels[0]
        emb = self.time_embedding(sinusoid(timestep, width).to(x.dtype)) + self.fps_embedding(
            sinusoid(fps, width).to(x.dtype)
        )
        code = sinusoid(region, self.config.region_features).flatten(1)  # float32: large offsets must not round
        layout = layout + self.add_cond_embedding(code.to(x.dtype))[:, None]
        return Conditions(emb.repeat_interleave(frames, dim=0), text, layout, frames, attend)


def _check_width(name: str, tokens: torch.Tensor, width: int, fix: str) -> None:
    if tokens.shape[-1] != width:
        raise ConditioningError(
            f"the {name} tokens are {tokens.shape[-1]} wide, but this canvas model takes {width}; {fix}"
        )


def _add_control(h: torch.Tensor, control: Control, key: str) -> torch.Tensor:
    residual = control[key].pop() if control.get(key) else None
    return h if residual is None else h + residual.to(h)
