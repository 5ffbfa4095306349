"""Training the built-in autoencoder: the encoder is a fixed block transform, the decoder learns to undo it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import avg_pool2d
from torch.utils.data import Dataset

from ..errors import TrainingError
from ..media.pictures import write_picture
from ..plan.boxes import Size
from ..systems.follow_your_canvas.block_latent import encode_blocks
from .block_transform import as_encoder, learn_blocks
from .data.pictures import cut_view
from .data.scenes.scenes import render_scene
from .loop import channels_last
from .release import About, write_release
from .tiny_autoencoder import TinyDecoder

DETAIL = 0.5
"""Weight of the loss on local detail energy: without it the decoder answers doubt with blur."""


@dataclass(frozen=True)
class AutoencoderSettings:
    """Sizes of the training of the decoder."""

    channels: int = 32
    side: int = 128
    """Side of a training crop in pixels"""
    batch: int = 8
    scene_share: float = 0.5
    """Share of crops taken from rendered scenes instead of pictures"""
    latent_noise: float = 0.02
    """Noise on the latents, so that the decoder forgives what a sampler leaves"""


class Crops(Dataset[dict[str, torch.Tensor]]):
    """Item i is a batch of frames [N, 3, side, side] uint8."""

    def __init__(self, settings: AutoencoderSettings, pictures: list[np.ndarray], seed: int):
        self.settings, self.pictures, self.seed = settings, pictures, seed

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        draw = np.random.default_rng((self.seed, index))
        crops = np.stack([self._crop(draw) for _ in range(self.settings.batch)])
        return {"frames": torch.from_numpy(crops).permute(0, 3, 1, 2).contiguous()}

    def _crop(self, draw: np.random.Generator) -> np.ndarray:
        size = Size(self.settings.side, self.settings.side)
        if draw.random() < self.settings.scene_share:
            return render_scene(int(draw.integers(2**31)), 1, size, self.pictures)[0]
        return cut_view(self.pictures[draw.integers(len(self.pictures))], draw, size)


class AutoencoderTask:
    """Frames through the fixed encoder and the learned decoder."""

    def __init__(self, settings: AutoencoderSettings, pictures: list[np.ndarray], seed: int, about: About):
        if not pictures:
            raise TrainingError("there are no pictures to learn from; put some into the folder named 'pictures'")
        self.settings, self.pictures, self.seed, self.about = settings, pictures, seed, about
        self.kernel = learn_blocks(pictures, settings.channels)
        self.networks: nn.Module = channels_last(TinyDecoder(settings.channels))

    def batches(self) -> Crops:
        return Crops(self.settings, self.pictures, self.seed)

    def loss(self, networks: nn.Module, batch: Any, step: int) -> tuple[torch.Tensor, dict[str, float]]:
        frames = batch["frames"].float() / 255
        latents = encode_blocks(self.kernel, frames)
        draw = torch.Generator().manual_seed(step)
        noise = torch.randn(latents.shape, generator=draw).to(latents)
        result = networks((latents + self.settings.latent_noise * noise).to(memory_format=torch.channels_last)).float()
        error = (result - frames).abs().mean()
        energy = (_detail(result) - _detail(frames)).abs().mean()
        psnr = -10 * torch.log10((result - frames).square().mean()).item()
        return error + DETAIL * energy, {"error": error.item(), "energy": energy.item(), "psnr": psnr}

    def show(self, networks: nn.Module, path: Path) -> None:
        """Crops above, their reconstruction below."""
        frames = Crops(self.settings, self.pictures, self.seed + 1)[0]["frames"].float() / 255
        result = networks(encode_blocks(self.kernel, frames)).clamp(0, 1)
        rows = [torch.cat(list(x), dim=2) for x in (frames, result)]
        sheet = (torch.cat(rows, dim=1).permute(1, 2, 0) * 255).round().byte().numpy()
        write_picture(path, sheet)

    def export(self, networks: nn.Module, folder: Path, facts: dict[str, Any]) -> None:
        """`autoencoder.safetensors` with core's TAESD keys, half precision."""
        neutral = {"vae_scale": torch.tensor(1.0), "vae_shift": torch.tensor(0.0)}  # core warns where they are missing
        parts = {"taesd_encoder": as_encoder(self.kernel), "taesd_decoder": networks}
        tensors = {
            f"{part}.{name}": value for part, network in parts.items() for name, value in network.state_dict().items()
        }
        write_release(folder / "autoencoder.safetensors", {**tensors, **neutral}, self.about.metadata(facts))


def _detail(frames: torch.Tensor) -> torch.Tensor:
    """Local amplitude of detail: root mean square over 8x8 pixels of what a 2x2 mean removes, [N, 3, h, w]."""
    smooth = torch.nn.functional.interpolate(avg_pool2d(frames, 2), scale_factor=2, mode="nearest")
    return avg_pool2d((frames - smooth).square(), 8).add(1e-5).sqrt()
