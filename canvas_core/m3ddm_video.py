"""M3DDM on a whole video: encode once, sample clip after clip by a plan, decode once. Latents are held, pixels are not.

Frames are [h, w, 3] uint8 and are read as often as needed, so a source is anything that can be iterated again.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import torch

from .errors import SamplingError
from .m3ddm import (
    CONTEXT_SCALE,
    GLOBAL_SCALE,
    LEAST_STEPS,
    STEPS,
    M3DDMClip,
    M3DDMPredictor,
    TiledM3DDMPredictor,
    sample_clip,
)
from .networks.autoencoder import decode, encode
from .pixels.compositing import paste_frames
from .pixels.fill import fill_hidden
from .pixels.finishing import Finishing, finish_frames
from .pixels.placed import Frames, OnCanvas, batches
from .pixels.placing import cell_mask, generation_mask, place_source
from .plan.boxes import CELL
from .plan.canvas import Canvas
from .plan.keyframes import ClipPlan, KeyframePlan
from .plan.windows import WindowSettings
from .progress import Watch, unwatched
from .sampling.denoise import check_steps
from .systems.m3ddm.global_frames import global_frames, stretch
from .systems.m3ddm.layers import GlobalKeys
from .systems.m3ddm.network import M3DDMUNet
from .systems.m3ddm.plan import clip_rate

AT_ONCE = 16
"""Frames whose pixels are held."""

WINDOW, OVERLAP = 256, 64
"""Pixels; the published canvas is one window."""


class Prepared(NamedTuple):
    """Frames on the canvas, 0..1."""

    masked: torch.Tensor
    """[F, H, W, 3], black where hidden"""
    filled: torch.Tensor
    """[F, H, W, 3], hidden area filled by Telea"""
    mask: torch.Tensor
    """[H, W], 1 = generate"""


Prepare = Callable[[torch.Tensor], Prepared]
"""prepare(frames [F, h, w, 3] uint8)."""


def prepare_on(canvas: Canvas) -> Prepare:
    """Frames on a canvas of any size; the published code knows squares of up to 256 pixels only."""

    def prepare(frames: torch.Tensor) -> Prepared:
        mask = generation_mask(canvas.size, canvas.source)
        masked = place_source(frames.float() / 255, canvas.size, canvas.source, fill=0.0)
        filled = fill_hidden(masked, mask.expand(len(masked), -1, -1), "telea")
        return Prepared(masked, filled, mask)

    return prepare


@dataclass(frozen=True)
class M3DDMNetworks:
    """The parts of the system, ready to run."""

    unet: M3DDMUNet
    vae: Any
    device: Any = "cpu"
    dtype: torch.dtype = torch.float32


@dataclass(frozen=True)
class M3DDMSettings:
    """How to run; the defaults are published."""

    steps: int = STEPS
    context_scale: float = CONTEXT_SCALE
    global_scale: float = GLOBAL_SCALE
    windows: WindowSettings = field(default_factory=lambda: WindowSettings(WINDOW, OVERLAP))
    """How canvases of more than a window are cut"""
    official_rate: bool = False
    """Whether the frame rate of a level is cut as published, to 0 for strides above the rate"""

    def __post_init__(self) -> None:
        check_steps(self.steps, LEAST_STEPS)


@dataclass(frozen=True)
class EncodedVideo:
    """What is known of a video, scaled latents on the CPU."""

    start: torch.Tensor
    """[N, 4, h, w], of the Telea fill"""
    context: torch.Tensor
    """[N, 4, h, w], of the source on black"""
    black: torch.Tensor
    """[1, 4, h, w]"""
    seen: torch.Tensor
    """[G, 4, 32, 32], of the global frames"""
    mask: torch.Tensor
    """[1, h, w], 1 = generate"""
    rate: float
    """Frames a second"""


class Finished(NamedTuple):
    """Latents [4, h, w] that a plan leaves."""

    frames: dict[int, torch.Tensor]
    """Of each frame as it guided later clips"""
    pictures: dict[int, torch.Tensor]
    """Of each picture of the result, by number"""


def encode_video(
    networks: M3DDMNetworks, frames: Iterable[torch.Tensor], prepare: Prepare, length: int, rate: float
) -> EncodedVideo:
    """Read and encode a video of `length` frames [h, w, 3] uint8. The posterior's mean is taken, where the published code draws
    without a seed. Raises SamplingError when there are fewer frames."""
    wanted = set(global_frames(length))
    starts, contexts, seen = [], [], {}
    count = 0
    for batch in batches(frames, AT_ONCE):
        if count + len(batch) > length:
            raise SamplingError(
                f"the video has more than the {length} frames that the plan was made for; make it again"
            )
        prepared = prepare(torch.stack(batch))
        starts.append(_encode(networks, prepared.filled))
        contexts.append(_encode(networks, prepared.masked))
        for index, frame in enumerate(batch, count):
            if index in wanted:
                seen[index] = _encode(networks, stretch(frame))
        count += len(batch)
    if count != length:
        raise SamplingError(f"the video has {count} frames, but the plan was made for {length}; make it again")
    return EncodedVideo(
        start=torch.cat(starts),
        context=torch.cat(contexts),
        black=_encode(networks, torch.zeros_like(prepared.masked[:1])),
        seen=torch.cat([seen[index] for index in global_frames(length)]),
        mask=cell_mask(prepared.mask[None]),
        rate=rate,
    )


def _encode(networks: M3DDMNetworks, frames: torch.Tensor) -> torch.Tensor:
    channels = networks.unet.config.out_channels
    mean = torch.zeros(len(frames), channels, *(side // CELL for side in frames.shape[1:3]))
    return encode(networks.vae, frames, mean, networks.device)


@torch.inference_mode()
def sample_video(
    networks: M3DDMNetworks,
    video: EncodedVideo,
    plan: KeyframePlan,
    settings: M3DDMSettings,
    draw: Callable[[ClipPlan], torch.Tensor],
    on_step: Callable[[int, int], None] | None = None,
    on_clip: Callable[[int, torch.Tensor], None] | None = None,
) -> Finished:
    """Sample every clip of a plan. draw(clip) gives its start noise [F, 4, h, w].

    on_step(clip, step) reports progress, on_clip(clip, latents [F, 4, h, w]) each result.

    Raises SamplingError when the plan was made for another length, or a level is not finite.
    """
    if plan.length != len(video.start):
        raise SamplingError(
            f"the plan was made for {plan.length} frames, but the video has {len(video.start)}; make it again"
        )
    unet = networks.unet
    seen = video.seen[None].to(networks.device, networks.dtype)
    keys, null_keys = unet.encode_global(seen), unet.encode_global(torch.zeros_like(seen))
    done = Finished({}, {})
    for index, clip in enumerate(plan.clips):
        told = _describe(networks, video, clip, done, settings, (keys, null_keys))
        predict = _predictor(unet, told, settings)
        report = (lambda step, _, clip=index: on_step(clip, step)) if on_step else None
        latents = sample_clip(predict, video.start[list(clip.frames)], draw(clip), settings.steps, report)
        if on_clip:
            on_clip(index, latents)
        done.frames.update({clip.frames[slot]: latents[slot] for slot in clip.writes})
        done.pictures.update({number: latents[slot] for slot, number in clip.shows})
    return done


def _describe(
    networks: M3DDMNetworks,
    video: EncodedVideo,
    clip: ClipPlan,
    done: Finished,
    settings: M3DDMSettings,
    keys: tuple[list[GlobalKeys], list[GlobalKeys]],
) -> M3DDMClip:
    def place(x: torch.Tensor) -> torch.Tensor:
        return x.to(networks.device, networks.dtype)

    return M3DDMClip(
        context=place(video.context[list(clip.frames)]),
        mask=place(video.mask.expand(len(clip.frames), 1, -1, -1)),
        black=place(video.black),
        guides={slot: place(done.frames[clip.frames[slot]]) for slot in clip.guides},
        keys=keys[0],
        null_keys=keys[1],
        fps=clip_rate(video.rate, clip.stride, settings.official_rate),
    )


def _predictor(unet: M3DDMUNet, told: M3DDMClip, settings: M3DDMSettings) -> TiledM3DDMPredictor:
    whole = M3DDMPredictor(unet, told, settings.context_scale, settings.global_scale)
    return TiledM3DDMPredictor(whole, settings.windows)


def outpaint_m3ddm(
    networks: M3DDMNetworks,
    settings: M3DDMSettings,
    frames: Frames,
    rate: float,
    canvas: Canvas,
    plan: KeyframePlan,
    seed: int,
    finishing: Finishing,
    watch: Watch = unwatched,
) -> Iterator[torch.Tensor]:
    """Finished frames [H, W, 3] 0..1 of the asked area, one after the other; frames are `rate` a second and can be read again.

    Noise is drawn once for the whole clip, so a frame's does not depend on the level. watch is told of every frame that is read or finished
    and every denoising step. Raises SamplingError or GeometryError.
    """
    latents = _sample_whole(networks, settings, frames, rate, canvas, plan, seed, watch)
    decode_some = partial(decode, networks.vae, device=networks.device)
    result = finish_frames(decode_some, latents, OnCanvas(frames, canvas), finishing, watch)
    yield from paste_frames(result, frames, canvas, finishing.feather)


def _sample_whole(
    networks: M3DDMNetworks,
    settings: M3DDMSettings,
    frames: Frames,
    rate: float,
    canvas: Canvas,
    plan: KeyframePlan,
    seed: int,
    watch: Watch,
) -> torch.Tensor:
    """Latents [N, 4, h, w] of the whole video."""

    def reading() -> Iterator[torch.Tensor]:
        for frame in frames:
            yield frame
            watch("read", 1)

    video = encode_video(networks, reading(), prepare_on(canvas), plan.length, rate)
    noise = torch.randn(video.start.shape, generator=torch.Generator().manual_seed(seed))
    done = sample_video(
        networks,
        video,
        plan,
        settings,
        lambda clip: noise[list(clip.frames)],
        lambda clip, step: watch(f"stride {plan.clips[clip].stride}", 1),
    )
    return torch.stack([done.pictures[number] for number in range(plan.length)])
