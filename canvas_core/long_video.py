"""Clips of any length: read frame by frame, sampled by a plan of key frames, finished and written frame by frame.

Held in memory are the latents of the whole clip and the pixels of a chunk of it. Frames are [h, w, 3] uint8 and can be read again.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import torch

from .errors import SamplingError
from .known_video import encode_known
from .level_sampling import sample_levels
from .networks.autoencoder import decode
from .pipeline import Draw, Draws, Networks, Settings, check_before_sampling
from .pixels.compositing import paste_frames
from .pixels.eight_bit import to_levels
from .pixels.finishing import finish_frames
from .pixels.placed import Frames, OnCanvas, PlacedFrames, borrow
from .pixels.store import keep, keep_frames
from .plan.boxes import CELL
from .plan.canvas import Canvas
from .plan.keyframes import KeyframePlan
from .plan.rounds import plan_rounds
from .progress import Watch, unwatched


def work_units(plan: KeyframePlan, settings: Settings, canvas: Canvas) -> int:
    """How many units `outpaint_long` reports: every frame that borrows, is read, is finished, and every denoising step."""
    passes = 3 if settings.propagate else 2
    return len(plan_rounds(canvas, settings.windows)) * (passes * plan.length + len(plan.clips) * settings.steps)


def outpaint_long(
    networks: Networks,
    settings: Settings,
    frames: Frames,
    canvas: Canvas,
    text: dict[str, torch.Tensor],
    plan: KeyframePlan,
    draw: Draw,
    watch: Watch = unwatched,
) -> Iterator[torch.Tensor]:
    """Finished frames [H, W, 3] 0..1 of the asked area, one after the other.

    Raises SamplingError, GeometryError or ConditioningError; nothing is read before the first frame is asked for.
    """
    if settings.paste == "official":
        raise SamplingError(
            "the official paste stretches colours by the extremes of the whole clip, which is never held with levels; use the feathered paste"
        )
    check_before_sampling(networks, settings, max(len(clip.frames) for clip in plan.clips), canvas)
    rounds = plan_rounds(canvas, settings.windows)
    start = frames
    with ExitStack() as stack:
        for index, step in enumerate(rounds):
            last = index == len(rounds) - 1
            done = _run_round(networks, settings, start, step.canvas, text, plan, partial(draw, index), watch)
            if last or settings.start_from == "source":
                target = Canvas(step.canvas.size, step.original, step.canvas.trim)
                done = paste_frames(done, frames, target, settings.feather)
            if last:
                yield from done
            else:
                start = stack.enter_context(keep_frames(to_levels(frame) for frame in done))


def _run_round(
    networks: Networks,
    settings: Settings,
    frames: Frames,
    canvas: Canvas,
    text: dict[str, torch.Tensor],
    plan: KeyframePlan,
    draw: Callable[[tuple[int, ...]], Draws],
    watch: Watch,
) -> Iterator[torch.Tensor]:
    """Frames [H, W, 3] 0..1 of one round's whole canvas, without the source on top."""
    placed: PlacedFrames = OnCanvas(frames, canvas)
    with ExitStack() as stack:
        if settings.propagate:
            placed = stack.enter_context(keep(borrow(placed), watch))
        channels = networks.unet.config.out_channels
        noise, posterior = draw((plan.length, channels, *(side // CELL for side in canvas.size)))
        known = encode_known(networks, settings, frames, placed, plan, posterior, watch)
        del posterior  # as large as everything that is known
        latents = sample_levels(networks, settings, known, plan, canvas.source, text, noise, watch)
        del noise, known
        decode_some = partial(decode, networks.vae, device=networks.device)
        yield from finish_frames(decode_some, latents, placed, settings.finishing, watch)
