"""From a request to outpainted frames."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from tqdm import tqdm

from ..engine import outpaint, seeded_draw
from ..errors import SamplingError
from ..media.video import Source, open_source
from ..pixels.eight_bit import FromLevels
from ..pixels.placed import Video
from ..pixels.store import IN_MEMORY, ON_DISK, Store
from ..plan.canvas import Canvas
from ..plan.keyframes import KeyframePlan
from ..systems import built_in
from ..systems.checkpoint import open_checkpoint
from ..systems.system import Checkpoint, Files, Model, Place
from .request import ModelRequest, VideoRequest


def open_requested(request: ModelRequest) -> tuple[Checkpoint, Files]:
    """The checkpoint asked for, or the built-in one, and its files. Raises CheckpointError."""
    if request.model:
        return open_checkpoint(request.model), request.files
    return open_checkpoint(built_in.require(built_in.MODEL)), built_in.complete(request.files)


def choose_place(request: ModelRequest) -> Place:
    """Where and in which precision to run: a GPU when there is one. Raises SamplingError when the device asked for is not there."""
    device = request.device or (
        "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    )
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SamplingError(
            f"the device {device!r} cannot be used ({str(error).splitlines()[0]}); try --device cpu"
        ) from None
    return Place(device, getattr(torch, request.dtype or ("float32" if device == "cpu" else "float16")))


@dataclass(frozen=True)
class Job:
    """A video, ready to be outpainted."""

    source: Source
    canvas: Canvas
    plan: KeyframePlan
    model: Model
    store: Store
    seed: int
    device: str

    def frames(self) -> Iterator[torch.Tensor]:
        """Finished frames [H, W, 3] 0..1 with a progress bar. Raises CanvasError."""
        # Every pass of the engine reads the source again: where all is held anyway, it is decoded once.
        frames = self.source if self.store.chunk else list(self.source)
        video = Video(FromLevels(frames), float(self.source.rate))
        with Bar() as bar, explained_memory(self.device):
            bar.watch("start", 0, 1)
            yield from outpaint(
                self.model, video, self.canvas, self.plan, seeded_draw(self.seed), self.store, bar.watch
            )


class Bar:
    """A progress bar that shows one stage after the other, from the first report on."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._stage: str | None = None

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def watch(self, stage: str, done: int, total: int) -> None:
        """Show how far a stage is; a `Watch`."""
        if self._bar is None:
            self._bar = tqdm(total=total, unit="step")
        if stage != self._stage:
            self._stage = stage
            self._bar.reset(total)
            self._bar.set_description(stage)
        self._bar.update(done - self._bar.n)


@contextmanager
def explained_memory(device: str) -> Iterator[None]:
    """What to do when the device's memory runs out. Raises SamplingError then."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise SamplingError(
            f"the device {device} ran out of memory; lower --batch, then --frame-window (16 at least; with --levels --clip), then --window"
        ) from None


def prepare_job(video: VideoRequest, request: ModelRequest) -> Job:
    """Open the source, plan, and load the networks. Raises CanvasError."""
    checkpoint, files = open_requested(request)
    video.check(request, checkpoint)
    settings = request.settings(checkpoint)
    source = open_source(video.input, video.frames)
    canvas = video.canvas.around(source.size)
    plan = video.plan(source.length, checkpoint, settings)
    place = choose_place(request)
    model = checkpoint.system.open(checkpoint, files, settings, place)
    store = ON_DISK if video.by_levels(checkpoint) else IN_MEMORY
    model.check(canvas, plan)
    return Job(source, canvas, plan, model, store, request.seed, place.device)
