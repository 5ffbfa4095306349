"""Small random models of ComfyUI's own architectures."""

import torch
from comfy_pack import load_comfyui
from safetensors.torch import load_file, save_file
from tiny import seeded
from transformers import CLIPTextConfig, CLIPTextModel

CLIP_WIDTH = 768


def clip_tensors():
    """The text encoder of Stable Diffusion 1, random, fp16, with `text_model.` keys."""
    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=CLIP_WIDTH,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        max_position_embeddings=77,
    )
    tensors = seeded(lambda: CLIPTextModel(config), 7).state_dict()
    prefix = "" if any(key.startswith("text_model.") for key in tensors) else "text_model."
    return {prefix + key: value.half() for key, value in tensors.items() if value.is_floating_point()}


def write_clip(path):
    save_file(clip_tensors(), path)
    return path


def inpaint_unet_tensors():
    """A two-level inpainting UNet that core takes for Stable Diffusion 1.5 (9 input channels)."""
    load_comfyui()
    import comfy.ops
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    class Initialised(comfy.ops.disable_weight_init):
        """Core's layers, which leave their weights unset, with torch's initialisation."""

        Linear, Conv2d, GroupNorm, LayerNorm = torch.nn.Linear, torch.nn.Conv2d, torch.nn.GroupNorm, torch.nn.LayerNorm

        @classmethod
        def conv_nd(cls, dims, *args, **kwargs):
            return torch.nn.Conv2d(*args, **kwargs)

    def make():
        return UNetModel(
            image_size=32,
            in_channels=9,
            out_channels=4,
            model_channels=320,
            num_res_blocks=[1, 1],
            channel_mult=(1, 1),
            transformer_depth=[1, 0],
            transformer_depth_middle=0,
            transformer_depth_output=[1, 1, 0, 0],
            context_dim=CLIP_WIDTH,
            num_heads=8,
            use_spatial_transformer=True,
            use_linear_in_transformer=False,
            legacy=False,
            operations=Initialised,
            dtype=torch.float32,
        )

    return seeded(make, 8).state_dict()


def write_inpaint_checkpoint(path, clip):
    """UNet and text encoder in one file; `clip` is the file that write_clip made."""
    tensors = {
        f"model.diffusion_model.{key}": value.half().contiguous() for key, value in inpaint_unet_tensors().items()
    }
    tensors |= {f"cond_stage_model.transformer.{key}": value for key, value in load_file(clip).items()}
    save_file(tensors, path)
    return path
