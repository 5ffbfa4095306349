"""A training that takes a second: pictures of noise, a transform of four channels, networks of a few thousand weights."""

import copy
import json
from pathlib import Path

import cv2
import numpy as np

from canvas_core.training.block_transform import as_encoder, learn_blocks
from canvas_core.training.data.pictures import read_pictures
from canvas_core.training.loop import Trainer
from canvas_core.training.recipe import read_recipe
from canvas_core.training.release import write_release

CHANNELS = 4
STEPS = 6

CANVAS = {
    "kind": "canvas",
    "seed": 3,
    "about": {
        "title": "Tiny",
        "licence": "CC0-1.0",
        "data": "noise",
        "recipe": "tiny.json",
        "presets": {"default": {"steps": 2, "cfg": 1.0}, "draft": {"steps": 1}},
    },
    "held_out": ["held_out.png"],
    "unet": {
        "block_out_channels": [32, 64],
        "layers_per_block": 1,
        "heads": [1, 2],
        "attention": [False, True],
        "text_width": 8,
        "layout_width": 32,
        "in_channels": 2 * CHANNELS + 1,
        "out_channels": CHANNELS,
        "norm_groups": 8,
        "max_frames": 5,
        "region_features": 8,
        "prediction": "x0",
        "noise_share": 0.5,
        "latent_scale": 1.0,
        "hidden_cells": "any",
        "reads_text": False,
        "spacing": "trailing",
    },
    "layout": {
        "features": 8,
        "width": 32,
        "temporal_heads": 1,
        "temporal_inner": 64,
        "patch": 2,
        "query_width": 32,
        "query_heads": 1,
        "query_inner": 64,
        "depth": 1,
        "tokens": 3,
        "output": 32,
    },
    "eye": {
        "img_size": 32,
        "patch_size": 8,
        "embed_dim": 16,
        "depth": 2,
        "num_heads": 2,
        "out_chans": 8,
        "window_size": 2,
        "global_attn_indexes": [1],
    },
    "samples": {
        "shapes": [
            {"frames": 2, "h": 32, "w": 32, "batch": 2, "chance": 2},
            {"frames": 1, "h": 24, "w": 40, "batch": 3, "chance": 1},
        ],
        "scenes": 0,
        "masks": {"sway": 0.3},
    },
    "loss": {"terminal": 0.3},
    "schedule": {"steps": STEPS, "warm_up": 2, "save_every": 2, "show_every": 100, "log_every": 1, "workers": 0},
}

AUTOENCODER = {
    "kind": "autoencoder",
    "seed": 3,
    "about": {"title": "Tiny autoencoder", "licence": "CC0-1.0", "data": "noise", "recipe": "tiny.json"},
    "autoencoder": {"channels": 5, "side": 32, "batch": 2, "scene_share": 0},
    "schedule": {"steps": 2, "warm_up": 0, "log_every": 1, "workers": 0},
}


def write_pictures(folder: Path, count: int = 3) -> Path:
    """Smooth noise as .png files of odd sizes, and one that recipes hold out."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    for index, name in enumerate([*(f"{i}.png" for i in range(count)), "held_out.png"]):
        noise = cv2.GaussianBlur(draw.random((67 + index, 91, 3)), (0, 0), 2 + index)
        span = (noise - noise.min()) / np.ptp(noise)
        cv2.imwrite(str(folder / name), np.rint(255 * span).astype(np.uint8))
    return folder


def write_encoder(path: Path, pictures: Path, channels: int = CHANNELS) -> Path:
    """A block transform learned from the pictures, as the file that recipes name; its decoder is left out."""
    kernel = learn_blocks(list(read_pictures(pictures).values()), channels)
    encoder = {f"taesd_encoder.{name}": value for name, value in as_encoder(kernel).state_dict().items()}
    return write_release(path, encoder, {})


def prepare(folder: Path) -> Path:
    """The folder with everything that a recipe names."""
    write_encoder(folder / "encoder.safetensors", write_pictures(folder / "pictures"))
    return folder


def recipe(folder: Path, base=CANVAS, **changes):
    """A recipe as an object, for a folder that `prepare` filled; changes replace parts of its sections."""
    data = copy.deepcopy(base) | {"pictures": str(folder / "pictures")}
    if base is CANVAS:
        data["autoencoder"] = str(folder / "encoder.safetensors")
    for name, value in changes.items():
        data[name] = data[name] | value if isinstance(value, dict) else value
    return data


def write_recipe(path: Path, data) -> Path:
    path.write_text(json.dumps(data))
    return path


def trainer(folder: Path, data) -> Trainer:
    """A trainer that works in `folder`, with the recipe written beside its results."""
    folder.mkdir(parents=True, exist_ok=True)
    read = read_recipe(write_recipe(folder / "recipe.json", data))
    return Trainer(read.task, read.schedule, folder, read.seed)
