import shutil
from fractions import Fraction

import pytest
import torch
from comfy_home import find_comfyui
from golden import CLIPS
from PIL import Image

from canvas_core.media.video import write_clip


def put_clip(target, frames, side, rate):
    """The real clip of that name, or a drawn one of its size and length where there is none."""
    if (CLIPS / target.name).is_file():
        shutil.copyfile(CLIPS / target.name, target)
        return
    across = torch.linspace(0, 200, side).expand(side, -1)
    drawn = (torch.stack([across.roll(8 * i, 1), across.T, across], dim=-1).byte() for i in range(frames))
    write_clip(target, drawn, Fraction(rate))


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """A ComfyUI working folder with small models under the names the workflows use."""
    if find_comfyui() is None:
        pytest.skip("ComfyUI was not found; set COMFYUI_PATH")
    import tiny
    import tiny_core

    base = tmp_path_factory.mktemp("comfyui")
    models = base / "models"
    for folder in ("diffusion_models", "sams", "vae", "text_encoders", "checkpoints"):
        (models / folder).mkdir(parents=True)
    canvas = tiny.with_text_width(tiny_core.CLIP_WIDTH)
    tiny.write_checkpoint(models / "diffusion_models" / "follow_your_canvas.safetensors", canvas)
    tiny.write_sam(models / "sams" / "sam_vit_b_01ec64.pth")
    tiny.write_taesd(models / "vae" / "sd21_vae.safetensors")
    tiny.write_m3ddm(models / "diffusion_models" / "M3DDM")
    tiny.write_taesd(models / "vae" / "sd15_vae.safetensors")
    clip = tiny_core.write_clip(models / "text_encoders" / "sd21_text_encoder.safetensors")
    tiny_core.write_inpaint_checkpoint(models / "checkpoints" / "sd-v1-5-inpainting.safetensors", clip)
    (base / "input").mkdir()
    put_clip(base / "input" / "bear.mp4", 16, 512, 8)
    put_clip(base / "input" / "road.mp4", 128, 480, 14)
    Image.linear_gradient("L").convert("RGB").save(base / "input" / "example.png")
    return base


@pytest.fixture(scope="session")
def server(base):
    from comfy_server import running

    with running(find_comfyui(), base) as server:
        yield server
