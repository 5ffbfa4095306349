"""From the arguments of the command line to the frames of a clip of any length, one after the other."""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from tqdm import tqdm

from . import m3ddm_video, pipeline
from .cli import make_canvas, make_levels, make_windows
from .long_video import outpaint_long, work_units
from .m3ddm import CONTEXT_SCALE, GLOBAL_SCALE
from .media.video import Source, open_source
from .pixels.compositing import inward_alpha
from .pixels.finishing import Finishing
from .plan.canvas import Canvas, require_cells
from .plan.keyframes import KeyframePlan
from .progress import Watch
from .running import (
    check_seed,
    choose_device,
    encode_prompts,
    explained_memory,
    frames_asked,
    load_networks,
    load_vae,
    make_settings,
)
from .systems import checkpoint as checkpoints
from .systems.m3ddm.files import M3DDM

Run = Callable[[Watch], Iterator[torch.Tensor]]
"""run(watch) -> finished frames [H, W, 3] 0..1."""


@dataclass(frozen=True)
class Job:
    """A long clip, ready to be outpainted."""

    source: Source
    units: int
    """Of work that is reported"""
    device: str
    run: Run

    def frames(self) -> Iterator[torch.Tensor]:
        """Finished frames [H, W, 3] 0..1 with a progress bar. Raises CanvasError."""
        with tqdm(total=self.units, unit="step") as bar, explained_memory(self.device):

            def watch(stage: str, units: int) -> None:
                bar.set_description(stage)
                bar.update(units)

            yield from self.run(watch)


def prepare_job(args: argparse.Namespace, checkpoint: checkpoints.Checkpoint) -> Job:
    """Open the source, load the networks and plan the levels. Raises CanvasError."""
    source = open_source(args.input, frames_asked(args))
    canvas = make_canvas(args, source.size)
    plan = make_levels(args, source.length)
    prepare = _prepare_m3ddm if checkpoint.architecture is M3DDM else _prepare_canvas_model
    return prepare(args, checkpoint, source, canvas, plan)


def _prepare_canvas_model(
    args: argparse.Namespace,
    checkpoint: checkpoints.Checkpoint,
    source: Source,
    canvas: Canvas,
    plan: KeyframePlan,
) -> Job:
    device, dtype = choose_device(args)
    settings = make_settings(args, make_windows(args), checkpoint.rre)
    text = encode_prompts(args, checkpoint.config, device)
    networks = load_networks(args, checkpoint, device, dtype)

    def run(watch: Watch) -> Iterator[torch.Tensor]:
        return outpaint_long(networks, settings, source, canvas, text, plan, pipeline.seeded_draw(args.seed), watch)

    return Job(source, work_units(plan, settings, canvas), device, run)


def _prepare_m3ddm(
    args: argparse.Namespace,
    checkpoint: checkpoints.Checkpoint,
    source: Source,
    canvas: Canvas,
    plan: KeyframePlan,
) -> Job:
    check_seed(args.seed)
    require_cells(canvas)
    inward_alpha(canvas, args.feather)
    device, dtype = choose_device(args)
    networks = m3ddm_video.M3DDMNetworks(
        checkpoints.load_unet(checkpoint, dtype, device), load_vae(args), device, dtype
    )
    settings = m3ddm_video.M3DDMSettings(
        steps=args.steps,
        context_scale=CONTEXT_SCALE if args.context_scale is None else args.context_scale,
        global_scale=GLOBAL_SCALE if args.global_scale is None else args.global_scale,
        windows=make_windows(args),
    )
    finishing = Finishing(args.match, args.texture, feather=args.feather)

    def run(watch: Watch) -> Iterator[torch.Tensor]:
        return m3ddm_video.outpaint_m3ddm(
            networks, settings, source, float(source.rate), canvas, plan, args.seed, finishing, watch
        )

    return Job(source, 2 * plan.length + len(plan.clips) * settings.steps, device, run)
