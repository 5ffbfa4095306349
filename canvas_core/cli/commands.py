"""What each command of the command line does."""

import torch

from ..atomic_write import refuse_same
from ..drawing.keyframes import describe_levels, draw_levels
from ..drawing.rounds import below_each_other, describe_plan, draw_plan
from ..errors import TrainingError, VideoError
from ..evaluation.measure import measure as measure_clips
from ..evaluation.methods import model_method, propagation_method
from ..evaluation.report import evaluate_files
from ..media.pictures import write_picture
from ..media.video import check_writable, open_source, read_clip, write_clip
from ..pixels.eight_bit import from_levels, to_levels
from ..plan.rounds import Round, plan_rounds
from ..systems.checkpoint import convert as convert_file
from ..systems.checkpoint import describe
from ..systems.presets import choose_preset
from .demo import run_demo
from .jobs import Bar, choose_place, open_requested, prepare_job
from .request import Convert, Demo, Evaluate, Inspect, Measure, Outpaint, Plan, Train


def outpaint(request: Outpaint) -> None:
    """Read, outpaint, write."""
    output = check_writable(request.output)
    refuse_same(request.video.input, output, VideoError)
    job = prepare_job(request.video, request.model)
    write_clip(output, (to_levels(frame) for frame in job.frames()), job.source.rate, job.source.path)


def plan(request: Plan) -> None:
    """Print the plan and draw it."""
    video = request.video
    refuse_same(video.input, request.output, VideoError)
    source = open_source(video.input, video.frames)
    canvas = video.canvas.around(source.size)
    checkpoint, _ = open_requested(request.model)
    video.check(request.model, checkpoint)
    settings = request.model.settings(checkpoint)
    windows = settings.windows
    rounds = plan_rounds(canvas, windows) if checkpoint.system.in_rounds else [Round(canvas, canvas.source)]
    levels = video.plan(source.length, checkpoint, settings)
    print(describe_plan(canvas, windows, rounds, levels.longest))
    picture = draw_plan(from_levels(next(iter(source))), rounds, windows)
    if video.by_levels(checkpoint):
        print(describe_levels(levels))
        picture = below_each_other([picture, draw_levels(levels)])
    write_picture(request.output, picture.numpy())
    print(f"wrote {request.output}")


def inspect(request: Inspect) -> None:
    """Describe a checkpoint."""
    print(describe(request.file))


def convert(request: Convert) -> None:
    """Convert a checkpoint to safetensors."""
    dtype = getattr(torch, request.dtype) if request.dtype else None
    print(f"wrote {convert_file(request.source, request.target, dtype, request.record)}")


def measure(request: Measure) -> None:
    """Print the measures of a result."""
    result, reference = (from_levels(read_clip(path).frames) for path in (request.result, request.reference))
    for name, value in measure_clips(result, reference, request.known)._asdict().items():
        print(f"{name:13} {value:.4f}")


def train(request: Train) -> None:
    """Train, or go on training."""
    try:
        from ..training.loop import Trainer
        from ..training.recipe import read_recipe
    except ImportError as error:
        raise TrainingError(
            f"training needs {error.name}; install it with: python -m pip install {error.name}"
        ) from None
    recipe = read_recipe(request.config)
    trainer = Trainer(recipe.task, recipe.schedule, request.output, recipe.seed)
    done = trainer.run(request.minutes, print, request.until)
    print("training is complete" if done else f"stopped at step {trainer.step}; the same command goes on")


def evaluate(request: Evaluate) -> None:
    """Run presets of a model on clips whose sides are hidden, and write tables and pictures."""
    checkpoint, files = open_requested(request.model)
    presets = {name: choose_preset(checkpoint.presets, name) for name in request.presets or checkpoint.presets}
    settings = request.model.settings(checkpoint)
    model = checkpoint.system.open(checkpoint, files, settings, choose_place(request.model))
    methods = {name: model_method(model.with_settings(preset), request.model.seed) for name, preset in presets.items()}
    request.output.mkdir(parents=True, exist_ok=True)
    references = {
        "propagation, cone": propagation_method("cone"),
        "propagation, cone, texture": propagation_method("cone", 1.0),
    }
    with Bar() as bar:
        found = evaluate_files(
            methods,
            request.clips,
            request.pictures,
            request.output,
            drafts={"draft"},
            references=references,
            watch=bar.watch,
        )
    print((request.output / "evaluation.md").read_text(encoding="utf-8"))
    print(f"{sum(bar.passed for bar in found)} of {len(found)} bars hold; wrote {request.output}")


def demo(request: Demo) -> None:
    """Outpaint the bundled clip and show it beside the truth."""
    request.output.mkdir(parents=True, exist_ok=True)
    print(run_demo(request))
