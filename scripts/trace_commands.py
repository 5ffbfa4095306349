"""Run commands one after the other, and keep the float32 values that pass on the way to each result.

    PYTHONPATH=CHECKOUT python -P scripts/trace_commands.py JOBS.json

JOBS.json is a list of [folder, words of the command line]. Each folder receives `trace.npz`, the command's output as `log.txt`,
and `done.json`. The trace holds, picture by picture: latents that the VAE decodes, frames that it encodes, and pictures before
they are rounded. Only torch and diffusers are hooked, so that any state of the project can be traced.
"""

import importlib
import json
import multiprocessing
import os
import runpy
import sys
import time
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny

SLOW_IMPORTS = (
    "diffusers.loaders.single_file_utils",
    "kornia",
    "segment_anything",
    "transformers.models.clip.modeling_clip",
)
"""Done once: every command runs in a fork of this process."""

HOOKS = (
    ("latents", AutoencoderKL, "decode"),
    ("latents", AutoencoderTiny, "decode"),
    ("encoded", AutoencoderKL, "encode"),
    ("encoded", AutoencoderTiny, "encode"),
    ("rounded", torch.Tensor, "round"),
)
"""Kind of value, and the method that it is given to"""

EXACT = 1e-3
"""Levels by which pictures differ that have 8 bits already; how often they are rounded again says nothing"""


def hook(trace: dict[str, np.ndarray], kind: str, owner: Any, name: str) -> None:
    """Let a method add what it is given, [..., a, b, c], to `trace` as pictures [a, b, c]; fewer axes pass by."""
    method = getattr(owner, name)

    @wraps(method)
    def traced(self: Any, *values: Any, **options: Any) -> Any:
        value = self if owner is torch.Tensor else values[0]
        if value.is_floating_point() and value.ndim >= 3:
            for picture in value.detach().cpu().numpy().reshape(-1, *value.shape[-3:]):
                if owner is torch.Tensor and np.abs(picture - np.rint(picture)).max() < EXACT:
                    continue
                trace[f"{kind} {len(trace)}"] = picture.copy()
        return method(self, *values, **options)

    setattr(owner, name, traced)


def run(folder: Path, words: list[str]) -> None:
    """Run one command, in a process of its own."""
    with (folder / "log.txt").open("w") as log:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(log.fileno(), stream.fileno())
    trace: dict[str, np.ndarray] = {}
    for entry in HOOKS:
        hook(trace, *entry)
    sys.argv[1:] = words
    try:
        runpy.run_module("canvas_core", run_name="__main__", alter_sys=True)
    finally:
        np.savez(folder / "trace.npz", **trace)


def main() -> None:
    """Run all commands; `done.json` holds the words, the exit code and the seconds."""
    for name in SLOW_IMPORTS:
        importlib.import_module(name)
    for folder, words in json.loads(Path(sys.argv[1]).read_text()):
        began = time.perf_counter()
        process = multiprocessing.get_context("fork").Process(target=run, args=(Path(folder), words))
        process.start()
        process.join()
        done = {"words": words, "code": process.exitcode, "seconds": time.perf_counter() - began}
        (Path(folder) / "done.json").write_text(json.dumps(done))


if __name__ == "__main__":
    main()
