"""M3DDM's encoder of the global frames: latents of frames from all over the video become tokens that every frame reads.

The bottleneck stages of a ResNet (He et al., 2016) under the published keys; alimama-creative/M3DDM-Video-Outpainting @ e2ccd7c.
"""

from typing import Any

import torch
from torch import nn
from torch.nn.functional import relu

WIDTHS = (8, 16, 32, 64, 128)
STRIDES = (1, 1, 2, 1, 1)
DEPTH = 2
NARROW = 4
"""A bottleneck's width is its output's over this."""


class Convolution(nn.Module):
    """Convolution without bias and batch normalisation by the recorded statistics; [N, in, H, W] -> [N, out, H', W']."""

    def __init__(self, ops: Any, inputs: int, outputs: int, kernel: int = 1, stride: int = 1):
        super().__init__()
        self.convolution = ops.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)
        self.normalization = nn.BatchNorm2d(outputs, dtype=ops.dtype, device=ops.device)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x, norm = self.convolution(x), self.normalization
        scale = norm.weight.to(x) * (norm.running_var.to(x) + norm.eps).rsqrt()
        shift = norm.bias.to(x) - norm.running_mean.to(x) * scale
        return x * scale[:, None, None] + shift[:, None, None]


class Bottleneck(nn.Module):
    """Narrow, 3x3, wide, around a shortcut."""

    def __init__(self, ops: Any, inputs: int, outputs: int, stride: int, shortcut: bool):
        super().__init__()
        narrow = outputs // NARROW
        self.layer = nn.ModuleList(
            [
                Convolution(ops, inputs, narrow),
                Convolution(ops, narrow, narrow, kernel=3, stride=stride),
                Convolution(ops, narrow, outputs),
            ]
        )
        self.shortcut = Convolution(ops, inputs, outputs, stride=stride) if shortcut else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, middle, last = self.layer
        h = last(relu(middle(relu(first(x)))))
        return relu(h + (x if self.shortcut is None else self.shortcut(x)))


class Stage(nn.Module):
    """Bottlenecks of one width; a level of nesting that exists for the published keys."""

    def __init__(self, ops: Any, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.layers = nn.ModuleList(
            Bottleneck(ops, outputs if i else inputs, outputs, 1 if i else stride, shortcut=not i) for i in range(DEPTH)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class GlobalFrameEncoder(nn.Module):
    """Scaled VAE latents [N, 4, H, W] of whole frames to features [N, width, H / 2 - 2, W / 2 - 2]."""

    def __init__(self, ops: Any, channels: int, width: int):
        super().__init__()
        inputs = (channels, *WIDTHS[:-1])
        self.resnet_layer = nn.ModuleList(Stage(ops, *sizes) for sizes in zip(inputs, WIDTHS, STRIDES, strict=True))
        self.convolution = ops.Conv2d(WIDTHS[-1], width, 3)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        for stage in self.resnet_layer:
            latents = stage(latents)
        return self.convolution(latents)
