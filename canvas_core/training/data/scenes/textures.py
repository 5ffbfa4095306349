"""Building blocks of painted scenes: noise with natural spectra, muted palettes, occluding shapes, light.

Fields are float32 [h, w]; colours are CIE Lab float32 [..., 3] with lightness 0..100.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from ....plan.boxes import Size

Field = np.ndarray


class Palette(NamedTuple):
    """Ranges of lightness and the two colour axes of Lab that base colours are drawn from."""

    lightness: tuple[float, float]
    a: tuple[float, float]
    b: tuple[float, float]

    def colours(self, rng: np.random.Generator, count: int, spread: float = 1.0) -> np.ndarray:
        """`count` related colours [count, 3]: a random walk around a base, drawn back to it at each step."""
        base = np.array([rng.uniform(*axis) for axis in self])
        steps = rng.normal(size=(count, 3)) * (9.0 * spread, 2.5 * spread, 4.0 * spread)
        walk, place = np.empty((count, 3), np.float32), np.zeros(3)
        for i, step in enumerate(steps):
            walk[i] = base + place
            place = 0.7 * place + step
        walk[:, 0] = walk[:, 0].clip(6, 95)
        return walk


PALETTES = {
    "foliage": Palette((22, 52), (-16, -4), (8, 28)),
    "dry": Palette((38, 66), (-3, 6), (10, 24)),
    "earth": Palette((30, 62), (2, 11), (7, 24)),
    "stone": Palette((32, 74), (-2, 3), (-4, 9)),
    "sand": Palette((58, 80), (0, 6), (8, 20)),
    "snow": Palette((80, 93), (-2, 1), (-8, 2)),
    "wood": Palette((24, 58), (5, 15), (12, 30)),
    "wall": Palette((48, 86), (-5, 8), (-6, 18)),
    "fur": Palette((18, 72), (1, 11), (3, 22)),
    "cloth": Palette((20, 72), (-14, 26), (-24, 24)),
    "brick": Palette((34, 56), (8, 24), (10, 26)),
    "water": Palette((30, 60), (-10, -1), (-16, 2)),
}


def smoothstep(values: Field, low: float, high: float) -> Field:
    """0 below `low`, 1 above `high`, smooth between."""
    t = ((values - low) / (high - low)).clip(0, 1)
    return t * t * (3 - 2 * t)


def spectral_noise(
    rng: np.random.Generator, size: Size, slope: float, stretch: float = 1.0, angle: float = 0.0
) -> Field:
    """Periodic noise [h, w] of unit variance with amplitude 1/f^slope, drawn out by `stretch` along `angle`."""
    spectrum = np.fft.rfft2(rng.standard_normal(tuple(size), dtype=np.float32))
    y = np.fft.fftfreq(size.h).astype(np.float32)[:, None]
    x = np.fft.rfftfreq(size.w).astype(np.float32)[None]
    cos, sin, root = math.cos(angle), math.sin(angle), math.sqrt(stretch)
    radius = np.hypot((cos * x + sin * y) * root, (cos * y - sin * x) / root)
    radius[0, 0] = np.inf
    noise = np.fft.irfft2(spectrum * radius ** -float(slope), s=tuple(size)).astype(np.float32)
    return noise / noise.std()


def bend(rng: np.random.Generator, field: np.ndarray, amount: float) -> np.ndarray:
    """The field [h, w] or [h, w, C] seen through slow random displacements of about `amount` pixels."""
    size = Size(*field.shape[:2])
    y, x = np.mgrid[: size.h, : size.w].astype(np.float32)
    dx, dy = (amount * spectral_noise(rng, size, 2.0) for _ in range(2))
    return cv2.remap(field, x + dx, y + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def blur(field: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of [h, w] or [h, w, C]; `sigma` in pixels."""
    return cv2.GaussianBlur(field, (0, 0), sigma) if sigma > 0.2 else field


def relief(height: Field, light: tuple[float, float]) -> Field:
    """Lambert-like light on a surface: how much it faces `light` (y, x), about -1..1."""
    slope = light[0] * cv2.Sobel(height, -1, 0, 1, scale=0.125) + light[1] * cv2.Sobel(height, -1, 1, 0, scale=0.125)
    return np.tanh(-slope)


def lab_image(size: Size, colour: np.ndarray) -> np.ndarray:
    """One Lab colour everywhere: [h, w, 3]."""
    return np.broadcast_to(np.asarray(colour, np.float32), (*size, 3)).copy()


def rgb_from_lab(lab: np.ndarray) -> np.ndarray:
    """Lab [h, w, 3] to RGB float32 0..1."""
    rgb: np.ndarray = cv2.cvtColor(np.ascontiguousarray(lab, np.float32), cv2.COLOR_Lab2RGB)
    return rgb.clip(0, 1)


def lab_from_rgb(rgb: np.ndarray) -> np.ndarray:
    """RGB uint8 [h, w, 3] to Lab float32."""
    lab: np.ndarray = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    return lab


Painter = Callable[[np.random.Generator, Size], np.ndarray]
Shape = Callable[[np.random.Generator, int], np.ndarray]


def _round(radius: np.ndarray) -> np.ndarray:
    """Outlines [n, k, 2] from radii [n, k] at equal angles."""
    angle = np.linspace(0, 2 * np.pi, radius.shape[1], endpoint=False)
    return radius[..., None] * np.stack([np.cos(angle), np.sin(angle)], -1)


def blobs(rng: np.random.Generator, count: int) -> np.ndarray:
    """Wobbly outlines [count, 24, 2] of radius about 1."""
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    radius = np.ones((count, 24))
    for wave in range(2, 6):
        size, phase = rng.normal(0, 0.32 / wave, (count, 1)), rng.uniform(0, 2 * np.pi, (count, 1))
        radius += size * np.cos(wave * angle + phase)
    return _turned(rng, _round(radius.clip(0.3, 1.7)), (0.5, 1.0))


def discs(rng: np.random.Generator, count: int) -> np.ndarray:
    """Ellipses [count, 16, 2]."""
    return _turned(rng, _round(np.ones((count, 16))), (0.55, 1.0))


def boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    """Rectangles [count, 4, 2], most of them upright."""
    flat = rng.uniform(0.2, 1.0, (count, 1, 2)) * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    angle = np.where(rng.random(count) < 0.6, rng.normal(0, 0.02, count), rng.uniform(0, np.pi, count))
    return _rotated(flat, angle)


def blades(rng: np.random.Generator, count: int) -> np.ndarray:
    """Pointed leaves [count, 8, 2]."""
    along = np.array([-1, -0.5, 0, 0.5, 1, 0.5, 0, -0.5])
    across = np.array([0, 0.8, 1, 0.7, 0, -0.7, -1, -0.8]) * rng.uniform(0.2, 0.55, (count, 1))
    return _rotated(np.stack(np.broadcast_arrays(along, across), -1), rng.uniform(0, 2 * np.pi, count))


def _turned(rng: np.random.Generator, outline: np.ndarray, flatness: tuple[float, float]) -> np.ndarray:
    flat = np.stack([np.ones(len(outline)), rng.uniform(*flatness, len(outline))], -1)
    return _rotated(outline * flat[:, None], rng.uniform(0, np.pi, len(outline)))


def _rotated(outline: np.ndarray, angle: np.ndarray) -> np.ndarray:
    turn = np.stack([np.cos(angle), np.sin(angle), -np.sin(angle), np.cos(angle)], -1).reshape(-1, 2, 2)
    return outline @ turn


class Leaves(NamedTuple):
    """A dead-leaves picture: occluding shapes with power-law sizes. Index 0 is the background."""

    labels: np.ndarray
    """Which shape is seen, int32 [h, w]; a higher one lies in front"""
    centres: np.ndarray
    """(x, y) of every shape [n, 2]"""
    radii: np.ndarray


def scatter_leaves(
    rng: np.random.Generator, size: Size, shape: Shape, radii: tuple[float, float], cover: float = 2.5
) -> Leaves:
    """Shapes whose density falls with the cube of the radius, enough for `cover` times the area (at most 6000)."""
    low, high = radii
    mean_area = 0.5 * 2 * np.pi * np.log(high / low) / (low**-2 - high**-2)
    count = int(min(cover * size.h * size.w / mean_area, 6000)) + 1
    radius = (low**-2 - rng.random(count) * (low**-2 - high**-2)) ** -0.5
    radius[: count // 3] = np.sort(radius[: count // 3])[::-1]
    centre = rng.uniform((-0.03 * size.w, -0.03 * size.h), (1.03 * size.w, 1.03 * size.h), (count, 2))
    outline = np.rint(16 * (centre[:, None] + radius[:, None, None] * shape(rng, count))).astype(np.int32)
    labels = np.zeros(tuple(size), np.int32)
    for i in range(1, count):
        cv2.fillPoly(labels, [outline[i]], i, shift=4)
    return Leaves(labels, centre, radius)


def paint_leaves(
    rng: np.random.Generator,
    leaves: Leaves,
    colours: np.ndarray,
    texture: Field,
    contrast: float = 6,
    shadow: float = 12,
) -> np.ndarray:
    """Lab [h, w, 3]: every shape with own colour, share of `texture`, light gradient, and shadow from those above."""
    labels, count = leaves.labels, len(leaves.radii)
    table = colours[rng.integers(len(colours), size=count)] + rng.normal(0, (4, 1, 1.5), (count, 3))
    lab = table.astype(np.float32)[labels]
    gain = (contrast * rng.gamma(2, 0.5, count)).astype(np.float32)
    slope = (rng.normal((0, -5), 4, (count, 2)) / np.maximum(leaves.radii, 4)[:, None]).astype(np.float32)
    start = (slope * leaves.centres).sum(1).astype(np.float32)
    y, x = np.mgrid[: labels.shape[0], : labels.shape[1]].astype(np.float32)
    lab[..., 0] += gain[labels] * texture + slope[labels, 0] * x + slope[labels, 1] * y - start[labels]
    reach = 1 + int(rng.uniform(0.02, 0.12) * min(np.percentile(leaves.radii, 90), 60))
    over = np.roll(labels, (reach, int(rng.integers(-reach, reach + 1))), (0, 1)) > labels
    lab[..., 0] -= shadow * blur(over.astype(np.float32), 0.6 * reach)
    return lab


@lru_cache(maxsize=8)
def _tile(index: int) -> Field:
    """Periodic noise of one octave around 1/4 cycle per pixel, 256 x 256."""
    noise = np.random.default_rng([90, index]).standard_normal((256, 256), dtype=np.float32)
    fine, coarse = (cv2.GaussianBlur(np.pad(noise, 16, "wrap"), (0, 0), sigma)[16:-16, 16:-16] for sigma in (0.8, 2.0))
    band = fine - coarse
    return band / band.std()


def _wrapped(place: Field) -> Field:
    return place - 255 * np.floor(place * (1 / 255))


def plane_noise(rng: np.random.Generator, size: Size, roughness: float, stretch: float = 1.0) -> Field:
    """Noise on a plane seen in perspective, row 0 at the horizon; octaves weigh 2^-(roughness * octave).

    `stretch` above 1 draws the texture out sideways. Details finer than a pixel fade out.
    """
    v = np.arange(size.h, dtype=np.float32)[:, None] + 2
    x = np.linspace(-0.5, 0.5, size.w, dtype=np.float32)[None] * size.w / v
    depth = size.h / v
    total = np.zeros(tuple(size), np.float32)
    for octave in range(9):
        scale = 2.0**octave
        footprint = scale / v * np.sqrt(size.h / v) / 4
        shift = rng.uniform(0, 256, 2).tolist()
        image = cv2.remap(
            _tile(octave % 8),
            _wrapped(x * (scale / stretch) + shift[0]),
            np.broadcast_to(_wrapped(depth * scale + shift[1]), x.shape).copy(),
            cv2.INTER_LINEAR,
        )
        total += float(2.0 ** (-roughness * octave)) * (1 - footprint).clip(0, 1) * image
    return total / total.std()
