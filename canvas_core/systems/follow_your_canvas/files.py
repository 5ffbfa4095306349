"""Files of Follow-Your-Canvas and of the built-in model: UNet and layout encoder in one."""

from collections.abc import Mapping
from typing import Any

from ...errors import CheckpointError
from ...networks.weights import Shapes
from ..system import Checkpoint, Files, Part, Place, System, count, override
from .config import LayoutEncoderConfig, UNetConfig
from .layout_encoder import LayoutEncoder
from .network import FollowYourCanvasUNet
from .settings import Settings

FIRST_RESNET = "down_blocks.{}.resnets.0.conv1.weight"

STORED = (
    "heads",
    "norm_groups",
    "norm_eps",
    "prediction",
    "spread",
    "noise_share",
    "latent_scale",
    "colours",
    "hidden_cells",
    "reads_text",
    "spacing",
)
"""What the shapes of a UNet do not tell, and `canvas.config` does."""


def read_unet_config(shapes: Shapes, stored: Mapping[str, Any]) -> UNetConfig:
    """Sizes of a Follow-Your-Canvas UNet. Heads (width / 64) and norm groups (32) are constants unless stored."""
    levels = count(shapes, FIRST_RESNET)
    if not levels:
        raise KeyError(FIRST_RESNET.format(0))
    widths = tuple(shapes[FIRST_RESNET.format(i)][0] for i in range(levels))
    block = "mid_block.attentions.0.transformer_blocks.0"
    pe = "mid_block.motion_modules.0.temporal_transformer.transformer_blocks.0.attention_blocks.0.pos_encoder.pe"
    config = UNetConfig(
        block_out_channels=widths,
        layers_per_block=count(shapes, "down_blocks.0.resnets.{}.conv1.weight"),
        heads=tuple(width // 64 for width in widths),
        attention=tuple(f"down_blocks.{i}.attentions.0.proj_in.weight" in shapes for i in range(levels)),
        text_width=shapes[f"{block}.attn2.to_k.weight"][1],
        layout_width=shapes[f"{block}.attn2.to_k_ip.weight"][1],
        in_channels=shapes["conv_in.weight"][1],
        out_channels=shapes["conv_out.weight"][0],
        max_frames=shapes[pe][1],
        region_features=shapes["add_cond_embedding.linear_1.weight"][1] // 6,
    )
    config = override(config, stored, STORED)
    _check_unet_config(config)
    return config


CHOICES = {"prediction": ("v", "x0"), "hidden_cells": ("first", "any"), "spacing": ("leading", "trailing")}


def _check_unet_config(config: UNetConfig) -> None:
    widths, heads, groups = config.block_out_channels, config.heads, config.norm_groups
    channels = config.out_channels
    if config.in_channels != 2 * channels + 1:
        raise CheckpointError(
            f"the UNet takes {config.in_channels} channels and gives {channels}, but outpainting {channels} channels needs {2 * channels + 1}; pick the canvas checkpoint, not the model it was made from"
        )
    for name, known in CHOICES.items():
        if getattr(config, name) not in known:
            raise CheckpointError(
                f"the metadata 'canvas.config' says {name} {getattr(config, name)!r}, but this version knows {', '.join(known)}; update the pack"
            )
    if not 0 <= config.noise_share <= 1:
        raise CheckpointError(
            f"the metadata 'canvas.config' says noise_share {config.noise_share}, but a share is 0 to 1; convert the checkpoint again"
        )
    if config.prediction == "x0" and len(config.spread) != channels:
        raise CheckpointError(
            f"the metadata 'canvas.config' has {len(config.spread)} numbers under 'spread', but x0 prediction of {channels} channels needs as many; download the file again"
        )
    fits = isinstance(heads, tuple) and len(heads) == len(widths) and all(isinstance(n, int) and n > 0 for n in heads)
    if not fits or any(width % n for width, n in zip(widths, heads, strict=True)):
        raise CheckpointError(
            f"widths {widths} do not divide into heads {heads}; store the true heads, one number a level, under 'heads' in the metadata 'canvas.config'"
        )
    if not isinstance(groups, int) or groups < 1 or any(width % groups for width in widths):
        raise CheckpointError(
            f"widths {widths} do not divide into {groups} norm groups; store 'norm_groups' in the metadata 'canvas.config'"
        )


def read_layout_config(shapes: Shapes) -> LayoutEncoderConfig:
    """Sizes of the layout encoder. The published heads are 64 wide; narrower projections keep the published counts."""
    patch_embed = shapes["temporal_proj.patch_embed.weight"]
    temporal_inner = shapes["temporal_proj.attn_temp.to_q.weight"][0]
    query_inner = shapes["image_proj_model.layers.0.0.to_q.weight"][0]
    _, tokens, query_width = shapes["image_proj_model.latents"]
    return LayoutEncoderConfig(
        features=patch_embed[1],
        width=patch_embed[0],
        temporal_heads=temporal_inner // 64,
        temporal_inner=temporal_inner,
        patch=patch_embed[-1],
        query_width=query_width,
        query_heads=query_inner // 64,
        query_inner=query_inner,
        depth=count(shapes, "image_proj_model.layers.{}.0.to_q.weight"),
        tokens=tokens,
        output=shapes["image_proj_model.proj_out.weight"][0],
    )


def _open(checkpoint: Checkpoint, files: Files, settings: Settings, place: Place) -> Any:
    from .model import open_model

    return open_model(checkpoint, files, settings, place)


FOLLOW_YOUR_CANVAS = System(
    name="follow_your_canvas",
    title="Follow-Your-Canvas",
    required=(
        "conv_in.weight",
        "conv_out.weight",
        "add_cond_embedding.linear_1.weight",
        "fps_embedding.linear_1.weight",
        "down_blocks.0.motion_modules.0.temporal_transformer.proj_in.weight",
        "mid_block.attentions.0.transformer_blocks.0.attn2.to_k_ip.weight",
        "temporal_proj.patch_embed.weight",
        "image_proj_model.latents",
    ),
    read_config=read_unet_config,
    build=FollowYourCanvasUNet,
    stored=STORED,
    clean_key=lambda key: key.removeprefix("module."),
    settings=Settings,
    recorded=("rre",),
    files=("base", "vae", "sam"),
    strides=lambda length: (1,),
    in_rounds=True,
    in_time_windows=True,
    parts={"layout": Part(("temporal_proj.", "image_proj_model."), read_layout_config, LayoutEncoder)},
    open=_open,
)
