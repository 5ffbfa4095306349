"""From the arguments of the command line to outpainted frames."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from tqdm import tqdm

from . import pipeline
from .cli import fill_in, make_canvas, make_windows
from .errors import ConditioningError, SamplingError
from .media.video import Clip, read_clip
from .networks.autoencoder import load_autoencoder
from .networks.text import encode_text
from .plan.boxes import Size
from .plan.canvas import Canvas
from .plan.rounds import plan_rounds
from .plan.windows import WindowSettings
from .systems import built_in
from .systems import checkpoint as checkpoints
from .systems.follow_your_canvas.files import FOLLOW_YOUR_CANVAS
from .systems.follow_your_canvas.guidance import guide_by_text_and_layout
from .systems.m3ddm.files import M3DDM
from .systems.presets import Preset, choose_preset


@dataclass(frozen=True)
class Outpainted:
    """A source clip, its canvas, and the finished frames [F, H, W, 3] 0..1."""

    clip: Clip
    canvas: Canvas
    frames: torch.Tensor


def frames_asked(args: argparse.Namespace) -> int | None:
    """How many frames --frames asks for. Raises SamplingError when it is none."""
    if args.frames is not None and args.frames < 1:
        raise SamplingError(f"--frames is {args.frames}, but must be at least 1")
    return args.frames


def read_source(args: argparse.Namespace) -> Clip:
    """The source clip, cut to --frames."""
    return read_clip(args.input, frames_asked(args))


def choose_device(args: argparse.Namespace) -> tuple[str, torch.dtype]:
    """Where and in which precision to run: a GPU when there is one. Raises SamplingError when the device asked for is not there."""
    device = args.device or (
        "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    )
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SamplingError(
            f"the device {device!r} cannot be used ({str(error).splitlines()[0]}); try --device cpu"
        ) from None
    return device, getattr(torch, args.dtype or ("float32" if device == "cpu" else "float16"))


FOREIGN = {
    M3DDM.name: (
        *("prompt", "negative", "cfg", "layout_cfg", "rre", "sam", "strength", "fill", "propagate", "refine"),
        *("fps", "batch", "start_from", "paste", "min_overlap", "frame_window", "frame_overlap"),
    ),
    FOLLOW_YOUR_CANVAS.name: ("context_scale", "global_scale"),
}
"""Options that an architecture has no use for."""


def open_model(args: argparse.Namespace) -> checkpoints.Checkpoint:
    """The model of the command line or the built-in one, whose preset fills in what was left out.

    Raises ConditioningError when an option was given that this model has no use for, SamplingError on clips without levels.
    """
    checkpoint = checkpoints.open_checkpoint(args.model or built_in.require(built_in.MODEL))
    for name in FOREIGN[checkpoint.architecture.name]:
        if getattr(args, name, None) not in (None, ""):
            raise ConditioningError(
                f"--{name.replace('_', '-')} means nothing to {checkpoint.architecture.title}; leave it out"
            )
    if not goes_by_levels(args, checkpoint):
        _refuse_clips(args)
    fill_in(args, choose_preset(checkpoint.presets, args.preset))
    return checkpoint


def goes_by_levels(args: argparse.Namespace, checkpoint: checkpoints.Checkpoint) -> bool:
    """Whether levels were asked for, or the model knows nothing else."""
    return getattr(args, "levels", None) is not None or checkpoint.architecture is M3DDM


def _refuse_clips(args: argparse.Namespace) -> None:
    for name in ("clip", "clip_overlap"):
        if getattr(args, name, None) is not None:
            raise SamplingError(
                f"--{name.replace('_', '-')} is {getattr(args, name)}, but without --levels there are no clips; add --levels 1, or use --frame-window"
            )


def load_vae(args: argparse.Namespace) -> Any:
    """The VAE of the command line, or the built-in model's. Raises ConditioningError when none was given."""
    path = args.vae or (args.base and args.base / "vae")
    if not path and args.model:
        raise ConditioningError(
            "there is no VAE; give the Stable Diffusion folder that the model was trained with by --base, or a file with --vae"
        )
    return load_autoencoder(path or built_in.require(built_in.VAE))


def load_networks(
    args: argparse.Namespace, checkpoint: checkpoints.Checkpoint, device: str, dtype: torch.dtype
) -> pipeline.Networks:
    """The networks of a checkpoint with their image encoder and VAE. Raises ConditioningError when a file was not given."""
    own = None if args.model else built_in
    sam = args.sam or (own and own.require(own.SAM))
    if not sam:
        raise ConditioningError(
            "Follow-Your-Canvas reads the layout with Segment Anything; give sam_vit_b_01ec64.pth with --sam"
        )
    return pipeline.Networks(
        unet=checkpoints.load_unet(checkpoint, dtype, device),
        layout_encoder=checkpoints.load_layout_encoder(checkpoint, dtype, device),
        sam=checkpoints.load_sam(sam),
        vae=load_vae(args),
        device=device,
        dtype=dtype,
    )


def encode_prompts(args: argparse.Namespace, config: Any, device: str) -> dict[str, torch.Tensor]:
    """Positive and negative embeddings, each [1, L, D]. Raises ConditioningError when the text encoder is missing or another one's."""
    width = config.text_width
    if not config.reads_text:
        if args.prompt or args.negative:
            raise ConditioningError("this model reads no prompt; leave --prompt and --negative out")
        return pipeline.no_prompts(width)
    if not args.base:
        raise ConditioningError(
            "Follow-Your-Canvas needs a text encoder even for an empty prompt; give the Stable Diffusion 2.1 folder with --base"
        )
    negative, positive = encode_text(args.base, [args.negative, args.prompt], device).chunk(2)
    if positive.shape[-1] != width:
        raise ConditioningError(
            f"the text encoder in {args.base} is {positive.shape[-1]} wide, but this canvas model takes {width}; use the Stable Diffusion 2.1 folder"
        )
    return {"negative": negative, "positive": positive}


def check_seed(seed: int) -> None:
    """Raise SamplingError unless a seed is one."""
    if not 0 <= seed < 2**64:
        raise SamplingError(f"--seed is {seed}, but must be 0 to {2**64 - 1}")


def make_settings(args: argparse.Namespace, windows: WindowSettings, rre: str) -> pipeline.Settings:
    """The settings of the command line. Raises SamplingError on a value out of range."""
    check_seed(args.seed)
    if not 2 <= args.fps <= 16:
        raise SamplingError(f"--fps is {args.fps}, but is the training frame stride and must be 2 to 16; 8 is usual")
    preset = Preset(**{field.name: getattr(args, field.name) for field in fields(Preset)})
    chosen = pipeline.settings_of(preset, args.rre or rre)
    by_layout = None if args.layout_cfg is None else guide_by_text_and_layout(args.cfg, args.layout_cfg)
    return replace(
        chosen,
        guidance=by_layout or chosen.guidance,
        fps=args.fps,
        windows=windows,
        windows_at_once=args.batch,
        start_from=args.start_from,
        paste=args.paste,
    )


@contextmanager
def explained_memory(device: str) -> Iterator[None]:
    """What to do when the device's memory runs out. Raises SamplingError then."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise SamplingError(
            f"the device {device} ran out of memory; lower --batch, then --frame-window (16 at least; with --levels --clip), then --window"
        ) from None


def run_outpaint(args: argparse.Namespace, checkpoint: checkpoints.Checkpoint) -> Outpainted:
    """Read the source, load the networks and outpaint round by round, with a progress bar. Raises CanvasError."""
    clip = read_source(args)
    canvas = make_canvas(args, Size(*clip.frames.shape[1:3]))
    checkpoints.require_architecture(checkpoint, FOLLOW_YOUR_CANVAS)
    windows = make_windows(args)
    device, dtype = choose_device(args)
    settings = make_settings(args, windows, checkpoint.rre)
    text = encode_prompts(args, checkpoint.config, device)
    networks = load_networks(args, checkpoint, device, dtype)
    count = len(plan_rounds(canvas, windows))
    with tqdm(total=count * args.steps, unit="step") as bar, explained_memory(device):

        def report(index: int, step: int) -> None:
            bar.set_description(f"round {index + 1}/{count}")
            bar.update()

        frames = clip.frames.float() / 255
        draw = pipeline.seeded_draw(args.seed)
        result = pipeline.outpaint(networks, settings, frames, canvas, text, draw, report)
    return Outpainted(clip, canvas, result)
