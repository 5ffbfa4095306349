"""M3DDM: a long clip by levels of key frames, with global frames and two scales of guidance."""

from canvas_core.systems.m3ddm.settings import Settings

from .parts import Node, Plan, canvas, finish, note, planned_levels, sampled_by_levels, scaled_source
from .quick_start import LONG_CLIP_FILE

PUBLISHED = Settings()

MODEL_FILE = "M3DDM/diffusion_pytorch_model.bin"
VAE_FILE = "sd15_vae.safetensors"

HUB = "https://huggingface.co/alimama-creative/M3DDM-Video-Outpainting"
BASE = "https://huggingface.co/stable-diffusion-v1-5/stable-diffusion-v1-5"

SIDE = 256
"""Pixels of the source and of a window, as the model was trained."""

SAMPLER = {
    "seed": 6,
    "control_after_generate": "fixed",
    "steps": PUBLISHED.steps,
    "sampler_name": "ipndm",
    "scheduler": "ddim_uniform",
    "denoise": 0.98,
}
"""Core's nearest to the published run: a multistep solver that enters at the second of 51 steps, at a noised fill."""

GUIDANCE = {
    "formula": "context + global",
    "formula.context_scale": PUBLISHED.context_scale,
    "formula.global_scale": PUBLISHED.global_scale,
}

LONG_VIDEO = Plan(
    "m3ddm_long_video",
    (
        note(
            "note",
            0,
            f"""
## Outpaint a long clip with M3DDM

Choose a clip in **Load Video** and press Run. There is no prompt: the model looks at 16 frames from all over the clip. **Canvas Keyframe Plan** shows
which frames are made together: key frames first, then the frames between them.

- `models/diffusion_models/{MODEL_FILE}` and `config.json` beside it: [M3DDM]({HUB})
- `models/vae/{VAE_FILE}`: `vae/diffusion_pytorch_model.safetensors` of [Stable Diffusion 1.5]({BASE})

- Source size: the model was trained on canvases of {SIDE} x {SIDE}; larger ones are sampled in windows of that size. Set it to your clip's shape.
- `python -m canvas_core outpaint clip.mp4 --model M3DDM --base stable-diffusion-v1-5 --size 456x256 --output wide.mp4` runs the published sampler, frame by frame.
""",
            480,
        ),
        *scaled_source((SIDE, SIDE), LONG_CLIP_FILE),
        Node("model", "CanvasLoadModel", 1, {"file": MODEL_FILE}),
        Node("vae", "VAELoader", 1, {"vae_name": VAE_FILE}),
        *canvas(456, SIDE, SIDE),
        *planned_levels("scale.IMAGE", 2, {"strides": "m3ddm"}),
        Node(
            "known",
            "CanvasGlobalFrames",
            3,
            links={
                "images": "expand.placed",
                "mask": "expand.mask",
                "global_images": "scale.IMAGE",
                "vae": "vae.VAE",
                "fps": "parts.fps",
            },
        ),
        Node("space", "CanvasApplyWindows", 3, links={"model": "model.model", "windows": "windows.windows"}),
        Node(
            "guider",
            "CanvasGuider",
            3,
            GUIDANCE,
            {"model": "space.model", "positive": "known.positive", "negative": "known.negative"},
        ),
        *sampled_by_levels("known.latent", "guider.guider", SAMPLER, column=3),
        *finish(4, "hierarchy.output", "vae.VAE", name="m3ddm"),
    ),
)
