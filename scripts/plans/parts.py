"""What the plans of the reference workflows are made of: nodes in columns, and paths that several share."""

from dataclasses import dataclass, field, replace
from typing import Any

CLIP_FILE = "bear.mp4"


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


def in_group(group: int, *nodes: Node) -> tuple[Node, ...]:
    return tuple(replace(node, group=group) for node in nodes)


def note(key: str, column: int, text: str, height: int, width: int = 480) -> Node:
    return Node(key, "MarkdownNote", column, {"text": text.strip()}, title="Read me", height=height, width=width)


def scaled_source(size: tuple[int, int] = (512, 512), clip: str = CLIP_FILE) -> tuple[Node, ...]:
    return (
        Node("load", "LoadVideo", 1, {"file": clip}, height=380),  # room for the preview
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


def canvas(width: int, height: int, window: int = 512, key: str = "") -> tuple[Node, ...]:
    expand = {"how": "exact size", "how.width": width, "how.height": height}
    return (
        Node(f"{key}expand", "CanvasExpand", 2, expand, {"images": "scale.IMAGE"}),
        Node(f"{key}windows", "CanvasWindows", 2, {"window": window, "overlap": window // 4}),
    )


PREVIEW = Node(
    "preview",
    "CanvasPreview",
    3,
    links={"images": "scale.IMAGE", "canvas": "expand.canvas", "windows": "windows.windows"},
    height=320,
)


def known_pixels(column: int, key: str, positive: str, negative: str, vae: str) -> Node:
    links = {"positive": positive, "negative": negative, "vae": vae, "pixels": "expand.placed", "mask": "expand.mask"}
    return Node(key, "InpaintModelConditioning", column, {"noise_mask": False}, links)


SAMPLER = {
    "seed": 0,
    "control_after_generate": "fixed",
    "steps": 40,
    "cfg": 8.0,
    "sampler_name": "euler",
    "scheduler": "ddim_uniform",
}


def conditioned(known: str) -> dict[str, str]:
    return {"positive": f"{known}.positive", "negative": f"{known}.negative", "latent": f"{known}.latent"}


def finish(column: int, samples: str, vae: str, prefix: str = "", name: str = "outpainted") -> tuple[Node, ...]:
    return (
        Node(f"{prefix}decode", "VAEDecode", column, links={"samples": samples, "vae": vae}),
        Node(
            f"{prefix}composite",
            "CanvasComposite",
            column,
            links={"result": f"{prefix}decode.IMAGE", "source": "scale.IMAGE", "canvas": "expand.canvas"},
        ),
        *save_video(column, f"{prefix}composite.images", prefix, name),
    )


def save_video(column: int, images: str, prefix: str = "", name: str = "outpainted") -> tuple[Node, ...]:
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


def planned_levels(images: str, column: int, strides: dict[str, str]) -> tuple[Node, ...]:
    """A key-frame plan of the length of `images`, `levels.levels`; strides as the node's widgets have them."""
    return (
        Node("length", "GetImageSize", column, links={"image": images}, title="Length of the clip"),
        Node("levels", "CanvasKeyframePlan", column, strides, {"frames": "length.batch_size"}, height=400),
    )


def sampled_by_levels(latent: str, guider: str, sampler: dict[str, Any], column: int) -> tuple[Node, ...]:
    """`hierarchy.output` from a latent, by the plan `levels` and the settings of a KSampler; the model is `model.model`."""
    schedule = {name: sampler[name] for name in ("scheduler", "steps", "denoise")}
    seed = {"noise_seed": sampler["seed"], "control_after_generate": sampler["control_after_generate"]}
    links = {"noise": "noise.NOISE", "sampler": "select.SAMPLER", "sigmas": "sigmas.SIGMAS", "levels": "levels.levels"}
    return (
        Node("noise", "RandomNoise", column, seed),
        Node("select", "KSamplerSelect", column, {"sampler_name": sampler["sampler_name"]}),
        Node("sigmas", "BasicScheduler", column, schedule, {"model": "model.model"}),
        Node("hierarchy", "CanvasHierarchicalSampler", column, links={**links, "guider": guider, "latent": latent}),
    )
