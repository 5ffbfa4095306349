"""Frames to latents and back, frame by frame, with any image autoencoder of diffusers."""

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

from ..errors import CheckpointError
from ..plan.boxes import CELL
from .weights import TensorFile, open_tensors

logger = logging.getLogger(__name__)

ORIGINAL_RESNET = "encoder.down.{}.block.{}.conv1.weight"
DIFFUSERS_RESNET = "encoder.down_blocks.{}.resnets.{}.conv1.weight"

OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}

CORE_ONLY = ("vae_scale", "vae_shift")
"""Numbers that ComfyUI keeps in a TAESD file; its latents are scaled outside the network."""

SCALE = 0.18215
"""Latent scale of the Stable Diffusion autoencoder."""


def load_autoencoder(path: str | Path) -> Any:
    """A VAE from a diffusers folder or a single file: AutoencoderKL (diffusers or original keys) or TAESD, float32.

    Raises CheckpointError when it is none of these.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return (
                AutoencoderKL.from_pretrained(path, local_files_only=True, low_cpu_mem_usage=False)
                .float()
                .eval()
                .requires_grad_(False)
            )
        vae = _from_file(open_tensors(path))
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"{path.name} is not a usable VAE ({str(error).splitlines()[-1].strip()}); use the VAE of Stable Diffusion"
        ) from None
    return vae.eval().requires_grad_(False)


def _modern_key(key: str) -> str:
    """Attention keys of older diffusers, which Stable Diffusion 2.1 was published with, under today's names."""
    for old, new in OLD_ATTENTION.items():
        key = key.replace(f".attentions.0.{old}.", f".attentions.0.{new}.")
    return key


def _diffusers_key(key: str) -> str:
    """Keys of TAESD as ComfyUI stores it, `taesd_decoder.N+1`, under the names of diffusers, `decoder.layers.N`."""
    part, _, rest = key.partition(".")
    if part == "taesd_encoder":
        return f"encoder.layers.{rest}"
    if part == "taesd_decoder":
        index, _, name = rest.partition(".")
        return f"decoder.layers.{int(index) - 1}.{name}"
    return key


def _from_file(file: TensorFile) -> Any:
    tensors = {
        _modern_key(key.removeprefix("first_stage_model.")): value.float()
        for key, value in file.load(lambda key: True).items()
    }
    tensors = {_diffusers_key(key): value for key, value in tensors.items() if key not in CORE_ONLY}
    if "decoder.layers.0.weight" in tensors:
        vae: Any = AutoencoderTiny(latent_channels=tensors["decoder.layers.0.weight"].shape[1])
        vae.load_state_dict(tensors)
        return vae
    original = ORIGINAL_RESNET.format(0, 0) in tensors
    vae = _empty_kl(tensors, ORIGINAL_RESNET if original else DIFFUSERS_RESNET)
    if original:
        prefixed = {f"first_stage_model.{key}": value for key, value in tensors.items()}
        tensors = convert_ldm_vae_checkpoint(prefixed, dict(vae.config))
    vae.load_state_dict(tensors)
    return vae


def _empty_kl(tensors: dict[str, torch.Tensor], resnet: str) -> AutoencoderKL:
    """An AutoencoderKL of the sizes that the encoder's resnets tell; `resnet` is their key with level and layer open."""
    widths = [tensors[key].shape[0] for key in (resnet.format(i, 0) for i in range(8)) if key in tensors]
    if not widths:
        raise CheckpointError("this file is not a VAE: it has no encoder; use the VAE of Stable Diffusion, or TAESD")
    return AutoencoderKL(
        block_out_channels=tuple(widths),
        layers_per_block=sum(resnet.format(0, i) in tensors for i in range(8)),
        latent_channels=tensors["quant_conv.weight"].shape[0] // 2,
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        scaling_factor=SCALE,
        sample_size=512,  # side of a tile, where tiles are needed
    )


def _draw(vae: Any, x: torch.Tensor, epsilon: torch.Tensor) -> torch.Tensor:
    """Scaled latents [F, C, h, w] of frames [F, 3, H, W]; TAESD has no posterior to draw from."""
    encoded = vae.encode(x)
    mean = encoded.latents if isinstance(vae, AutoencoderTiny) else encoded.latent_dist.mean
    if mean.shape != epsilon.shape:
        raise CheckpointError(
            f"this VAE makes latents of {mean.shape[1]} channels at 1 / {x.shape[2] // mean.shape[2]} of the size, "
            f"but the canvas model takes {epsilon.shape[1]} at 1 / {CELL}; use the VAE it was trained with"
        )
    if isinstance(vae, AutoencoderTiny):
        return mean
    return (mean + encoded.latent_dist.std * epsilon.to(mean)) * vae.config.scaling_factor


def _within_memory(vae: Any, run: Callable[[], torch.Tensor]) -> torch.Tensor:
    """run(), and once more in tiles when the device's memory does not reach for whole frames."""
    try:
        return run()
    except torch.OutOfMemoryError:
        if vae.use_tiling:
            raise
        logger.warning(
            "not enough memory for whole frames of this canvas: the VAE goes on in tiles, which changes its result slightly"
        )
        vae.enable_tiling()
        torch.cuda.empty_cache()
    return run()


@torch.inference_mode()
def encode(vae: Any, frames: torch.Tensor, noise: torch.Tensor, device: Any = "cpu") -> torch.Tensor:
    """Frames [F, H, W, 3] 0..1 to scaled latents [F, C, H / 8, W / 8] on the CPU; `noise` of that shape draws from the posterior.

    Raises CheckpointError when the VAE has another latent than `noise`.
    """
    vae.to(device)

    def run(frame: torch.Tensor, epsilon: torch.Tensor) -> torch.Tensor:
        x = (frame[None] * 2 - 1).permute(0, 3, 1, 2).to(device)
        return _draw(vae, x, epsilon[None]).cpu()

    return torch.cat([_within_memory(vae, partial(run, *pair)) for pair in zip(frames, noise, strict=True)])


def decode_each(vae: Any, latents: torch.Tensor, slots: Iterable[int], device: Any = "cpu") -> Iterator[torch.Tensor]:
    """Frames [8 h, 8 w, 3] 0..1 of `slots` of latents [F, C, h, w], each decoded when it is asked for."""
    return (decode(vae, latents[slot][None], device)[0] for slot in slots)


@torch.inference_mode()
def decode(vae: Any, latents: torch.Tensor, device: Any = "cpu") -> torch.Tensor:
    """Scaled latents [F, C, h, w] to frames [F, 8 h, 8 w, 3] 0..1 on the CPU, frame by frame."""
    vae.to(device)

    def run(latent: torch.Tensor) -> torch.Tensor:
        return vae.decode(latent[None].to(device) / vae.config.scaling_factor).sample.cpu()

    frames = torch.cat([_within_memory(vae, partial(run, latent)) for latent in latents])
    return (frames / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).contiguous()
