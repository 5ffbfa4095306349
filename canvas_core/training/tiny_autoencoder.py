"""TAESD, the tiny autoencoder (madebyollin/taesd): frames 0..1 to latents of any channel count and back.

Keys are those of core's `taesd_encoder.` and `taesd_decoder.`; the decoder's layer 0 is the clamp. Diffusers loads the same
network as AutoencoderTiny; this one exists for training, which runs without diffusers.
"""

import torch
from torch import nn

WIDTH = 64


def _conv(inputs: int, outputs: int, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=bias)


class Block(nn.Module):
    """Three convolutions around an identity; [N, 64, H, W] -> same."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(_conv(WIDTH, WIDTH), nn.ReLU(), _conv(WIDTH, WIDTH), nn.ReLU(), _conv(WIDTH, WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.conv(x) + x).relu()


class Clamp(nn.Module):
    """Soft limit of latents to -3..3."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x / 3) * 3


class TinyEncoder(nn.Sequential):
    """Frames [N, 3, H, W] 0..1 to latents [N, C, H / 8, W / 8]."""

    def __init__(self, channels: int):
        layers: list[nn.Module] = [_conv(3, WIDTH), Block()]
        for _ in range(3):
            layers += [_conv(WIDTH, WIDTH, stride=2, bias=False), Block(), Block(), Block()]
        super().__init__(*layers, _conv(WIDTH, channels))


class TinyDecoder(nn.Sequential):
    """Latents [N, C, h, w] to frames [N, 3, 8 h, 8 w], about 0..1."""

    def __init__(self, channels: int):
        layers: list[nn.Module] = [Clamp(), _conv(channels, WIDTH), nn.ReLU()]
        for _ in range(3):
            layers += [Block(), Block(), Block(), nn.Upsample(scale_factor=2), _conv(WIDTH, WIDTH, bias=False)]
        super().__init__(*layers, Block(), _conv(WIDTH, 3))
