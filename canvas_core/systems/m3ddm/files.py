"""Files of M3DDM: the UNet with its encoder of global frames, as diffusers stores it."""

from collections.abc import Mapping
from typing import Any

from ...errors import CheckpointError
from ...networks.weights import Shapes
from ..system import Checkpoint, Files, Place, System, count, override
from .config import M3DDMConfig
from .network import M3DDMUNet
from .plan import m3ddm_strides
from .settings import Settings

FIRST_RESNET = "down_blocks.{}.resnets.0.conv1.spatial_conv.weight"

# What diffusers calls the width of a head is their number in this architecture.
BESIDE = {"heads": "attention_head_dim", "norm_groups": "norm_num_groups", "norm_eps": "norm_eps"}


def read_config(shapes: Shapes, stored: Mapping[str, Any]) -> M3DDMConfig:
    """Sizes of an M3DDM UNet. Heads (8) and norm groups (32) are the published ones unless stored. Raises CheckpointError."""
    levels = count(shapes, FIRST_RESNET)
    config: M3DDMConfig = override(
        M3DDMConfig(
            block_out_channels=tuple(shapes[FIRST_RESNET.format(i)][0] for i in range(levels)),
            layers_per_block=count(shapes, "down_blocks.0.resnets.{}.conv1.spatial_conv.weight"),
            attention=tuple(f"down_blocks.{i}.attentions.0.proj_in.weight" in shapes for i in range(levels)),
            global_width=shapes["global_img_encoder.convolution.weight"][0],
            in_channels=shapes["conv_in.weight"][1],
            out_channels=shapes["conv_out.spatial_conv.weight"][0],
        ),
        stored,
        BESIDE,
    )
    for name in ("heads", "norm_groups"):
        parts = getattr(config, name)
        if not isinstance(parts, int) or parts < 1 or any(width % parts for width in config.block_out_channels):
            raise CheckpointError(
                f"widths {config.block_out_channels} do not divide into {parts!r} {name.replace('_', ' ')}; keep the published config.json beside the file, or store '{name}' in the metadata 'canvas.config'"
            )
    return config


def _open(checkpoint: Checkpoint, files: Files, settings: Settings, place: Place) -> Any:
    from .model import open_model

    return open_model(checkpoint, files, settings, place)


M3DDM = System(
    name="m3ddm",
    title="M3DDM",
    required=(
        "conv_in.weight",
        "conv_out.spatial_conv.weight",
        "fps_embedding.linear_1.weight",
        FIRST_RESNET.format(0),
        "mid_block.attentions.0.temporal_position_embed_proj.linear_1.weight",
        "global_img_encoder.convolution.weight",
    ),
    read_config=read_config,
    build=M3DDMUNet,
    stored=tuple(BESIDE),
    beside=BESIDE,
    clean_key=lambda key: key.removeprefix("module."),
    settings=Settings,
    files=("base", "vae"),
    strides=m3ddm_strides,
    in_rounds=False,
    in_time_windows=False,
    open=_open,
)
