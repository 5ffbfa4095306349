"""The one engine: rounds, clips and windows of any system, in memory or on disk.

A round grows the canvas, a clip is what is sampled together, a window is what one evaluation sees; see `plan`. Everything that
differs between systems is behind `systems.system.Model`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import torch

from .errors import GeometryError, SamplingError
from .pixels.finishing import finish_frames
from .pixels.placed import OnCanvas, Placed, PlacedFrames, PlacedVideo, Video, borrow
from .pixels.placing import trim_frames
from .pixels.store import IN_MEMORY, Store
from .plan.boxes import Box, Size
from .plan.canvas import Canvas
from .plan.keyframes import ClipPlan, KeyframePlan
from .plan.rounds import Round, plan_rounds
from .progress import Watch, count_up, unwatched, within
from .sampling.denoise import Draw, denoise
from .sampling.tiling import Clip, Map, predict_canvas
from .systems.system import Known, Model

Sampled = tuple[ClipPlan, torch.Tensor]
"""A clip and its latents [F, C, h, w]."""


def seeded_draw(seed: int) -> Draw:
    """Draws from one CPU generator that runs on through all rounds."""
    generator = torch.Generator().manual_seed(seed)
    return lambda shape: torch.randn(shape, generator=generator)


def plan_growth(model: Model, canvas: Canvas) -> list[Round]:
    """The rounds in which a model grows a canvas."""
    return plan_rounds(canvas, model.settings.windows) if model.system.in_rounds else [Round(canvas, canvas.source)]


def outpaint(
    model: Model,
    video: Video,
    canvas: Canvas,
    plan: KeyframePlan,
    draw: Draw,
    store: Store = IN_MEMORY,
    watch: Watch = unwatched,
    map_windows: Map = map,
    map_clips: Map = map,
) -> Iterator[torch.Tensor]:
    """Finished frames [H, W, 3] 0..1 of the asked area, one after the other.

    Windows are evaluated and clips that do not wait for each other are sampled by the maps, of which one runs inside the other:
    two pools, never one for both. Nothing is read before the first frame is asked for. Raises SamplingError, GeometryError or ConditioningError.
    """
    finish = model.settings.finishing
    if finish.paste_whole and store.chunk:
        raise SamplingError(
            "the official paste stretches colours by the extremes of the whole clip, which is never held with levels; use the feathered paste"
        )
    model.check(canvas, plan)
    _check_given(video, canvas, plan)
    rounds = plan_growth(model, canvas)
    start = video
    with ExitStack() as stack:
        for index, step in enumerate(rounds):
            last = step is rounds[-1]
            seen = within(watch, f"round {index + 1}/{len(rounds)}") if len(rounds) > 1 else watch
            run = _Run(model, plan, draw, store, seen, map_windows, map_clips)
            given = {frame: _crop(picture, _part_of(step, canvas)) for frame, picture in video.given.items()}
            done = run.grow(start, step.canvas, given)
            if last and finish.paste_whole:
                done = _paste_whole(model, done, start, step.canvas)
            elif last or finish.start_from == "source":
                done = finish.paste(done, video.frames, step.target)
            if last:
                yield from done
            else:
                start = Video(stack.enter_context(store.keep(done)), video.rate)


def _check_given(video: Video, canvas: Canvas, plan: KeyframePlan) -> None:
    """Raise SamplingError unless the given frames are those of the plan, and GeometryError unless they are of the canvas."""
    if set(video.given) != set(plan.given):
        raise SamplingError(
            f"the plan was made for the given frames {list(plan.given)}, but those of the video are {sorted(video.given)}; make it again"
        )
    for frame, picture in video.given.items():
        if tuple(picture.shape[:2]) != tuple(canvas.size):
            raise GeometryError(
                f"the given frame {frame} is {Size(*picture.shape[:2])}, but the canvas is {canvas.size}; give frames of the whole canvas"
            )


def _crop(picture: torch.Tensor, box: Box) -> torch.Tensor:
    """View of a box in a picture [H, W, C]."""
    return picture[box.y : box.bottom, box.x : box.right]


def _part_of(step: Round, canvas: Canvas) -> Box:
    """Where the canvas of a round lies on the final one."""
    return Box(canvas.source.y - step.original.y, canvas.source.x - step.original.x, *step.canvas.size)


def _paste_whole(model: Model, done: Iterable[torch.Tensor], start: Video, canvas: Canvas) -> Iterator[torch.Tensor]:
    """By a paste that must see the whole clip."""
    result, source = torch.stack(list(done)), torch.stack(list(start.frames))
    return iter(trim_frames(model.settings.finishing.paste_whole(result, source, canvas), canvas))


@dataclass(frozen=True)
class _Run:
    """What all rounds of a run have in common."""

    model: Model
    plan: KeyframePlan
    draw: Draw
    store: Store
    watch: Watch
    map_windows: Map
    map_clips: Map

    def grow(self, video: Video, canvas: Canvas, given: Mapping[int, torch.Tensor]) -> Iterator[torch.Tensor]:
        """Frames [H, W, 3] 0..1 of the whole canvas, without the source on top; `given` as in OnCanvas."""
        model, plan, finish = self.model, self.plan, self.model.settings.finishing
        placed: PlacedFrames = OnCanvas(video.frames, canvas, given)
        with ExitStack() as stack:
            if finish.borrow:
                placed = stack.enter_context(self.store.keep_placed(self._borrowed(placed)))
            noise = model.noise(plan, canvas.cells, self.draw)
            known = model.know(PlacedVideo(video.frames, placed, canvas, video.rate), plan, self.draw, self.watch)
            sampled = sample_clips(
                model,
                known,
                plan,
                lambda clip: noise[list(clip.frames)],
                self.draw,
                self.watch,
                self.map_windows,
                self.map_clips,
            )
            decoded = _with_given(decode_clips(model, plan, sampled), placed, plan)
            yield from finish_frames(
                decoded, placed, finish, self.store.chunk, count_up(self.watch, "finish", plan.length)
            )

    def _borrowed(self, placed: PlacedFrames) -> Iterator[Placed]:
        advance = count_up(self.watch, "borrow", self.plan.length)
        for one in borrow(placed, self.store.chunk):
            advance(1)
            yield one


def sample_clips(
    model: Model,
    known: Known,
    plan: KeyframePlan,
    noise: Callable[[ClipPlan], torch.Tensor],
    draw: Draw,
    watch: Watch = unwatched,
    map_windows: Map = map,
    map_clips: Map = map,
) -> Iterator[Sampled]:
    """Every clip of a plan, sampled from its noise [F, C, h, w]; finished frames are known to later clips.

    Raises SamplingError when a clip is not finite.
    """
    settings = model.settings
    finished: dict[int, torch.Tensor] = {}
    advance = _count_strides(plan, settings.steps, watch)
    before: Clip | None = None

    def tell(clips: Iterable[ClipPlan]) -> Iterator[tuple[ClipPlan, Clip]]:
        nonlocal before
        for clip in clips:
            before = known.clip(clip, finished, before)
            yield clip, before

    def sample(told: tuple[ClipPlan, Clip]) -> Sampled:
        clip, about = told
        predict = partial(predict_canvas, about, settings.windows, at_once=settings.batch, map=map_windows)
        x = denoise(
            predict,
            noise(clip),
            model.scheduler(draw),
            settings.steps,
            about.enter,
            about.start,
            lambda *_: advance[clip.stride](1),
        )
        return clip, x

    for wave in plan.waves:
        for clip, x in map_clips(sample, tell(wave)):
            finished |= {clip.frames[slot]: x[slot] for slot in clip.writes}
            yield clip, x


def _count_strides(plan: KeyframePlan, steps: int, watch: Watch) -> Mapping[int, Callable[[int], None]]:
    """What each level reports its steps to."""
    clips = {stride: sum(clip.stride == stride for clip in plan.clips) for stride in plan.strides}
    return {stride: count_up(watch, f"stride {stride}", count * steps) for stride, count in clips.items()}


def decode_clips(model: Model, plan: KeyframePlan, sampled: Iterable[Sampled]) -> Iterator[torch.Tensor]:
    """Frames [H, W, 3] 0..1 that are not given, in order: of one level as its clips come, of several when all are there."""
    if len(plan.strides) == 1:
        for clip, x in sampled:
            yield from model.decode(x, clip.writes)
        return
    latents = {clip.frames[slot]: x[slot] for clip, x in sampled for slot in clip.writes}
    whole = torch.stack([latents.pop(frame) for frame in sorted(latents)])
    yield from model.decode(whole, range(len(whole)))


def _with_given(decoded: Iterator[torch.Tensor], placed: PlacedFrames, plan: KeyframePlan) -> Iterator[torch.Tensor]:
    """Decoded frames, and those that are given as they are."""
    if not plan.given:
        return decoded
    given = set(plan.given)
    return (one.frame if index in given else next(decoded) for index, one in enumerate(placed))
