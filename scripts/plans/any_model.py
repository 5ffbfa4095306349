"""Windows for a model of core, and guidance with two scales."""

from .follow_your_canvas import FOLLOW_YOUR_CANVAS_FILES, LOADERS, VAE_FILE, layout, prompts
from .parts import (
    PREVIEW,
    SAMPLER,
    Node,
    Plan,
    canvas,
    conditioned,
    finish,
    in_group,
    known_pixels,
    note,
    scaled_source,
)

INPAINT_FILE = "sd-v1-5-inpainting.safetensors"

ANY_MODEL = Plan(
    "any_model_windows",
    (
        note(
            "note",
            0,
            f"""
## Windows for any model, and guidance with two scales

**Upper path**: a core inpainting model samples a canvas larger than it was trained for, in the memory of one window. Any
model, sampler and scheduler will do. A window does not know the whole picture, so write a prompt that fits every part.

- `models/checkpoints/{INPAINT_FILE}`: [Stable Diffusion 1.5 inpainting](https://huggingface.co/stable-diffusion-v1-5/stable-diffusion-inpainting)

**Lower path**: Follow-Your-Canvas by core's SamplerCustomAdvanced. **Canvas Apply Windows** and **Canvas Time Windows** patch the
model, **Canvas Guider** gives text and layout a scale each.

{FOLLOW_YOUR_CANVAS_FILES}
""",
            640,
        ),
        *scaled_source(),
        *canvas(1280, 720),
        PREVIEW,
        *in_group(
            1,
            Node("checkpoint", "CheckpointLoaderSimple", 1, {"ckpt_name": INPAINT_FILE}),
            Node("vae", "VAELoader", 1, {"vae_name": VAE_FILE}),
            *prompts(clip="checkpoint.CLIP"),
            known_pixels(3, "plain", "positive.CONDITIONING", "negative.CONDITIONING", "vae.VAE"),
            Node(
                "sampler",
                "CanvasTiledSampler",
                4,
                {**SAMPLER, "steps": 25, "cfg": 7.0, "sampler_name": "dpmpp_2m", "scheduler": "karras"},
                {"model": "checkpoint.MODEL", "windows": "windows.windows", **conditioned("plain")},
            ),
            *finish(5, "sampler.latent", "vae.VAE", name="any_model"),
        ),
        *in_group(
            2,
            *LOADERS[:3],
            *prompts("canvas_", "clip.CLIP"),
            *layout(3, "canvas_", "canvas_positive", "canvas_negative"),
            Node("space", "CanvasApplyWindows", 3, links={"model": "model.model", "windows": "windows.windows"}),
            Node("time", "CanvasTimeWindows", 3, links={"model": "space.model", "windows": "windows.windows"}),
            Node(
                "guider",
                "CanvasGuider",
                4,
                {"formula": "text + layout", "formula.text_scale": 8.0, "formula.layout_scale": 1.5},
                {"model": "time.model", "positive": "canvas_known.positive", "negative": "canvas_known.negative"},
            ),
            Node("noise", "RandomNoise", 4, {"noise_seed": 0, "control_after_generate": "fixed"}),
            Node("euler", "KSamplerSelect", 4, {"sampler_name": "euler"}),
            Node(
                "sigmas",
                "BasicScheduler",
                4,
                {"scheduler": "ddim_uniform", "steps": 40, "denoise": 1.0},
                {"model": "model.model"},
            ),
            Node(
                "custom",
                "SamplerCustomAdvanced",
                4,
                links={
                    "noise": "noise.NOISE",
                    "guider": "guider.guider",
                    "sampler": "euler.SAMPLER",
                    "sigmas": "sigmas.SIGMAS",
                    "latent_image": "canvas_known.latent",
                },
            ),
            *finish(5, "custom.output", "vae.VAE", "canvas_", "two_scales"),
        ),
    ),
    (
        "Source and canvas",
        "A core inpainting model in windows",
        "Follow-Your-Canvas with a scale for text and one for layout",
    ),
)
