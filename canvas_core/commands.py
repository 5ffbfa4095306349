"""What each command of the command line does."""

import argparse

import torch

from .atomic_write import refuse_same
from .cli import make_canvas, make_levels, make_windows
from .demo import run_demo
from .drawing import rounds as drawing
from .drawing.keyframes import describe_levels, draw_levels
from .errors import TrainingError, VideoError
from .evaluation.measure import measure as measure_clips
from .evaluation.methods import model_method, propagation_method
from .evaluation.report import evaluate_files
from .media.pictures import write_picture
from .media.video import check_writable, open_source, read_clip, write_clip
from .pixels.eight_bit import to_levels
from .plan.boxes import Box
from .plan.rounds import Round, plan_rounds
from .running import choose_device, frames_asked, goes_by_levels, load_networks, open_model, run_outpaint
from .running_levels import prepare_job
from .systems import built_in
from .systems import checkpoint as checkpoints
from .systems.follow_your_canvas.files import FOLLOW_YOUR_CANVAS
from .systems.m3ddm.files import M3DDM
from .systems.presets import choose_preset


def outpaint(args: argparse.Namespace) -> None:
    """Read, outpaint round by round or level by level, write."""
    output = check_writable(args.output)
    refuse_same(args.input, output, VideoError)
    checkpoint = open_model(args)
    if goes_by_levels(args, checkpoint):
        job = prepare_job(args, checkpoint)
        write_clip(output, (to_levels(frame) for frame in job.frames()), job.source.rate, job.source.path)
    else:
        done = run_outpaint(args, checkpoint)
        write_clip(output, (to_levels(frame) for frame in done.frames), done.clip.rate, done.clip.path)


def plan(args: argparse.Namespace) -> None:
    """Print the plan and draw it."""
    refuse_same(args.input, args.output, VideoError)
    source = open_source(args.input, frames_asked(args))
    canvas = make_canvas(args, source.size)
    checkpoint = open_model(args)
    whole = checkpoint.architecture is M3DDM  # which grows in no rounds
    windows = make_windows(args)
    rounds = [Round(canvas, canvas.source)] if whole else plan_rounds(canvas, windows)
    levels = make_levels(args, source.length) if goes_by_levels(args, checkpoint) else None
    together = max(len(clip.frames) for clip in levels.clips) if levels else source.length
    print(drawing.describe_plan(canvas, windows, rounds, together))
    picture = drawing.draw_plan(next(iter(source)).float() / 255, rounds, windows)
    if levels:
        print(describe_levels(levels))
        picture = drawing.below_each_other([picture, draw_levels(levels)])
    write_picture(args.output, picture.numpy())
    print(f"wrote {args.output}")


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


def train(args: argparse.Namespace) -> None:
    """Train, or go on training."""
    try:
        from .training.loop import Trainer
        from .training.recipe import read_recipe
    except ImportError as error:
        raise TrainingError(
            f"training needs {error.name}; install it with: python -m pip install {error.name}"
        ) from None
    recipe = read_recipe(args.config)
    trainer = Trainer(recipe.task, recipe.schedule, args.output, recipe.seed)
    done = trainer.run(args.minutes, print, args.until)
    print("training is complete" if done else f"stopped at step {trainer.step}; the same command goes on")


def evaluate(args: argparse.Namespace) -> None:
    """Run every preset of a model on clips whose sides are hidden, and write tables and pictures."""
    checkpoint = checkpoints.open_checkpoint(args.model or built_in.require(built_in.MODEL))
    checkpoints.require_architecture(checkpoint, FOLLOW_YOUR_CANVAS)
    device, dtype = choose_device(args)
    networks = load_networks(args, checkpoint, device, dtype)
    names = args.presets or list(checkpoint.presets)
    methods = {
        name: model_method(networks, choose_preset(checkpoint.presets, name), checkpoint.rre, args.seed)
        for name in names
    }
    args.output.mkdir(parents=True, exist_ok=True)
    references = {
        "propagation, cone": propagation_method("cone"),
        "propagation, cone, texture": propagation_method("cone", 1.0),
    }
    found = evaluate_files(methods, args.clips, args.pictures, args.output, drafts={"draft"}, references=references)
    print((args.output / "evaluation.md").read_text(encoding="utf-8"))
    print(f"{sum(bar.passed for bar in found)} of {len(found)} bars hold; wrote {args.output}")


def demo(args: argparse.Namespace) -> None:
    """Outpaint the bundled clip and show it beside the truth."""
    args.output.mkdir(parents=True, exist_ok=True)
    print(run_demo(args))
