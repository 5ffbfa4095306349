"""Training the canvas network: zero-terminal-SNR v-loss on hidden cells, with layout encoder and image encoder."""

import dataclasses
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from segment_anything.modeling import ImageEncoderViT
from torch import nn

from ..media.pictures import write_picture
from ..networks.layers import attend
from ..sampling.noise import share_noise
from ..systems.follow_your_canvas.config import LayoutEncoderConfig, UNetConfig
from ..systems.follow_your_canvas.files import FOLLOW_YOUR_CANVAS
from ..systems.follow_your_canvas.layout_encoder import LayoutEncoder
from ..systems.follow_your_canvas.network import FollowYourCanvasUNet
from ..systems.follow_your_canvas.schedule import STEPS, rates
from ..systems.follow_your_canvas.smooth_fill import SmoothFill
from .data.samples import Material, Samples, SampleSettings
from .loop import channels_last
from .release import About, write_release
from .sheets import FEW, draw_sheet, sample_few

Batch = dict[str, torch.Tensor]

SHORT = 64
"""Keys up to which attention is written out on a CPU."""


@dataclass(frozen=True)
class EyeSettings:
    """Sizes of the Segment Anything image encoder; names are its own."""

    img_size: int = 128
    patch_size: int = 8
    embed_dim: int = 96
    depth: int = 2
    num_heads: int = 4
    out_chans: int = 64
    window_size: int = 8
    global_attn_indexes: tuple[int, ...] = (1,)

    def build(self) -> ImageEncoderViT:
        """An untrained encoder."""
        norm = partial(nn.LayerNorm, eps=1e-6)
        return ImageEncoderViT(**dataclasses.asdict(self), use_rel_pos=True, norm_layer=norm)


class CanvasNetworks(nn.Module):
    """UNet, layout encoder and image encoder, run as one so that any number of devices can share the work."""

    def __init__(self, unet: UNetConfig, layout: LayoutEncoderConfig, eye: EyeSettings, kernel: torch.Tensor):
        """kernel [C, 3, 8, 8]: the block transform that makes the latents."""
        super().__init__()
        self.unet = FollowYourCanvasUNet(unet)
        if unet.prediction == "x0":
            self.unet.smooth_fill.blocks.copy_(kernel)
        self.layout_encoder = LayoutEncoder(layout)
        self.sam = eye.build()
        start_gently(self.unet)

    def forward(self, x: torch.Tensor, timestep: torch.Tensor, batch: Batch) -> torch.Tensor:
        """x [(B F), 2 C + 1, h, w], timestep [B] -> the UNet's prediction [(B F), C, h, w]."""
        clips = len(timestep)
        features = self.sam(batch["eye"]).flatten(2).transpose(1, 2).unflatten(0, (clips, -1))  # B F L C
        tokens = self.layout_encoder(features * batch["shown"][:, None, None, None])
        text = tokens.new_zeros(clips, 1, self.unet.config.text_width)
        return self.unet(x, timestep, text, tokens, batch["fps"], batch["region"], attend_short)


def attend_short(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int) -> torch.Tensor:
    """`attend`, written out over short axes on a CPU, whose fused kernel is slow there."""
    if q.device.type != "cpu" or not 1 < k.shape[1] <= SHORT:
        return attend(q, k, v, heads)
    a, b, c = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))  # B heads L d
    weights = (a @ b.mT * a.shape[-1] ** -0.5).softmax(-1)
    return (weights.to(c) @ c).transpose(1, 2).flatten(2)


def start_gently(unet: FollowYourCanvasUNet) -> None:
    """Zero the last layer of every residual branch, so that the untrained network adds nothing to its best guess."""
    for name, module in unet.named_modules():
        if name.endswith((".conv2", ".proj_out")) or name == "conv_out":
            for parameter in module.parameters():
                nn.init.zeros_(parameter)


@dataclass(frozen=True)
class LossSettings:
    """What the loss looks at."""

    terminal: float = 0.15
    """Share of clips at the last time step, where few-step sampling starts"""


class CanvasTask:
    """The built-in model's training: batches, loss, sheet and export."""

    def __init__(
        self,
        unet: UNetConfig,
        layout: LayoutEncoderConfig,
        eye: EyeSettings,
        samples: SampleSettings,
        loss: LossSettings,
        material: Material,
        kernel: torch.Tensor,
        seed: int,
        about: About,
    ):
        self.settings, self.seed, self.about = loss, seed, about
        self.dataset = Samples(samples, material, kernel, eye.img_size, seed)
        self.config = dataclasses.replace(measure_fill(unet, self.dataset), colours=preview_colours(kernel))
        self.networks: nn.Module = channels_last(CanvasNetworks(self.config, layout, eye, kernel))

    def batches(self) -> Samples:
        return self.dataset

    def loss(self, networks: nn.Module, batch: Batch, step: int) -> tuple[torch.Tensor, dict[str, float]]:
        clean, mask = batch["latents"], batch["mask"]
        clips = len(batch["fps"])
        generator = torch.Generator().manual_seed(hash((self.seed, step)))
        timestep = self._timesteps(clips, generator).to(clean.device)
        noise = torch.randn(clean.shape, generator=generator).to(clean)
        noise = torch.cat([share_noise(clip, self.config.noise_share) for clip in noise.chunk(clips)])
        signal, amount = (r.repeat_interleave(len(clean) // clips)[:, None, None, None] for r in rates(timestep))
        x = torch.cat([signal * clean + amount * noise, mask, clean * (1 - mask)], dim=1)
        prediction = networks(x.to(memory_format=torch.channels_last), timestep, batch)
        error = ((prediction - clean) * mask).square()
        hidden = mask.sum().clamp(min=1)
        loss = (error / amount.square()).sum() / hidden / clean.shape[1]
        last = (timestep == STEPS - 1).repeat_interleave(len(clean) // clips)[:, None, None, None]
        drafts = (error * last).sum() / (mask * last).sum().clamp(min=1)
        return loss, {"draft": drafts.item()}

    def _timesteps(self, clips: int, generator: torch.Generator) -> torch.Tensor:
        steps = torch.randint(STEPS, (clips,), generator=generator)
        last = torch.rand(clips, generator=generator) < self.settings.terminal
        return torch.where(last, STEPS - 1, steps)

    def show(self, networks: nn.Module, path: Path) -> None:
        """Rows: what is known on the fill, one step, a few steps, the truth; clips of the first batch."""
        batch = self.dataset[0]
        clean, mask = batch["latents"], batch["mask"]
        clips = len(batch["fps"])
        frames = len(clean) // clips
        known = clean * (1 - mask)

        def predict(x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = networks(torch.cat([x, mask, known], dim=1), timestep, batch)
            return result

        noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(self.seed))
        rows = [filler(self.dataset.kernel)(known, mask, frames)]
        rows += [sample_few(predict, noise, clips, steps) for steps in (1, FEW)]
        write_picture(path, draw_sheet([*rows, clean], self.dataset.kernel, frames))

    def export(self, networks: Any, folder: Path, facts: dict[str, Any]) -> None:
        """`canvas.safetensors` (UNet and layout encoder) and `sam.safetensors`, half precision."""
        parts = {**networks.unet.state_dict(), **networks.layout_encoder.state_dict()}
        metadata = self.about.metadata(facts)
        own = {
            **FOLLOW_YOUR_CANVAS.metadata(self.config),
            "canvas.rre": "centre_px",
            "canvas.presets": json.dumps(self.about.presets),
        }
        write_release(folder / "canvas.safetensors", parts, {**metadata, **own})
        eye = {f"image_encoder.{name}": value for name, value in networks.sam.state_dict().items()}
        write_release(folder / "sam.safetensors", eye, metadata)


def filler(kernel: torch.Tensor) -> SmoothFill:
    """The fill of latents that a block transform [C, 3, 8, 8] makes."""
    fill = SmoothFill(len(kernel))
    fill.blocks.copy_(kernel)
    return fill


@torch.no_grad()
def measure_fill(config: UNetConfig, dataset: Samples, batches: int = 24) -> UNetConfig:
    """The configuration with `spread`, the error of the fill in each channel, as the first batches show it."""
    if config.prediction != "x0" or config.spread:
        return config
    fill = filler(dataset.kernel)
    errors, count = torch.zeros(config.out_channels, dtype=torch.float64), torch.zeros(())
    for index in range(batches):
        batch = dataset[index]
        clean, mask = batch["latents"], batch["mask"]
        filled = fill(clean * (1 - mask), mask, len(clean) // len(batch["fps"]))
        errors += ((clean - filled) * mask).square().sum((0, 2, 3)).double()
        count += mask.sum()
    return dataclasses.replace(config, spread=_numbers((errors / count).sqrt()))


def preview_colours(kernel: torch.Tensor) -> tuple[float, ...]:
    """Red, green and blue, -1..1, of one unit of each of the three colour channels of a block transform."""
    return _numbers(2 * torch.linalg.inv(kernel[:3].sum((2, 3))).T.flatten())


def _numbers(values: torch.Tensor) -> tuple[float, ...]:
    return tuple(round(value, 4) for value in values.tolist())
