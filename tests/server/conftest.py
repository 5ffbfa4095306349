import shutil

import pytest
from comfy_home import find_comfyui
from golden import ROOT

CLIPS = ROOT.parent / "clips"


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """A ComfyUI working folder with small models under the names the workflows use."""
    if find_comfyui() is None:
        pytest.skip("ComfyUI was not found; set COMFYUI_PATH")
    if not (CLIPS / "bear.mp4").is_file():
        pytest.skip(f"there is no clip at {CLIPS}")
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
    clip = tiny_core.write_clip(models / "text_encoders" / "sd21_text_encoder.safetensors")
    tiny_core.write_inpaint_checkpoint(models / "checkpoints" / "sd-v1-5-inpainting.safetensors", clip)
    (base / "input").mkdir()
    shutil.copy(CLIPS / "bear.mp4", base / "input")
    (base / "input" / "bear.mp4").chmod(0o644)
    return base


@pytest.fixture(scope="session")
def server(base):
    from comfy_server import running

    with running(find_comfyui(), base) as server:
        yield server
