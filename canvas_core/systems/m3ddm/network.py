"""M3DDM's UNet: Stable Diffusion 1.5 widened in time, its text replaced by tokens of global frames.

Reproduces UNet3DConditionModel of alimama-creative/M3DDM-Video-Outpainting @ e2ccd7c (Fan et al., "Hierarchical Masked 3D
Diffusion Model for Video Outpainting", 2023). Inside, tensors are [B, C, F, H, W]; group norms outside the spatial
transformers look at all frames together. Frames are the batch outside, [(B F), C, H, W], frame fastest.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import nn
from torch.nn.functional import silu

from ...errors import ConditioningError
from ...networks.layers import Attend, Attention, TimestepEmbedding, attend, bind, sinusoid, up_inputs
from .config import M3DDMConfig
from .global_encoder import GlobalFrameEncoder
from .layers import GlobalKeys, PseudoConv3d, Resample, ResnetBlock, SpatialTemporalTransformer

TIME_PERIOD, FPS_PERIOD = 1000, 30
"""Longest periods of the sinusoids; Stable Diffusion's is 10,000."""


@dataclass
class Conditions:
    """What every layer of one forward pass may need."""

    time: torch.Tensor
    """[B, T]"""
    fps: torch.Tensor
    """[B, T]"""
    keys: Iterator[GlobalKeys]
    """Of the layers in the order they run"""
    attend: Attend


class Level(nn.Module):
    """The layers of one resolution: resnet, transformer."""

    def __init__(self, ops: Any, config: M3DDMConfig, level: int, inputs: list[int]):
        super().__init__()
        width = config.block_out_channels[level]
        self.resnets = nn.ModuleList(ResnetBlock(ops, config, channels, width) for channels in inputs)
        self.attentions = nn.ModuleList(
            SpatialTemporalTransformer(ops, config, width) for _ in inputs if config.attention[level]
        )
        self.downsamplers = nn.ModuleList()
        self.upsamplers = nn.ModuleList()

    def layer(self, index: int, x: torch.Tensor, c: Conditions) -> torch.Tensor:
        """One resnet with what follows it."""
        x = self.resnets[index](x, c.time, c.fps)
        return self.attentions[index](x, next(c.keys), c.attend) if len(self.attentions) else x


class MidBlock(nn.Module):
    """Resnet, transformer, resnet at the coarsest resolution."""

    def __init__(self, ops: Any, config: M3DDMConfig):
        super().__init__()
        width = config.block_out_channels[-1]
        self.resnets = nn.ModuleList(ResnetBlock(ops, config, width, width) for _ in range(2))
        self.attentions = nn.ModuleList([SpatialTemporalTransformer(ops, config, width)])

    def forward(self, x: torch.Tensor, c: Conditions) -> torch.Tensor:
        x = self.resnets[0](x, c.time, c.fps)
        x = self.attentions[0](x, next(c.keys), c.attend)
        return self.resnets[1](x, c.time, c.fps)


class M3DDMUNet(nn.Module):
    """Predicts the noise [(B F), 4, H, W] of clips outpainted by M3DDM."""

    def __init__(self, config: M3DDMConfig, operations: Any = nn, dtype: torch.dtype | None = None, device: Any = None):
        super().__init__()
        ops = bind(operations, dtype, device)
        self.config = config
        self.dtype = dtype or torch.get_default_dtype()
        widths, layers = config.block_out_channels, config.layers_per_block
        self.conv_in = ops.Conv3d(config.in_channels, widths[0], (1, 3, 3), padding=(0, 1, 1))
        self.time_embedding = TimestepEmbedding(ops, widths[0], config.time_width)
        self.fps_embedding = TimestepEmbedding(ops, widths[0], config.time_width)
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
        self.conv_out = PseudoConv3d(ops, widths[0], config.out_channels)
        self.global_img_encoder = GlobalFrameEncoder(ops, config.out_channels, config.global_width)

    def encode_global(self, latents: torch.Tensor) -> list[GlobalKeys]:
        """Keys of every layer for the scaled latents [B, G, 4, h, w] of whole frames; zeros are the null condition.

        They depend on neither the time step nor the frame, so once a clip is enough.
        """
        features = self.global_img_encoder(latents.flatten(0, 1)).unflatten(0, latents.shape[:2])
        tokens = rearrange(features, "b g c h w -> b (g h w) c")
        return [GlobalKeys(layer.to_k(tokens), layer.to_v(tokens)) for layer in self._readers()]

    def _readers(self) -> Iterator[Attention]:
        """The attentions to the global tokens, in the order they run."""
        for block in (*self.down_blocks, self.mid_block, *self.up_blocks):
            for transformer in block.attentions:
                yield transformer.transformer_blocks[0].attn2

    def forward(
        self,
        x: torch.Tensor,
        timestep: torch.Tensor,
        keys: Sequence[GlobalKeys],
        fps: torch.Tensor,
        attend: Attend = attend,
    ) -> torch.Tensor:
        """x [(B F), 9, H, W] (mask 1 = generate), timestep [B], keys of `encode_global`, fps [B] (of the clip's frames, cut to
        whole numbers) -> noise [(B F), 4, H, W]. Raises ConditioningError when the keys are another model's."""
        frames = x.shape[0] // timestep.shape[0]
        h = rearrange(x, "(b f) c h w -> b c f h w", f=frames)
        h = self._run(h, self._conditions(x, timestep, keys, fps, attend))
        return rearrange(h, "b c f h w -> (b f) c h w")

    def _conditions(
        self, x: torch.Tensor, timestep: torch.Tensor, keys: Sequence[GlobalKeys], fps: torch.Tensor, attend: Attend
    ) -> Conditions:
        wanted = sum(1 for _ in self._readers())
        if len(keys) != wanted:
            raise ConditioningError(
                f"the global frames come with keys for {len(keys)} layers, but this model has {wanted}; encode them with the same model"
            )
        width = self.config.block_out_channels[0]
        time = self.time_embedding(sinusoid(timestep, width, TIME_PERIOD).to(x.dtype))
        rate = self.fps_embedding(sinusoid(fps.long(), width, FPS_PERIOD).to(x.dtype))
        return Conditions(time, rate, iter(keys), attend)

    def _run(self, x: torch.Tensor, c: Conditions) -> torch.Tensor:
        h = self.conv_in(x)
        skips = [h]
        for down in self.down_blocks:
            for index in range(len(down.resnets)):
                h = down.layer(index, h, c)
                skips.append(h)
            for resample in down.downsamplers:
                h = resample(h)
                skips.append(h)
        h = self.mid_block(h, c)
        for up in self.up_blocks:
            for index in range(len(up.resnets)):
                h = up.layer(index, torch.cat([h, skips.pop()], dim=1), c)
            for resample in up.upsamplers:
                h = resample(h, skips[-1].shape[3:])
        return self.conv_out(silu(self.conv_norm_out(h)))
