"""What each command of the command line does."""

import argparse
from pathlib import Path

import cv2
import torch
from tqdm import tqdm

from . import checkpoints, drawing, pipeline
from .autoencoder import load_autoencoder
from .canvas import Box, Size
from .cli import make_canvas, make_windows
from .errors import CanvasError, ConditioningError, SamplingError
from .files import write_whole
from .guidance import guide_by_text, guide_by_text_and_layout
from .measure import measure as measure_clips
from .models.sam import to_levels
from .rounds import plan_rounds
from .text import encode_text
from .video import Clip, check_writable, read_clip, write_clip
from .windows import WindowSettings


def _read_source(args: argparse.Namespace) -> Clip:
    if args.frames is not None and args.frames < 1:
        raise SamplingError(f"--frames is {args.frames}, but must be at least 1")
    return read_clip(args.input, args.frames)


def _choose_device(args: argparse.Namespace) -> tuple[str, torch.dtype]:
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


def _load_networks(
    args: argparse.Namespace, checkpoint: checkpoints.Checkpoint, device: str, dtype: torch.dtype
) -> pipeline.Networks:
    if not args.sam:
        raise ConditioningError(
            "Follow-Your-Canvas reads the layout with Segment Anything; give sam_vit_b_01ec64.pth with --sam"
        )
    vae = args.vae or (args.base and args.base / "vae")
    if not vae:
        raise ConditioningError(
            "there is no VAE; give the Stable Diffusion 2.1 folder with --base, or a file with --vae"
        )
    return pipeline.Networks(
        unet=checkpoints.load_unet(checkpoint, dtype, device),
        layout_encoder=checkpoints.load_layout_encoder(checkpoint, dtype, device),
        sam=checkpoints.load_sam(args.sam),
        vae=load_autoencoder(vae),
        device=device,
        dtype=dtype,
    )


def _encode_prompts(args: argparse.Namespace, width: int, device: str) -> dict[str, torch.Tensor]:
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


def _make_settings(args: argparse.Namespace, windows: WindowSettings, rre: str) -> pipeline.Settings:
    if not 0 <= args.seed < 2**64:
        raise SamplingError(f"--seed is {args.seed}, but must be 0 to {2**64 - 1}")
    if not 2 <= args.fps <= 16:
        raise SamplingError(f"--fps is {args.fps}, but is the training frame stride and must be 2 to 16; 8 is usual")
    return pipeline.Settings(
        steps=args.steps,
        guidance=guide_by_text(args.cfg)
        if args.layout_cfg is None
        else guide_by_text_and_layout(args.cfg, args.layout_cfg),
        fps=args.fps,
        windows=windows,
        windows_at_once=args.batch,
        rre=args.rre or rre,
        start_from=args.start_from,
        feather=args.feather,
        paste=args.paste,
    )


def outpaint(args: argparse.Namespace) -> None:
    """Read, outpaint round by round, write."""
    output = check_writable(args.output)
    clip = _read_source(args)
    canvas = make_canvas(args, Size(*clip.frames.shape[1:3]))
    windows = make_windows(args)
    device, dtype = _choose_device(args)
    checkpoint = checkpoints.open_checkpoint(args.model)
    settings = _make_settings(args, windows, checkpoint.rre)
    text = _encode_prompts(args, checkpoint.config.text_width, device)
    networks = _load_networks(args, checkpoint, device, dtype)
    count = len(plan_rounds(canvas, windows))
    with tqdm(total=count * args.steps, unit="step") as bar:

        def report(index: int, step: int) -> None:
            bar.set_description(f"round {index + 1}/{count}")
            bar.update()

        frames = clip.frames.float() / 255
        try:
            result = pipeline.outpaint(
                networks, settings, frames, canvas, text, pipeline.seeded_draw(args.seed), report
            )
        except torch.OutOfMemoryError:
            raise SamplingError(
                f"the device {device} ran out of memory; lower --batch, then --frame-window (16 at least), then --window"
            ) from None
    write_clip(output, (to_levels(frame) for frame in result), clip.rate, clip.path)


def plan(args: argparse.Namespace) -> None:
    """Print the plan and draw it."""
    clip = _read_source(args)
    canvas = make_canvas(args, Size(*clip.frames.shape[1:3]))
    windows = make_windows(args)
    print(drawing.describe_plan(canvas, windows, len(clip.frames)))
    _write_picture(args.output, drawing.draw_plan(clip.frames[0].float() / 255, canvas, windows))
    print(f"wrote {args.output}")


def _write_picture(path: Path, picture: torch.Tensor) -> None:
    if path.suffix != ".png":
        raise CanvasError(f"the picture is {path.name}, but must end in .png; rename it")
    encoded = cv2.imencode(".png", picture.numpy()[..., ::-1])[1].tobytes()
    write_whole(path, lambda temporary: temporary.write_bytes(encoded), CanvasError)


def inspect(args: argparse.Namespace) -> None:
    """Describe a checkpoint."""
    print(checkpoints.describe(args.file))


def convert(args: argparse.Namespace) -> None:
    """Convert a checkpoint to safetensors."""
    dtype = getattr(torch, args.dtype) if args.dtype else None
    print(f"wrote {checkpoints.convert(args.source, args.target, dtype, args.rre)}")


def measure(args: argparse.Namespace) -> None:
    """Print the measures of a result."""
    result, reference = (read_clip(path).frames.float() / 255 for path in (args.result, args.reference))
    x, y, w, h = args.known
    for name, value in measure_clips(result, reference, Box(y, x, h, w))._asdict().items():
        print(f"{name:13} {value:.4f}")
