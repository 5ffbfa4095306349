"""Small random networks in the official file formats, made in seconds by the tests."""

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from safetensors.torch import save_file
from segment_anything.modeling import ImageEncoderViT
from transformers import CLIPTextConfig, CLIPTextModel

from canvas_core.plan.boxes import CELL
from canvas_core.systems.follow_your_canvas.config import LayoutEncoderConfig, UNetConfig
from canvas_core.systems.follow_your_canvas.layout_encoder import LayoutEncoder
from canvas_core.systems.follow_your_canvas.network import FollowYourCanvasUNet
from canvas_core.systems.m3ddm.config import M3DDMConfig
from canvas_core.systems.m3ddm.network import M3DDMUNet

UNET = UNetConfig(
    block_out_channels=(64, 64),
    layers_per_block=1,
    heads=(1, 1),
    attention=(True, False),
    text_width=32,
    layout_width=32,
    max_frames=64,
    region_features=64,
)
"""Two levels: a third would normalise over so few cells that rounding errors grow."""
LAYOUT = LayoutEncoderConfig(
    features=8,
    width=32,
    temporal_heads=1,
    temporal_inner=64,
    patch=2,
    query_width=32,
    query_heads=1,
    query_inner=64,
    depth=1,
    tokens=4,
    output=32,
)
M3DDM = M3DDMConfig(
    block_out_channels=(16, 32),
    layers_per_block=1,
    heads=2,
    attention=(True, False),
    global_width=16,
    norm_groups=8,
)
SAM = {
    "img_size": 64,
    "patch_size": 16,
    "embed_dim": 24,
    "depth": 2,
    "num_heads": 2,
    "out_chans": 8,
    "use_rel_pos": True,
    "window_size": 2,
    "global_attn_indexes": (1,),
}


def seeded(make, seed=0):
    """What `make` builds under a seed of its own, in evaluation mode and with no parameter left at zero."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = make()
        for parameter in network.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.1)
    return network.eval().requires_grad_(False)


def with_blocks(fill):
    """A SmoothFill whose first three channels are a block's mean colours and the others patterns."""
    channels = len(fill.blocks)
    patterns = torch.randn(channels, 3, CELL * CELL, generator=torch.Generator().manual_seed(6))
    patterns -= patterns.mean(2, keepdim=True)
    patterns[:3] = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]])[..., None]
    fill.blocks.copy_(torch.nn.functional.normalize(patterns.flatten(1)).unflatten(1, (3, CELL, CELL)))
    return fill


def unet(config=UNET):
    network = seeded(lambda: FollowYourCanvasUNet(config), 1)
    if config.prediction == "x0":
        with_blocks(network.smooth_fill)
    return network


def layout_encoder(config=LAYOUT):
    return seeded(lambda: LayoutEncoder(config), 2)


def sam():
    return seeded(lambda: ImageEncoderViT(**SAM), 3)


def vae():
    return seeded(
        lambda: AutoencoderKL(
            block_out_channels=(8, 8, 8, 8),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            norm_num_groups=4,
            scaling_factor=0.18215,
        ),
        4,
    )


def checkpoint_tensors(config=UNET, layout=LAYOUT):
    return {**unet(config).state_dict(), **layout_encoder(layout).state_dict()}


def with_text_width(width, layout_width=32):
    """The tiny UNet for a text encoder of another width."""
    return UNetConfig(**{**UNET.__dict__, "text_width": width, "layout_width": layout_width})


def write_tensors(path: Path, tensors, metadata=None):
    """A weights file: .safetensors, or the published pickle format."""
    if path.suffix == ".safetensors":
        save_file(tensors, path, metadata)
    else:
        torch.save({"epoch": 0, "global_step": 1, "state_dict": tensors}, path)
    return path


def write_checkpoint(path: Path, config=UNET, metadata=None):
    """A canvas checkpoint: .safetensors, or the published pickle format with its prefix."""
    prefix = "" if path.suffix == ".safetensors" else "module."
    tensors = {f"{prefix}{key}": value for key, value in checkpoint_tensors(config).items()}
    return write_tensors(path, tensors, metadata)


def m3ddm(config=M3DDM):
    return seeded(lambda: M3DDMUNet(config), 7)


def write_m3ddm(folder: Path, config=M3DDM, prefix="", suffix=".bin"):
    """M3DDM as it is published: config.json and float16 weights as a pickle. Keys may have a prefix."""
    folder.mkdir(parents=True, exist_ok=True)
    options = {
        "_class_name": "UNet3DConditionModel",
        "attention_head_dim": config.heads,
        "norm_num_groups": config.norm_groups,
        "norm_eps": config.norm_eps,
    }
    (folder / "config.json").write_text(json.dumps(options))
    tensors = {f"{prefix}{key}": value for key, value in m3ddm(config).half().state_dict().items()}
    path = folder / f"diffusion_pytorch_model{suffix}"
    if suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return folder


def write_sam(path: Path):
    torch.save({f"image_encoder.{key}": value for key, value in sam().state_dict().items()}, path)
    return path


def write_taesd(path: Path, channels=4):
    """A VAE file in core's TAESD format: layers count from 1."""
    network = seeded(lambda: AutoencoderTiny(latent_channels=channels), 5)
    renamed = {}
    for key, value in network.state_dict().items():
        part, _, index, rest = key.split(".", 3)
        renamed[f"taesd_{part}.{int(index) + (part == 'decoder')}.{rest}"] = value.contiguous()
    save_file(renamed, path)
    return path


def write_base(folder: Path, width=32):
    """A Stable Diffusion folder: vae, tokenizer, text_encoder."""
    vae().save_pretrained(folder / "vae")
    config = CLIPTextConfig(
        vocab_size=64,
        hidden_size=width,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=77,
        bos_token_id=62,
        eos_token_id=63,
    )
    seeded(lambda: CLIPTextModel(config), 6).save_pretrained(folder / "text_encoder")
    tokenizer = folder / "tokenizer"
    tokenizer.mkdir(parents=True, exist_ok=True)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: index if index < 52 else index + 10 for index, word in enumerate(words)}
    (tokenizer / "vocab.json").write_text(json.dumps(vocabulary))
    (tokenizer / "merges.txt").write_text("#version: 0.2\n")
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": 77,
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
    }
    (tokenizer / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder
