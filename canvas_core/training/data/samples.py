"""Batches to train the canvas network on: rendered or real clips, what is hidden of them, and what the anchor shows."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from einops import rearrange
from torch.utils.data import Dataset

from ...pixels.placing import cell_mask
from ...plan.boxes import Box, Size
from ...systems.follow_your_canvas.block_latent import encode_blocks
from ...systems.follow_your_canvas.relative_region import relative_region
from ...systems.follow_your_canvas.sam import prepare_frame
from .anchor_target import AnchorTargetSettings, sample_anchor_target
from .clips import cut_clip
from .masks import MaskSettings, draw_mask
from .pseudo_video import render_pan
from .scenes.scenes import render_scene

RENDERED_FPS = 8
"""Frame stride that rendered clips are said to have; real ones have their own."""


@dataclass(frozen=True)
class BatchShape:
    """Clips of one size; a batch has one shape."""

    frames: int
    h: int
    w: int
    batch: int
    chance: float


@dataclass(frozen=True)
class SampleSettings:
    """Where clips come from and what is hidden of them."""

    shapes: tuple[BatchShape, ...]
    scenes: float = 0.6
    """Chance of a rendered scene; the rest are pans over pictures, or cuts of videos where there are any"""
    videos: float = 0.0
    """Chance of a cut of a real video"""
    anchor_target: float = 0.25
    """Chance of Follow-Your-Canvas's anchor and target; the rest hide M3DDM's sides"""
    masks: MaskSettings = field(default_factory=MaskSettings)
    drop_layout: float = 0.1
    """Chance that the network is not shown the anchor, as published"""
    anchor: tuple[float, float] = (1.0, 1.2)
    """Sides of the anchor over the target's, at least 1"""
    overlap: tuple[float, float] = (0.5, 1.0)
    """Overlap of anchor and target over the target's side"""


@dataclass(frozen=True)
class Material:
    """Pictures [H, W, 3] uint8 and video files."""

    pictures: Sequence[np.ndarray]
    videos: Sequence[Path] = ()


@dataclass(frozen=True)
class Sample:
    """One clip [F, h, w, 3] uint8, its mask [F, h, w], the anchor's frames (None: not shown) and the relative region."""

    clip: np.ndarray
    mask: np.ndarray
    anchor: np.ndarray | None
    region: tuple[int, ...]
    fps: int


class Samples(Dataset[dict[str, torch.Tensor]]):
    """Item i is the batch of step i: latents, mask, eye, region, fps, shown. All of it follows from the seed and i."""

    def __init__(self, settings: SampleSettings, material: Material, kernel: torch.Tensor, eye: int, seed: int):
        self.settings, self.material, self.kernel, self.eye, self.seed = settings, material, kernel, eye, seed

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        cv2.setNumThreads(1)
        draw = np.random.default_rng((self.seed, index))
        shapes = self.settings.shapes
        chances = np.array([shape.chance for shape in shapes])
        shape = shapes[draw.choice(len(shapes), p=chances / chances.sum())]
        return self.collate([self.draw(shape, draw) for _ in range(shape.batch)])

    def draw(self, shape: BatchShape, draw: np.random.Generator) -> Sample:
        """One sample of a shape."""
        if draw.random() < self.settings.anchor_target:
            return self._anchor_target(shape, draw)
        clip, fps = self._clip(Size(shape.h, shape.w), shape.frames, draw)
        mask, known = draw_mask(self.settings.masks, shape.frames, Size(shape.h, shape.w), draw)
        whole = Box(0, 0, shape.h, shape.w)
        region = relative_region(whole, known or whole, "centre_px")
        shown = known is not None and draw.random() >= self.settings.drop_layout
        anchor = clip[:, known.y : known.bottom, known.x : known.right] if known and shown else None
        return Sample(clip, mask, anchor, region, fps)

    def _clip(self, size: Size, frames: int, draw: np.random.Generator) -> tuple[np.ndarray, int]:
        """Frames [F, h, w, 3] and their stride."""
        choice, seed = draw.random(), int(draw.integers(2**31))
        pictures = self.material.pictures
        if self.material.videos and choice < self.settings.videos:
            return cut_clip(self.material.videos[seed % len(self.material.videos)], draw, frames, size)
        if choice < self.settings.videos + self.settings.scenes or not pictures:
            return render_scene(seed, frames, size, pictures), RENDERED_FPS
        return render_pan(pictures[seed % len(pictures)], seed, frames, size), RENDERED_FPS

    def _anchor_target(self, shape: BatchShape, draw: np.random.Generator) -> Sample:
        s, target = self.settings, Size(shape.h, shape.w)
        low, high = s.anchor
        room = [int(2 * (1 - s.overlap[0]) * side + high * side) + 32 for side in target]
        clip, fps = self._clip(Size(*room), shape.frames, draw)
        sampled = sample_anchor_target(
            torch.from_numpy(clip).permute(0, 3, 1, 2).float(),
            AnchorTargetSettings(
                target,
                s.overlap,
                s.overlap,
                (int(high * target.h), int(low * target.h)),
                (int(high * target.w), int(low * target.w)),
            ),
            random.Random(int(draw.integers(2**31))),
        )
        mask = np.ones((shape.frames, *target), np.uint8)
        if sampled.known:
            box = sampled.known
            mask[:, box.y : box.bottom, box.x : box.right] = 0
        shown = draw.random() >= s.drop_layout
        return Sample(_levels(sampled.target), mask, _levels(sampled.anchor) if shown else None, sampled.region, fps)

    def collate(self, samples: Sequence[Sample]) -> dict[str, torch.Tensor]:
        """Latents [(B F), C, h, w], mask [(B F), 1, h, w], eye [(B F), 3, S, S], region [B, 6], fps [B], shown [B]."""
        clips = torch.from_numpy(np.stack([sample.clip for sample in samples]))
        frames = rearrange(clips, "b f h w c -> (b f) c h w").float() / 255
        masks = torch.from_numpy(np.concatenate([sample.mask for sample in samples]))[:, None].float()
        return {
            "latents": encode_blocks(self.kernel, frames),
            "mask": cell_mask(masks, hidden="any"),
            "eye": torch.cat([self._look(sample) for sample in samples]),
            "region": torch.tensor([sample.region for sample in samples]),
            "fps": torch.tensor([sample.fps for sample in samples]),
            "shown": torch.tensor([sample.anchor is not None for sample in samples]),
        }

    def _look(self, sample: Sample) -> torch.Tensor:
        """The anchor's frames as the image encoder takes them, [F, 3, S, S]; zeros where they are not shown."""
        if sample.anchor is None:
            return torch.zeros(len(sample.clip), 3, self.eye, self.eye)
        return torch.stack([prepare_frame(torch.from_numpy(frame.copy()), self.eye) for frame in sample.anchor])


def _levels(frames: torch.Tensor) -> np.ndarray:
    """[F, 3, h, w] of 0..255 to [F, h, w, 3] uint8."""
    levels: Any = frames.round().clamp(0, 255).byte().permute(0, 2, 3, 1)
    return levels.numpy()
