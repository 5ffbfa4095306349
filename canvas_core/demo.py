"""The demo: the bundled clip outpainted to 16:9, beside what the camera really saw there."""

import argparse
import sys
import time

import numpy as np
import torch

from .drawing.contact_sheet import contact_sheet
from .errors import VideoError
from .evaluation.measure import Measures, measure
from .evaluation.protocol import BASELINES
from .media.pictures import write_picture
from .media.video import read_clip, write_clip
from .pixels.eight_bit import to_levels
from .pixels.placing import GREY, place_source, trim_frames
from .running import Outpainted, open_model, run_outpaint

MOMENTS = 4
"""Frames on the picture."""


def run_demo(args: argparse.Namespace) -> str:
    """Outpaint the bundled clip, write `demo.mp4` and `demo.png` into args.output; returns the figures. Raises CanvasError."""
    truth = read_clip(args.input.with_name("truth.mp4")).frames.float() / 255
    began = time.perf_counter()
    done = run_outpaint(args, open_model(args))
    seconds = time.perf_counter() - began
    if done.frames.shape != truth.shape:
        raise VideoError(
            f"the demo is {list(done.frames.shape)}, but the true clip {list(truth.shape)}; leave --frames and the size as they are"
        )
    # The bundled files are compressed apart from each other, so the true clip's centre is taken from the source.
    truth[:, :, done.canvas.source.x : done.canvas.source.right] = done.clip.frames.float() / 255
    fill = BASELINES["cone"](done.clip.frames.float() / 255, done.canvas)
    write_clip(args.output / "demo.mp4", (to_levels(frame) for frame in done.frames), done.clip.rate)
    write_picture(args.output / "demo.png", draw_demo(done, fill, truth))
    results = {"no model (cone)": fill, "outpainted": done.frames}
    figures = describe({name: measure(frames, truth, done.canvas.source) for name, frames in results.items()})
    peak = peak_memory()
    memory = "" if peak is None else f", at most {peak:.1f} GB of memory"
    return (
        f"{figures}\n{len(truth)} frames of {done.canvas.trim.size} in {seconds:.0f} s{memory}\n"
        f"wrote {args.output / 'demo.mp4'} and {args.output / 'demo.png'}"
    )


def draw_demo(done: Outpainted, fill: torch.Tensor, truth: torch.Tensor) -> np.ndarray:
    """Source, model-free fill, result and truth at a few moments, [H, W, 3] uint8."""
    placed = place_source(done.clip.frames.float() / 255, done.canvas.size, done.canvas.source, GREY)
    source = trim_frames(placed, done.canvas)
    places = np.linspace(0, len(truth) - 1, MOMENTS).round().astype(int)
    columns = {"source": source, "no model (cone)": fill, "outpainted": done.frames, "truth": truth}
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
