"""Painted planes below the horizon, in perspective: meadows, soil, water and indoor floors. Lab float32 [h, w, 3]."""

import cv2
import numpy as np

from ....plan.boxes import Size
from .backdrops import HORIZON, WORLD, lit, pick
from .textures import PALETTES, Palette, blobs, blur, lab_image, plane_noise, relief, smoothstep


def ground(rng: np.random.Generator) -> np.ndarray:
    """The plane below the horizon, [WORLD.h - HORIZON, WORLD.w, 3]."""
    size = Size(WORLD.h - HORIZON, WORLD.w)
    kind = pick(rng, "foliage", "foliage", "dry", "earth", "stone", "sand", "snow", "water")
    base, other = PALETTES[kind].colours(rng, 2, 1.3)
    stretch = rng.uniform(3, 8) if kind == "water" else 1.0
    rough = plane_noise(rng, size, rng.uniform(0.0, 0.35), stretch)
    patch = smoothstep(plane_noise(rng, size, 0.7), -1.2, rng.uniform(0.5, 2.2))[..., None]
    lab = (base + (other - base) * patch).astype(np.float32)
    lab[..., 0] += rng.uniform(2, 8) * rough
    if kind in ("foliage", "dry"):
        lab = _grassy(rng, lab, PALETTES[kind])
    if kind != "water":
        lab = _strewn(rng, lab, PALETTES[pick(rng, kind, "stone", "stone" if kind == "snow" else "foliage")])
    if rng.random() < 0.3:
        lab = _path(rng, lab)
    haze = np.linspace(1, 0, size.h, dtype=np.float32)[:, None, None] ** 3 * rng.uniform(0, 0.7)
    lab = lab + (np.array([75, 0, -2]) - lab) * haze
    return lit(rng, _shaded(rng, lab), 6).astype(np.float32)


def _grassy(rng: np.random.Generator, lab: np.ndarray, palette: Palette) -> np.ndarray:
    """Blades of grass over the ground, longer the nearer."""
    h, w = lab.shape[:2]
    count = int(rng.integers(1500, 6000))
    foot = np.sort(h * rng.random(count) ** 0.6)
    x, lean = rng.uniform(0, w, count), rng.normal(0, 0.35, count)
    length = rng.uniform(0.3, 1, count) * (2 + rng.uniform(0.03, 0.14) * foot)
    labels = np.zeros((h, w), np.int32)
    ends = np.rint(np.stack([x, foot, x + lean * length, foot - length], -1)).astype(int)
    for i, (x0, y0, x1, y1) in enumerate(ends.tolist(), 1):
        cv2.line(labels, (x0, y0), (x1, y1), i, 1 + int(y0 > 0.75 * h))
    tone = np.concatenate([np.zeros(1), rng.normal(0, 8, count)]).astype(np.float32)[labels]
    lab[..., 0] += blur(tone, 0.5)
    return lab


def _strewn(rng: np.random.Generator, lab: np.ndarray, palette: Palette) -> np.ndarray:
    """Stones, tufts or fallen leaves that lie about, larger the nearer."""
    h, w = lab.shape[:2]
    count = int(np.exp(rng.uniform(np.log(10), np.log(2500))))
    foot = np.sort(h * rng.random(count) ** 0.7)
    radius = (rng.random(count) ** 3 * rng.uniform(0.01, 0.07) * foot + 0.6)[:, None, None]
    outline = np.stack([rng.uniform(0, w, count), foot], -1)[:, None] + radius * (1, rng.uniform(0.3, 0.9)) * blobs(
        rng, count
    )
    labels = np.zeros((h, w), np.int32)
    for i, points in enumerate(np.rint(outline * 16).astype(np.int32), 1):
        cv2.fillPoly(labels, [points], i, shift=4)
    seen = blur((labels > 0).astype(np.float32), 0.5)[..., None]
    colours = palette.colours(rng, 6)[rng.integers(6, size=count + 1)].astype(np.float32)[labels]
    colours[..., 0] += 8 * relief(blur(seen[..., 0], 1.5) * 20, (1.0, 0.4))
    under = blur(np.roll(seen[..., 0], 2, 0), 1.5)
    lab[..., 0] -= 10 * under
    return lab + (colours - lab) * seen


def _path(rng: np.random.Generator, lab: np.ndarray) -> np.ndarray:
    """A road towards the horizon."""
    h, w = lab.shape[:2]
    v = np.arange(h, dtype=np.float32)[:, None]
    bendy = rng.normal(0, 60) * np.sqrt(v / h)
    middle = w * rng.uniform(0.2, 0.8) + bendy + rng.normal(0, 0.8) * v
    off = np.abs(np.arange(w)[None] - middle) - v * rng.uniform(0.2, 0.7)
    road = lab_image(Size(h, w), PALETTES[pick(rng, "stone", "earth", "sand")].colours(rng, 1)[0])
    road[..., 0] += rng.uniform(1, 4) * plane_noise(rng, Size(h, w), 0.2)
    return lab + (road - lab) * smoothstep(off, 2, -2)[..., None]


def _shaded(rng: np.random.Generator, lab: np.ndarray) -> np.ndarray:
    """Long soft shadows of things out of view."""
    if rng.random() < 0.5:
        size = Size(*lab.shape[:2])
        shadow = smoothstep(plane_noise(rng, size, 0.8, 2.0), 0.3, 0.9)
        lab[..., 0] *= 1 - rng.uniform(0.15, 0.45) * shadow
    return lab


def floor(rng: np.random.Generator) -> np.ndarray:
    """An indoor plane below the horizon: boards, tiles or carpet."""
    size = Size(WORLD.h - HORIZON, WORLD.w)
    base, other = PALETTES[pick(rng, "wood", "wood", "stone", "wall", "cloth")].colours(rng, 2, 1.0)
    v = np.arange(size.h, dtype=np.float32)[:, None] + 2
    x = (np.arange(size.w) - size.w * rng.uniform(0.2, 0.8))[None] / v * rng.uniform(2, 6)
    z = size.h / v * rng.uniform(1.5, 6) * np.ones_like(x)
    turn = rng.normal(0, 0.5)
    x, z = np.cos(turn) * x + np.sin(turn) * z, np.cos(turn) * z - np.sin(turn) * x
    z = z * (rng.uniform(0.15, 0.4) if rng.random() < 0.5 else 1)
    tone = rng.normal(0, 1, (64, 64))[np.floor(x).astype(int) % 64, np.floor(z).astype(int) % 64]
    joint = np.maximum(np.abs(x % 1 - 0.5), np.abs(z % 1 - 0.5)) > 0.485
    visible = smoothstep(v, 8, 90)
    lab = (base + (other - base) * (0.5 + rng.uniform(0, 0.4) * tone * visible).clip(-0.5, 1.5)[..., None]).astype(
        np.float32
    )
    lab[..., 0] -= rng.uniform(2, 14) * blur(joint.astype(np.float32), 0.7) * visible
    lab[..., 0] += rng.uniform(0.5, 3) * plane_noise(rng, size, 0.3)
    return lit(rng, _shaded(rng, lab), 8)
