"""The built-in model: a clip, a picture, a long clip."""

from canvas_core.plan.keyframes import CLIP

from .parts import CLIP_FILE, Node, Plan, conditioned, note, planned_levels, sampled_by_levels, save_video

PICTURE_FILE = "example.png"  # ComfyUI comes with it
LONG_CLIP_FILE = "road.mp4"

SMALL_FILE = "canvas_small.safetensors"
SMALL_SAM_FILE = "canvas_small_sam.safetensors"
SMALL_VAE_FILE = "canvas_small_vae.safetensors"

SMALL_MODEL_FILES = f"""
The model comes with the pack: `{SMALL_FILE}`, `{SMALL_SAM_FILE}` and `{SMALL_VAE_FILE}`. There is nothing to download and no prompt to write.
"""

ASPECT = "16:9"
MULTIPLE = 8
FILL = {"how": "cone", "propagate": True}
WINDOWS = {"window": 512, "overlap": 128, "frames": 16, "frame_overlap": 4}
SAMPLER = {
    "seed": 0,
    "control_after_generate": "fixed",
    "steps": 1,
    "cfg": 1.0,
    "sampler_name": "euler",
    "scheduler": "simple",
    "denoise": 1.0,
}
LEVELS = {"strides": "custom", "strides.list": "2, 1"}
"""The model was trained on slow motion: frames further apart do not help each other."""
COMPOSITE = {"feather": 0, "match": 64, "texture": 1.0, "refine": True}


def _path(source: str, sampler: tuple[Node, ...], sampled: str, levels: str | None = None) -> tuple[Node, ...]:
    """From the frames `source` to the finished ones, `composite.images`; `sampler` makes the latent `sampled` from `known`."""
    expand = {"how": "aspect", "how.aspect": ASPECT, "multiple": MULTIPLE}
    prompt = dict.fromkeys(("positive", "negative"), "prompt.conditioning")
    layout = {"images": source, "canvas": "expand.canvas", "windows": "windows.windows", "encoder": "encoder.encoder"}
    known = {"vae": "vae.VAE", "pixels": "fill.images", "mask": "fill.mask"}
    pasted = {"source": source, "canvas": "expand.canvas", "filled": "fill.images", "mask": "fill.mask"}
    return (
        Node("model", "CanvasLoadModel", 1, {"file": SMALL_FILE}),
        Node("encoder", "CanvasLoadLayoutEncoder", 1, {"file": SMALL_FILE, "sam": SMALL_SAM_FILE}),
        Node("vae", "VAELoader", 1, {"vae_name": SMALL_VAE_FILE}),
        Node("expand", "CanvasExpand", 2, expand, {"images": source}),
        Node("fill", "CanvasFill", 2, FILL, {"images": "expand.placed", "mask": "expand.mask"}),
        Node("windows", "CanvasWindows", 2, WINDOWS),
        Node("prompt", "CanvasEmptyPrompt", 2, links={"encoder": "encoder.encoder"}),
        Node("layout", "CanvasEncodeLayout", 3, links={**prompt, **layout, **({"levels": levels} if levels else {})}),
        Node(
            "known",
            "InpaintModelConditioning",
            3,
            {"noise_mask": False},
            {"positive": "layout.positive", "negative": "layout.negative", **known},
        ),
        *sampler,
        Node("decode", "VAEDecode", 4, links={"samples": sampled, "vae": "vae.VAE"}),
        Node("composite", "CanvasComposite", 4, COMPOSITE, {"result": "decode.IMAGE", **pasted}),
    )


TILED = (
    Node(
        "sampler",
        "CanvasTiledSampler",
        3,
        SAMPLER,
        {"model": "model.model", "windows": "windows.windows", **conditioned("known")},
    ),
)

BY_LEVELS = (
    Node("space", "CanvasApplyWindows", 3, links={"model": "model.model", "windows": "windows.windows"}),
    Node(
        "guider",
        "CFGGuider",
        3,
        {"cfg": SAMPLER["cfg"]},
        {"model": "space.model", "positive": "known.positive", "negative": "known.negative"},
    ),
    *sampled_by_levels("known.latent", "guider.GUIDER", SAMPLER, column=3),
)


QUICK_START = Plan(
    "quick_start",
    (
        note(
            "note",
            0,
            f"""
## Outpaint a clip with the built-in model

Choose your clip in **Load Video** and press Run. It comes back as {ASPECT}, with every pixel of yours as it was.

{SMALL_MODEL_FILES}

- Another format: change *how* in **Canvas Expand** to an aspect, an exact size, or pixels per side. A clip that is {ASPECT} already needs this.
- Where the camera moves, **Canvas Fill** borrows pixels that other frames show; the model makes the rest.
- Another try: another *seed* in **Canvas Tiled Sampler**.
- The model is small. For large areas and fine detail take *follow_your_canvas_2k* with its own files.
""",
            440,
        ),
        Node("load", "LoadVideo", 1, {"file": CLIP_FILE}, height=380),
        Node("parts", "GetVideoComponents", 1, links={"video": "load.VIDEO"}),
        *_path("parts.images", TILED, "sampler.latent"),
        *save_video(4, "composite.images"),
    ),
)

QUICK_START_STILL = Plan(
    "quick_start_still",
    (
        note(
            "note",
            0,
            f"""
## Outpaint a picture with the built-in model

Choose your picture in **Load Image** and press Run. It comes back as {ASPECT}, with every pixel of yours as it was.

{SMALL_MODEL_FILES}

- Another format: change *how* in **Canvas Expand** to an aspect, an exact size, or pixels per side. A picture that is {ASPECT} already needs this.
- Another try: another *seed* in **Canvas Tiled Sampler**.
- For clips there is *quick_start*.
""",
            380,
        ),
        Node("load", "LoadImage", 1, {"image": PICTURE_FILE}, height=380),
        *_path("load.IMAGE", TILED, "sampler.latent"),
        Node("save", "SaveImage", 4, {"filename_prefix": "outpainted"}, {"images": "composite.images"}, height=320),
    ),
)

QUICK_START_LONG = Plan(
    "quick_start_long",
    (
        note(
            "note",
            0,
            f"""
## Outpaint a long clip with the built-in model

Choose your clip in **Load Video** and press Run. It comes back as {ASPECT}, with every pixel of yours as it was.

{SMALL_MODEL_FILES}

- **Canvas Keyframe Plan** shows the plan: every second frame first, then the frames between them, {CLIP} at a time. Finished frames guide those that follow, so that no border shows between clips. Its length is your clip's.
- This small model gains nothing from key frames that lie further apart; larger ones do (*m3ddm*: 15, 5, 1).
- All frames are held in memory: about 8 GB for 128 frames of 854 x 480. For longer clips use `python -m canvas_core outpaint clip.mp4 --aspect {ASPECT} --levels 2,1 --output wide.mp4`, which reads and writes frame by frame.
- Another try: another *noise_seed* in **RandomNoise**.
""",
            480,
        ),
        Node("load", "LoadVideo", 1, {"file": LONG_CLIP_FILE}, height=380),
        Node("parts", "GetVideoComponents", 1, links={"video": "load.VIDEO"}),
        *planned_levels("parts.images", 2, LEVELS),
        *_path("parts.images", BY_LEVELS, "hierarchy.output", "levels.levels"),
        *save_video(4, "composite.images", name="outpainted_long"),
    ),
)
