"""The layout encoder under core's model management: SAM and the encoder are loaded and offloaded like any model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.utils
import torch

from ....canvas_core.pixels.eight_bit import to_levels
from ....canvas_core.systems.checkpoint import open_checkpoint
from ....canvas_core.systems.follow_your_canvas.files import FOLLOW_YOUR_CANVAS
from ....canvas_core.systems.follow_your_canvas.layout_encoder import layout_tokens
from ....canvas_core.systems.follow_your_canvas.sam import CHUNK, encode_frames, load_sam
from ....canvas_core.systems.presets import DEFAULT
from ....canvas_core.systems.system import load_network, require_system
from ..clip_conds import Span
from ..progress import watch_stages
from .conds import Tokens


@dataclass(frozen=True)
class LayoutReader:
    """The socket type CANVAS_LAYOUT_ENCODER: both networks, and what the file says of RRE and prompts."""

    sam: Any
    encoder: Any
    rre: str
    text_width: int
    reads_text: bool

    def read(self, frames: torch.Tensor, spans: Sequence[Span]) -> tuple[Tokens, Tokens]:
        """Real and null tokens of each span, frames that are sampled together, of frames [F, h, w, 3] 0..1."""
        comfy.model_management.load_models_gpu(
            [self.sam], memory_required=_sam_memory(self.sam.model), force_full_load=True
        )
        levels = to_levels(frames[..., :3].cpu())
        features = encode_frames(self.sam.model, levels, watch_stages("layout"))
        comfy.model_management.load_models_gpu([self.encoder], force_full_load=True)
        encoder = self.encoder.model
        tokens = layout_tokens(encoder, features, spans, self.encoder.load_device, torch.float32)
        return tuple({span: tokens[kind, span] for span in spans} for kind in ("real", "null"))


def _sam_memory(sam: Any) -> float:
    """Bytes of one global attention over a chunk of frames: softmax and its input, float32."""
    tokens = (sam.img_size // sam.patch_embed.proj.kernel_size[0]) ** 2
    heads = sam.blocks[0].attn.num_heads
    return CHUNK * 3 * 4 * heads * tokens**2


def _patcher(network: torch.nn.Module) -> Any:
    management = comfy.model_management
    device, offload = management.get_torch_device(), management.text_encoder_offload_device()
    return comfy.model_patcher.CoreModelPatcher(network, load_device=device, offload_device=offload)


def load_layout_reader(canvas_path: str, sam_path: str) -> LayoutReader:
    """Read `temporal_proj.*` and `image_proj_model.*` of a canvas file, and a SAM file. Raises CheckpointError."""
    checkpoint = open_checkpoint(canvas_path)
    require_system(checkpoint, FOLLOW_YOUR_CANVAS)
    return LayoutReader(
        _patcher(load_sam(sam_path)),
        _patcher(load_network(checkpoint, "layout", operations=comfy.ops.manual_cast)),
        checkpoint.presets[DEFAULT].rre,
        checkpoint.config.text_width,
        checkpoint.config.reads_text,
    )
