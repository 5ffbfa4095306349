"""The demo: the bundled clip outpainted to 16:9, beside what the camera really saw there."""

import sys
import time

import numpy as np
import torch

from ..drawing.contact_sheet import contact_sheet
from ..errors import VideoError
from ..evaluation.measure import Measures, measure
from ..evaluation.protocol import BASELINES
from ..media.pictures import write_picture
from ..media.video import read_clip, write_clip
from ..pixels.eight_bit import from_levels, to_levels
from ..pixels.placing import GREY, place_source, trim_frames
from .jobs import prepare_job
from .request import Demo

PLAIN, DONE = "no model (cone)", "outpainted"
"""What the results are called."""

MOMENTS = 4
"""Frames on the picture."""


def run_demo(request: Demo) -> str:
    """Outpaint the bundled clip, write `demo.mp4` and `demo.png` into a folder; returns the figures. Raises CanvasError."""
    clip, folder = request.video.input, request.output
    source = from_levels(read_clip(clip).frames)
    truth = from_levels(read_clip(clip.with_name("truth.mp4")).frames)
    began = time.perf_counter()
    job = prepare_job(request.video, request.model)
    result = torch.stack(list(job.frames()))
    seconds = time.perf_counter() - began
    if result.shape != truth.shape:
        raise VideoError(
            f"the demo is {list(result.shape)}, but the true clip {list(truth.shape)}; leave --frames and the size as they are"
        )
    # The bundled files are compressed apart from each other, so the true clip's centre is taken from the source.
    truth[:, :, job.canvas.source.x : job.canvas.source.right] = source
    fill = BASELINES["cone"](source, job.canvas)
    write_clip(folder / "demo.mp4", (to_levels(frame) for frame in result), job.source.rate)
    shown = trim_frames(place_source(source, job.canvas.size, job.canvas.source, GREY), job.canvas)
    write_picture(folder / "demo.png", draw_demo({"source": shown, PLAIN: fill, DONE: result, "truth": truth}))
    figures = describe(
        {name: measure(frames, truth, job.canvas.source) for name, frames in ((PLAIN, fill), (DONE, result))}
    )
    peak = peak_memory()
    memory = "" if peak is None else f", at most {peak:.1f} GB of memory"
    return (
        f"{figures}\n{len(truth)} frames of {job.canvas.trim.size} in {seconds:.0f} s{memory}\n"
        f"wrote {folder / 'demo.mp4'} and {folder / 'demo.png'}"
    )


def draw_demo(columns: dict[str, torch.Tensor]) -> np.ndarray:
    """Clips [F, H, W, 3] by name at a few moments, [H, W, 3] uint8."""
    length = len(next(iter(columns.values())))
    places = np.linspace(0, length - 1, MOMENTS).round().astype(int)
    pictures = {name: [to_levels(frames[place]).numpy() for place in places] for name, frames in columns.items()}
    return contact_sheet(pictures, [f"frame {place}" for place in places])


def describe(measures: dict[str, Measures]) -> str:
    """One line of figures for each result."""
    return "\n".join(
        f"{name:16} PSNR {m.psnr:.2f} dB, SSIM {m.ssim:.3f}, seam {m.seam:.2f}, flicker {m.flicker:.2f}, known pixels off by {m.known_error:g}"
        for name, m in measures.items()
    )


def peak_memory() -> float | None:
    """Most memory this process has held, in GB; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
