"""Segment Anything's image encoder, the eye of the layout encoder: frames to [F, H W, C] features.

The network is `segment_anything` (facebookresearch/segment-anything @ 6fdee8f); this file finds its sizes and
prepares frames as Follow-Your-Canvas @ 2748eb1 does.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import nn

from ...errors import CheckpointError
from ...networks.weights import open_tensors
from ...progress import Watch, count_up, unwatched

if TYPE_CHECKING:
    from segment_anything.modeling import ImageEncoderViT

PREFIX = "image_encoder."
CHUNK = 2
"""Frames encoded together; published code takes 8, whose global attention alone needs 6 GB in float32."""

MEAN = torch.tensor([123.675, 116.28, 103.53])
STD = torch.tensor([58.395, 57.12, 57.375])


def build_sam(tensors: Mapping[str, torch.Tensor]) -> "ImageEncoderViT":
    """The image encoder of a SAM file, every size read from its shapes. Raises CheckpointError when keys are missing."""
    from segment_anything.modeling import ImageEncoderViT  # here, so that ComfyUI starts without it

    weights = {key.removeprefix(PREFIX): value for key, value in tensors.items() if key.startswith(PREFIX)} or dict(
        tensors
    )
    try:
        encoder = ImageEncoderViT(**_sizes(weights), norm_layer=partial(nn.LayerNorm, eps=1e-6))
        encoder.load_state_dict(weights)
    except (KeyError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise CheckpointError(f"this is not a Segment Anything file: {reason}; use sam_vit_b_01ec64.pth") from None
    return encoder.eval().requires_grad_(False)


def load_sam(path: str | Path) -> "ImageEncoderViT":
    """The image encoder of a SAM file, float32 on the CPU. Raises CheckpointError."""
    return build_sam(open_tensors(path).load(lambda key: True))


def _sizes(weights: Mapping[str, torch.Tensor]) -> dict[str, object]:
    """Constructor arguments of the image encoder. Blocks with the longest position table attend globally."""
    _, grid, _, width = weights["pos_embed"].shape
    patch = weights["patch_embed.proj.weight"].shape[-1]
    depth = 1 + max(int(key.split(".")[1]) for key in weights if key.startswith("blocks."))
    tables = [weights[f"blocks.{i}.attn.rel_pos_h"].shape for i in range(depth)]
    reach = [(rows + 1) // 2 for rows, _ in tables]
    return {
        "img_size": grid * patch,
        "patch_size": patch,
        "embed_dim": width,
        "depth": depth,
        "num_heads": width // tables[0][1],
        "mlp_ratio": weights["blocks.0.mlp.lin1.weight"].shape[0] / width,
        "qkv_bias": "blocks.0.attn.qkv.bias" in weights,
        "use_rel_pos": True,
        "window_size": min(reach),
        "global_attn_indexes": tuple(i for i, side in enumerate(reach) if side == grid),
        "out_chans": weights["neck.0.weight"].shape[0],
    }


def prepare_frame(levels: torch.Tensor, size: int) -> torch.Tensor:
    """One frame [h, w, 3] uint8 to [3, size, size]: longer side resized to `size`, normalised, zero-padded right and below."""
    scale = size / max(levels.shape[:2])
    h, w = (int(side * scale + 0.5) for side in levels.shape[:2])
    resized = Image.fromarray(levels.numpy()).resize((w, h), Image.Resampling.BILINEAR)
    x = (torch.from_numpy(np.array(resized)).float() - MEAN) / STD
    return nn.functional.pad(x.permute(2, 0, 1), (0, size - w, 0, size - h))


def encode_frames(encoder: "ImageEncoderViT", levels: torch.Tensor, watch: Watch = unwatched) -> torch.Tensor:
    """Frames [F, h, w, 3] uint8 to SAM features [F, H W, C], row by row, on the CPU. Frames are counted under "layout"."""
    weight = encoder.pos_embed
    features = []
    advance = count_up(watch, "layout", len(levels))
    with torch.inference_mode():
        for chunk in levels.split(CHUNK):
            x = torch.stack([prepare_frame(frame, encoder.img_size) for frame in chunk])
            features.append(encoder(x.to(weight)).flatten(2).transpose(1, 2).float().cpu())
            advance(len(chunk))
    return torch.cat(features)
