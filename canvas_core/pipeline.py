"""The headless engine: a source clip to an outpainted clip by Follow-Your-Canvas, round by round."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from segment_anything.modeling import ImageEncoderViT

from .errors import SamplingError
from .networks.autoencoder import decode, encode
from .pixels.compositing import inward_alpha, paste_source
from .pixels.eight_bit import to_levels
from .pixels.fill import FILLS, fill_hidden
from .pixels.finishing import Finishing
from .pixels.placing import GREY, cell_mask, generation_mask, place_source, trim_frames
from .pixels.propagation import propagate
from .plan.boxes import CELL
from .plan.canvas import Canvas, require_cells
from .plan.rounds import START_FROM, Round, plan_rounds
from .plan.windows import WindowSettings
from .sampling.denoise import Held, Predict, Start, check_steps, denoise, hold_frames
from .sampling.noise import share_noise
from .systems.follow_your_canvas.conditions import ClipConditions, TiledPredictor
from .systems.follow_your_canvas.guidance import Guidance, guide_by_text
from .systems.follow_your_canvas.layout_encoder import LayoutEncoder, layout_tokens
from .systems.follow_your_canvas.official import (
    PASTES,
    official_known_box,
    paste_as_published,
    require_centred,
    to_levels_official,
)
from .systems.follow_your_canvas.sam import encode_frames
from .systems.follow_your_canvas.solver import make_scheduler
from .systems.presets import Preset


@dataclass(frozen=True)
class Networks:
    """The parts of the system, ready to run."""

    unet: Any
    layout_encoder: LayoutEncoder
    sam: ImageEncoderViT
    vae: Any
    device: Any = "cpu"
    dtype: torch.dtype = torch.float32


@dataclass(frozen=True)
class Settings:
    """How to run. `official` arithmetic of Follow-Your-Canvas @ 2748eb1 can be chosen where it differs from the default."""

    steps: int = 40
    guidance: Guidance = field(default_factory=lambda: guide_by_text(8.0))
    fps: int = 8
    windows: WindowSettings = field(default_factory=WindowSettings)
    windows_at_once: int = 1
    rre: str = "centre_px"
    start_from: str = "source"
    feather: int = 8
    paste: str = "feather"
    strength: float = 1.0
    """Share of the denoising that is run; below 1 it starts from `fill`"""
    fill: str = "cone + detail"
    """Model-free fill to start from when `strength` is below 1, and to `refine`"""
    propagate: bool = False
    """Whether hidden pixels that a moving camera shows in other frames are borrowed from them first"""
    refine: bool = False
    """Whether only what the model adds to its own smooth fill is taken, and laid over `fill`; for x0 prediction"""
    match: int = 0
    """Pixels over which the result is drawn to the known colours at their border; 0 leaves it as it is"""
    texture: float = 0.0
    """Share 0..1 of the known area's detail that is laid over the generated one; 0 leaves it as it is"""
    official_input: bool = False
    """Uint8 truncation before SAM and the known box of equal pads, for parity."""

    def __post_init__(self) -> None:
        for name, value, known in (
            ("start_from", self.start_from, START_FROM),
            ("paste", self.paste, PASTES),
            ("fill", self.fill, tuple(FILLS)),
        ):
            if value not in known:
                raise SamplingError(f"{name} is {value!r}, but must be one of {', '.join(known)}")
        if not 0 < self.strength <= 1:
            raise SamplingError(
                f"the strength is {self.strength}, but must be above 0 and at most 1; 1 denoises in full"
            )
        _ = self.finishing  # refuses what cannot be
        if self.windows_at_once < 1:
            raise SamplingError(f"windows at once is {self.windows_at_once}, but must be at least 1")

    @property
    def finishing(self) -> Finishing:
        """What is done to the decoded frames."""
        return Finishing(
            self.match, self.texture, self.fill if self.refine else None, self.propagate, feather=self.feather
        )


class Draws(NamedTuple):
    """Every random number of one round: start noise and posterior noise, both [F, C, h, w]."""

    start: torch.Tensor
    posterior: torch.Tensor


Draw = Callable[[int, tuple[int, ...]], Draws]
"""draw(round index, latent shape) -> the round's random numbers."""


@dataclass(frozen=True)
class RoundResult:
    """What one round leaves behind."""

    latents: torch.Tensor
    """[F, C, h, w]"""
    features: torch.Tensor
    """SAM features [F, L, C] of the region the round started from"""
    frames: torch.Tensor
    """[F, H, W, 3], 0..1, as decoded, borrowed pixels on top"""


def settings_of(preset: Preset, rre: str) -> Settings:
    """The settings that a preset stands for."""
    return Settings(
        steps=preset.steps,
        guidance=guide_by_text(preset.cfg),
        windows=WindowSettings(
            preset.window, preset.overlap, frames=preset.frame_window, frame_overlap=preset.frame_overlap
        ),
        rre=rre,
        strength=preset.strength,
        fill=preset.fill,
        propagate=preset.propagate,
        feather=preset.feather,
        refine=preset.refine,
        match=preset.match,
        texture=preset.texture,
    )


def no_prompts(width: int) -> dict[str, torch.Tensor]:
    """Both embeddings, [1, 1, width] each, for a network that reads no prompt."""
    return dict.fromkeys(("negative", "positive"), torch.zeros(1, 1, width))


def seeded_draw(seed: int) -> Draw:
    """Draws from one CPU generator that runs on through all rounds."""
    generator = torch.Generator().manual_seed(seed)
    return lambda index, shape: Draws(torch.randn(shape, generator=generator), torch.randn(shape, generator=generator))


def run_round(
    networks: Networks,
    settings: Settings,
    frames: torch.Tensor,
    canvas: Canvas,
    text: dict[str, torch.Tensor],
    draws: Draws,
    on_step: Any = None,
) -> RoundResult:
    """Outpaint `frames` [F, h, w, 3] 0..1 onto `canvas`. text: positive and negative embeddings, each [1, L, D]."""
    config = networks.unet.config
    levels = to_levels_official(frames * 2 - 1) if settings.official_input else to_levels(frames)
    features = encode_frames(networks.sam.to(networks.device), levels)
    spans = settings.windows.plan_frames(len(frames))
    known = official_known_box(canvas.size, canvas.source.size) if settings.official_input else canvas.source
    mask = generation_mask(canvas.size, known).expand(len(frames), -1, -1)
    placed = place_source(frames, canvas.size, canvas.source, GREY)
    if settings.propagate:
        placed, mask = propagate(placed, mask)
    clip = ClipConditions(
        mask=cell_mask(mask, hidden=config.hidden_cells)[:, None],
        masked_latents=encode(networks.vae, placed, draws.posterior, networks.device),
        text=text,
        layout=layout_tokens(networks.layout_encoder, features, spans, networks.device, networks.dtype),
        anchor=canvas.source,
        rre=settings.rre,
        fps=settings.fps,
    )
    filled = None
    if settings.strength < 1:
        filled = encode(networks.vae, fill_hidden(placed, mask, settings.fill), draws.posterior, networks.device)
    noise = share_noise(draws.start, config.noise_share)
    latents = sample_clip(networks, settings, clip, noise, filled, on_step)
    decoded = settings.finishing.apply(decode(networks.vae, latents, networks.device), placed, mask)
    return RoundResult(latents, features, decoded)


def sample_clip(
    networks: Networks,
    settings: Settings,
    clip: ClipConditions,
    noise: torch.Tensor,
    filled: torch.Tensor | None = None,
    on_step: Callable[[int, torch.Tensor], None] | None = None,
    held: Held | None = None,
) -> torch.Tensor:
    """Latents [F, C, h, w] of one clip from noise of that shape, or from the latents `filled` where the strength is below 1.

    Frames that are `held` keep their latents. Raises SamplingError, see `denoise`.
    """
    config = networks.unet.config
    scheduler = make_scheduler(config.prediction, config.spacing)
    predict: Predict = TiledPredictor(
        networks.unet,
        clip,
        settings.windows,
        settings.guidance,
        settings.windows_at_once,
        networks.device,
        networks.dtype,
    )
    if held:
        predict = hold_frames(predict, scheduler, held, noise)
    start = None if filled is None else Start(filled, settings.strength)
    return denoise(predict, noise, scheduler, settings.steps, on_step, start)


def outpaint(
    networks: Networks,
    settings: Settings,
    frames: torch.Tensor,
    canvas: Canvas,
    text: dict[str, torch.Tensor],
    draw: Draw,
    on_step: Callable[[int, int], None] | None = None,
) -> torch.Tensor:
    """The finished clip [F, H, W, 3] 0..1, trimmed to the asked size. on_step(round, step) reports progress.

    frames [F, h, w, 3] 0..1. Raises SamplingError, GeometryError or ConditioningError.
    """
    check_before_sampling(networks, settings, len(frames), canvas)
    rounds = plan_rounds(canvas, settings.windows)
    decoded = start = frames
    for index, step in enumerate(rounds):
        if index:
            start = _next_start(settings, decoded, frames, rounds[index - 1])
        shape = (len(frames), networks.unet.config.out_channels, *(side // CELL for side in step.canvas.size))
        report = (lambda i, _, r=index: on_step(r, i)) if on_step else None
        decoded = run_round(networks, settings, start, step.canvas, text, draw(index, shape), report).frames
    return trim_frames(_paste(settings, decoded, frames, start, step), canvas)


def _next_start(settings: Settings, decoded: torch.Tensor, frames: torch.Tensor, step: Round) -> torch.Tensor:
    """What the round after `step` starts from."""
    return decoded if settings.start_from == "previous" else _with_source(settings, decoded, frames, step)


def _with_source(settings: Settings, decoded: torch.Tensor, frames: torch.Tensor, step: Round) -> torch.Tensor:
    canvas = Canvas(step.canvas.size, step.original, step.canvas.trim)
    return paste_source(decoded, frames, canvas, settings.feather)


def _paste(
    settings: Settings, decoded: torch.Tensor, frames: torch.Tensor, start: torch.Tensor, step: Round
) -> torch.Tensor:
    """The round's finished frames: the true source on top, or the published paste of what the round started from."""
    if settings.paste == "official":
        return paste_as_published(decoded, start, step.canvas)
    return _with_source(settings, decoded, frames, step)


def check_before_sampling(networks: Networks, settings: Settings, frames: int, canvas: Canvas) -> None:
    """Refuse now what would fail after minutes of sampling."""
    check_steps(settings.steps)
    require_cells(canvas)
    inward_alpha(canvas, settings.feather)
    if settings.paste == "official":
        require_centred(canvas)
    reach = networks.unet.config.max_frames
    if min(frames, settings.windows.frames) > reach:
        raise SamplingError(
            f"time windows of {settings.windows.frames} frames are longer than the {reach} this model reaches; use --frame-window {reach}"
        )
