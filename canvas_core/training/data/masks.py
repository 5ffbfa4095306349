"""What a training clip hides: M3DDM's sides and guide frames, one mask a clip. Masks [F, H, W] uint8, 1 = generate.

specs of the draw: Fan et al., "Hierarchical Masked 3D Diffusion Model for Video Outpainting" (2023), section 3.2, and the
training code of M3DDM-Plus, which names the paper's numbers.
"""

from dataclasses import dataclass

import numpy as np

from ...plan.boxes import Box, Size

SIDES = ("left", "top", "right", "bottom")
FOUR, SINGLE, OPPOSITE, ANY, ALL = range(5)
EDGES = (0.2, 0.1, 0.35, 0.1, 0.25)
"""Chance of four sides, a single one, two opposite ones, any subset, everything."""
GUIDES = (0.3, 0.35, 0.35)
"""Chance of no guide frame, the first (and maybe the last) frame, each frame by a coin."""


@dataclass(frozen=True)
class MaskSettings:
    """Chances and ranges; the defaults are M3DDM's."""

    edges: tuple[float, ...] = EDGES
    guides: tuple[float, ...] = GUIDES
    ratio: tuple[float, float] = (0.15, 0.75)
    """Share of a dimension that is hidden when both its sides are; each hidden side takes half"""
    sway: float = 0.0
    """Chance that a hidden side is narrower in some frames, as where a moving camera lent pixels"""


def _sides(settings: MaskSettings, draw: np.random.Generator) -> tuple[str, ...]:
    """The hidden sides; empty for everything."""
    kind = draw.choice(len(settings.edges), p=settings.edges)
    if kind == FOUR:
        return SIDES
    if kind == SINGLE:
        return (SIDES[draw.integers(4)],)
    if kind == OPPOSITE:
        return ("left", "right") if draw.random() < 0.5 else ("top", "bottom")
    if kind == ANY:
        chosen = tuple(side for side in SIDES if draw.random() < 0.5)
        return chosen or (SIDES[draw.integers(4)],)
    return ()


def _guides(settings: MaskSettings, frames: int, draw: np.random.Generator) -> np.ndarray:
    """Which frames are given whole, [F] bool."""
    given = np.zeros(frames, bool)
    kind = draw.choice(3, p=settings.guides)
    if kind == 1:
        given[0] = True
        given[-1] = draw.random() < 0.5
    elif kind == 2:
        given = draw.random(frames) < 0.5
    return given if not given.all() else np.zeros(frames, bool)


def _swaying(width: int, frames: int, settings: MaskSettings, draw: np.random.Generator) -> np.ndarray:
    """Width of a hidden side in each frame [F]: constant, or shrinking towards one end of the clip."""
    if frames == 1 or draw.random() >= settings.sway:
        return np.full(frames, width)
    lent = np.linspace(0, draw.uniform(0.2, 1.5), frames)
    return np.rint(width * (1 - (lent if draw.random() < 0.5 else lent[::-1])).clip(0)).astype(int)


def draw_mask(
    settings: MaskSettings, frames: int, size: Size, draw: np.random.Generator
) -> tuple[np.ndarray, Box | None]:
    """The mask [F, H, W], and the box that no frame hides, or None where guide frames alone are known."""
    mask = np.ones((frames, *size), np.uint8)
    sides = _sides(settings, draw)
    known = None
    if sides:
        ratios = {"h": draw.uniform(*settings.ratio), "w": draw.uniform(*settings.ratio)}
        widths = {side: _width(side, sides, ratios, size) for side in SIDES}
        known = Box(widths["top"], widths["left"], *_inner(size, widths))
        sways = {side: _swaying(widths[side], frames, settings, draw) for side in SIDES}
        for frame in range(frames):
            left, top, right, bottom = (sways[side][frame] for side in SIDES)
            mask[frame, top : size.h - bottom, left : size.w - right] = 0
    if frames > 1:
        mask[_guides(settings, frames, draw)] = 0
    return mask, known


def _width(side: str, sides: tuple[str, ...], ratios: dict[str, float], size: Size) -> int:
    if side not in sides:
        return 0
    return round(size.w * ratios["w"] / 2) if side in ("left", "right") else round(size.h * ratios["h"] / 2)


def _inner(size: Size, widths: dict[str, int]) -> Size:
    return Size(size.h - widths["top"] - widths["bottom"], size.w - widths["left"] - widths["right"])
