"""VAE files in the original layout, as ComfyUI keeps them, load in the headless engine too."""

import comfy_pack
import torch
from safetensors.torch import save_file
from tiny import seeded

comfy_pack.load_comfyui()

from comfy.ldm.models.autoencoder import AutoencoderKL  # noqa: E402

from canvas_core.networks.autoencoder import SCALE, decode, encode, load_autoencoder  # noqa: E402

SIZES = {
    "double_z": True,
    "z_channels": 4,
    "resolution": 64,
    "in_channels": 3,
    "out_ch": 3,
    "ch": 32,
    "ch_mult": [1, 2, 2, 2],
    "num_res_blocks": 1,
    "attn_resolutions": [],
    "dropout": 0.0,
}


def core_vae():
    def make():
        vae = AutoencoderKL(embed_dim=4, ddconfig=SIZES)
        for parameter in vae.parameters():  # core leaves its weights unset
            torch.nn.init.normal_(parameter, std=0.05)
        return vae

    return seeded(make, 21)


def test_original_keys_give_core_s_result(tmp_path):
    vae = core_vae()
    save_file(
        {f"first_stage_model.{key}": value.contiguous() for key, value in vae.state_dict().items()},
        tmp_path / "vae.safetensors",
    )
    ours = load_autoencoder(tmp_path / "vae.safetensors")
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(2, 4, 5, 7, generator=generator)
    expected = (vae.decode(latents / SCALE) / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)
    assert (decode(ours, latents) - expected).abs().max() < 1e-4
    frames = torch.rand(2, 40, 56, 3, generator=generator)
    mean = vae.quant_conv(vae.encoder((frames * 2 - 1).permute(0, 3, 1, 2))).chunk(2, dim=1)[0]
    drawn = encode(ours, frames, torch.zeros(2, 4, 5, 7))
    assert (drawn - mean * SCALE).abs().max() < 1e-4
