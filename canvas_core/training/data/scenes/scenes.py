"""Moving scenes made of painted layers: what a video model trains on where no videos are at hand.

A clip combines cached layers (sky, ground, trees, houses, creatures, ...) with its own light, haze, camera and moving
things. The same arguments give the same bytes, in any order of calls.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import cv2
import numpy as np

from ....plan.boxes import Size
from ..camera import DEPTH, Pose, draw_path, plane_matrix, thing_matrix, view_matrix
from ..pseudo_video import finish, render_pan
from . import backdrops, grounds, objects
from .backdrops import HORIZON, WORLD
from .textures import blur, rgb_from_lab, smoothstep

__all__ = ["render_pan", "render_scene"]

PAINTERS: dict[str, tuple[Callable[[np.random.Generator], Any], int]] = {
    "sky": (backdrops.sky, 64),
    "wall": (backdrops.wall, 48),
    "surface": (backdrops.surface, 64),
    "ground": (grounds.ground, 64),
    "floor": (grounds.floor, 32),
    "tree": (objects.tree, 64),
    "bush": (objects.bush, 48),
    "house": (objects.house, 64),
    "posts": (objects.posts, 32),
    "furniture": (objects.furniture, 48),
    "creature": (objects.creature, 96),
    "lump": (objects.lump, 64),
}
"""Kind to painter and number of different layers. All of them together take about 0.8 GB."""

MIRROR = cv2.BORDER_REFLECT_101

WIDE = ("sky", "wall", "surface", "ground", "floor")
"""Kinds that fill the width of the world"""


class Placed(NamedTuple):
    """A layer in the world."""

    pixels: np.ndarray
    """Premultiplied RGBA, uint8 [h, w, 4]"""
    x: float
    y: float
    """Its top left corner, in world pixels"""
    zoom: float = 1.0
    """World pixels a pixel of the layer"""
    nearness: float | None = 0.0
    """0 infinitely far, 1 at the bottom of the world; None for the ground plane"""
    velocity: tuple[float, float] = (0.0, 0.0)
    """Own motion (x, y), world pixels a frame"""
    border: int = cv2.BORDER_CONSTANT
    """How OpenCV goes on outside the layer"""
    wobble: float = 0.0
    """Pixels of the layer by which its outline swings"""


@cache
def painted(kind: str, index: int) -> np.ndarray:
    """Layer `index` of a kind: premultiplied RGBA, uint8 [h, w, 4]."""
    result = PAINTERS[kind][0](np.random.default_rng([list(PAINTERS).index(kind), index]))
    lab, alpha = result if isinstance(result, tuple) else (result, np.ones(result.shape[:2], np.float32))
    layer = premultiplied(blur(rgb_from_lab(lab), 0.5), alpha)
    return layer if kind in WIDE else _shadowed(layer)


def _shadowed(layer: np.ndarray) -> np.ndarray:
    """The thing on a soft shadow; the layer grows by a fifth of its width on both sides and a little downwards."""
    h, w = layer.shape[:2]
    side, below = w // 5, 4 + w // 25
    layer = cv2.copyMakeBorder(layer, 0, below, side, side, cv2.BORDER_CONSTANT)
    width = layer[h - h // 6 - 1 : h, :, 3].max(0).astype(np.float32)[None] / 255
    rows = np.exp(-np.abs(np.arange(h + below) - h)[:, None] / below * 2.0).astype(np.float32)
    shadow = 0.6 * rows * blur(width, 0.25 * side + 1)
    layer[..., 3] += np.rint((255 - layer[..., 3]) * shadow).astype(np.uint8)
    return layer


def premultiplied(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """RGB [h, w, 3] and alpha [h, w], both float 0..1, as RGBA uint8 [h, w, 4]."""
    alpha = alpha.clip(0, 1)[..., None]
    return np.rint(255 * np.concatenate([rgb * alpha, alpha], -1)).astype(np.uint8)


def _any(rng: np.random.Generator, kind: str) -> np.ndarray:
    layer = painted(kind, int(rng.integers(PAINTERS[kind][1])))
    return layer[:, ::-1] if rng.random() < 0.5 else layer


def _standing(rng: np.random.Generator, layer: np.ndarray, near: tuple[float, float], size: float = 1.0) -> Placed:
    """A thing on the ground; it is drawn smaller the farther it stands."""
    nearness = float(np.exp(rng.uniform(*np.log(near))))
    zoom = size * (0.3 + nearness) * rng.uniform(0.7, 1.3)
    x = rng.uniform(0.0, 1.0) * WORLD.w - layer.shape[1] * zoom / 2
    return Placed(layer, x, HORIZON + DEPTH * nearness - layer.shape[0] * zoom, zoom, nearness)


def _moving(rng: np.random.Generator, thing: Placed) -> Placed:
    speed = 6 * rng.random() ** 1.5 * rng.choice([-1, 1])
    return thing._replace(
        velocity=(speed, rng.normal(0, 0.4)), wobble=rng.uniform(0, 0.05) * min(thing.pixels.shape[:2])
    )


def _plane(rng: np.random.Generator, kind: str) -> Placed:
    return Placed(_any(rng, kind), 0, HORIZON, nearness=None, border=cv2.BORDER_REPLICATE)


def _outdoors(rng: np.random.Generator) -> list[Placed]:
    kinds = [("tree", "bush"), ("house", "posts", "tree"), ("bush", "lump", "posts", "tree")][int(rng.integers(3))]
    layers = [Placed(_any(rng, "sky"), 0, 0, border=MIRROR), _plane(rng, "ground")]
    for _ in range(int(rng.integers(0, 8))):
        kind = str(rng.choice(kinds))
        layers.append(_standing(rng, _any(rng, kind), (0.04, 1.0), 1.0 if kind == "lump" else 1.5))
    return layers


def _indoors(rng: np.random.Generator) -> list[Placed]:
    foot = rng.uniform(0.1, 0.5)
    layers = [
        _plane(rng, "floor"),
        Placed(_any(rng, "wall"), 0, HORIZON + foot * DEPTH - WORLD.h, nearness=foot, border=cv2.BORDER_REPLICATE),
    ]
    kinds = ("furniture", "furniture", "lump")
    return layers + [
        _standing(rng, _any(rng, str(rng.choice(kinds))), (foot, 1.0), 1.3) for _ in range(int(rng.integers(1, 6)))
    ]


def _close(rng: np.random.Generator) -> list[Placed]:
    return [Placed(_any(rng, "surface"), 0, 0, nearness=float(rng.uniform(0.3, 0.9)), border=MIRROR)]


def _photographed(rng: np.random.Generator, pictures: Sequence[np.ndarray]) -> list[Placed]:
    """A picture as the background of the world."""
    return [Placed(_picture(rng, pictures, WORLD), 0, 0, nearness=float(rng.uniform(0.1, 0.7)), border=MIRROR)]


def _picture(rng: np.random.Generator, pictures: Sequence[np.ndarray], size: Size) -> np.ndarray:
    """An opaque cut of a picture, RGBA uint8 of the given size; small pictures are enlarged."""
    picture = pictures[int(rng.integers(len(pictures)))]
    fit = min(picture.shape[0] / size.h, picture.shape[1] / size.w)
    zoom = min(fit, np.exp(rng.uniform(np.log(0.8), np.log(max(1.6, fit)))))
    h, w = (max(1, int(side * zoom)) for side in size)
    y, x = int(rng.integers(picture.shape[0] - h + 1)), int(rng.integers(picture.shape[1] - w + 1))
    cut = cv2.resize(
        picture[y : y + h, x : x + w], size[::-1], interpolation=cv2.INTER_AREA if zoom > 1 else cv2.INTER_LINEAR
    )
    return cv2.cvtColor(np.ascontiguousarray(cut[:, :: rng.choice([-1, 1])]), cv2.COLOR_RGB2RGBA)


def _covered(rng: np.random.Generator, thing: Placed, pictures: Sequence[np.ndarray]) -> Placed:
    """The thing with the texture of a picture inside its outline."""
    h, w = thing.pixels.shape[:2]
    alpha = thing.pixels[..., 3]
    body = np.rint(255 * smoothstep(alpha / np.float32(255), 0.6, 1)).astype(np.uint8)  # the rest is shadow
    cover = np.dstack([body, body, body, alpha])
    return thing._replace(pixels=cv2.multiply(_picture(rng, pictures, Size(h, w)), cover, scale=1 / 255))


def draw_layers(rng: np.random.Generator, pictures: Sequence[np.ndarray]) -> list[Placed]:
    """A random world, far to near."""
    share = rng.random()
    if pictures and share < 0.3:
        layers = _photographed(rng, pictures)
    elif share < 0.65:
        layers = _outdoors(rng)
    else:
        layers = _indoors(rng) if share < 0.85 else _close(rng)
    for _ in range(int(rng.choice([0, 1, 2, 3], p=[0.25, 0.4, 0.25, 0.1]))):
        kind = str(rng.choice(["creature", "creature", "lump"]))
        layers.append(_moving(rng, _standing(rng, _any(rng, kind), (0.2, 1.0))))
    if pictures:
        layers = [
            _covered(rng, thing, pictures) if thing.nearness and rng.random() < 0.3 else thing for thing in layers
        ]
    fixed = [thing for thing in layers if not thing.nearness or thing.pixels.shape[0] == WORLD.h]
    rest = [thing for thing in layers if thing.nearness and thing.pixels.shape[0] != WORLD.h]
    return fixed + sorted(rest, key=lambda thing: thing.nearness or 0.0)


def _tinted(rng: np.random.Generator, layers: list[Placed]) -> list[Placed]:
    """One light for the whole clip, and haze that grows with distance."""
    light = np.exp(rng.normal(-0.05, 0.2)) * np.exp(rng.normal(0, 0.07) * np.array([1, 0, -1]))
    grey = rng.uniform(-0.1, 0.25)
    mix = light[:, None] * ((1 - grey) * np.eye(3) + grey * np.array([0.3, 0.59, 0.11]))
    fog, thick = np.append(rng.uniform(150, 235) + rng.normal(0, 6, 3), 255) / 255, rng.uniform(0, 0.6) ** 2.5
    return [thing._replace(pixels=_recoloured(thing, mix, fog, thick)) for thing in layers]


def _recoloured(thing: Placed, mix: np.ndarray, fog: np.ndarray, thick: float) -> np.ndarray:
    veil = thick * (1 - (thing.nearness if thing.nearness is not None else 0.5)) if thing.nearness else 0.0
    matrix = np.eye(4)
    matrix[:3, :3] = (1 - veil) * mix
    matrix[:3, 3] = veil * fog[:3]
    return cv2.transform(np.ascontiguousarray(thing.pixels), matrix)


def _sized(rng: np.random.Generator, layers: list[Placed], scale: float) -> list[Placed]:
    """Layers as coarse as the output shows them, and coarser where the lens is out of focus."""
    focus = rng.uniform(0, 1)
    depth = 0.0 if rng.random() < 0.5 else rng.uniform(0.5, 2.5)
    result = []
    for thing in layers:
        unsharp = 0.0 if thing.nearness is None else depth * abs(thing.nearness - focus)
        coarse = max(scale / thing.zoom / 1.3, 1.0) * (1 + unsharp)
        if coarse > 1.3:
            size = tuple(max(2, round(side / coarse)) for side in thing.pixels.shape[1::-1])
            zoom = thing.zoom * thing.pixels.shape[0] / size[1]
            thing = thing._replace(pixels=cv2.resize(thing.pixels, size, interpolation=cv2.INTER_AREA), zoom=zoom)
        result.append(thing)
    return result


def _widened(layer: Placed) -> Placed:
    """A ground or wall mirrored at both sides, with empty rows at the horizon or the foot, for a replicated border."""
    side, above = layer.pixels.shape[1] // 2, 2 if layer.nearness is None else 0
    pixels = cv2.copyMakeBorder(layer.pixels, 0, 0, side, side, MIRROR)
    pixels = cv2.copyMakeBorder(pixels, above, 2 - above, 0, 0, cv2.BORDER_CONSTANT)
    return layer._replace(pixels=pixels, x=layer.x - side * layer.zoom, y=layer.y - above * layer.zoom)


def _swung(pixels: np.ndarray, amount: float, time: float) -> np.ndarray:
    """The layer bent by slow waves."""
    h, w = pixels.shape[:2]
    y, x = np.mgrid[:h, :w].astype(np.float32)
    dx = amount * np.sin(0.35 * time + 5 * y / h)
    dy = 0.5 * amount * np.sin(0.5 * time + 4 * x / w)
    return cv2.remap(pixels, (x + dx).astype(np.float32), (y + dy).astype(np.float32), cv2.INTER_LINEAR)


def _paint(frame: np.ndarray, thing: Placed, pose: Pose, time: int) -> None:
    """Draw one layer over the frame RGBA uint8 [h, w, 4], in place."""
    size = Size(*frame.shape[:2])
    x, y = thing.x + thing.velocity[0] * time, thing.y + thing.velocity[1] * time
    pixels = thing.pixels
    half = thing.zoom / 2  # the first pixel's centre lies half a pixel inside
    place = np.array([[thing.zoom, 0, x + half], [0, thing.zoom, y + half], [0, 0, 1]])
    world = plane_matrix(pose) if thing.nearness is None else thing_matrix(pose, thing.nearness)
    matrix = view_matrix(pose, size) @ world @ place
    if thing.nearness is None:
        _over(frame, cv2.warpPerspective(pixels, matrix, size[::-1], borderMode=thing.border))
        return
    if thing.wobble:
        pixels = _swung(pixels, thing.wobble / thing.zoom, time)
    _over(frame, cv2.warpAffine(pixels, matrix[:2], size[::-1], borderMode=thing.border))


def _over(frame: np.ndarray, front: np.ndarray) -> None:
    """Lay a premultiplied picture over the frame, in place."""
    back = cv2.cvtColor(cv2.bitwise_not(cv2.extractChannel(front, 3)), cv2.COLOR_GRAY2RGBA)
    cv2.multiply(frame, back, dst=frame, scale=1 / 255)
    cv2.add(frame, front, dst=frame)


def exposure(rng: np.random.Generator, frame: np.ndarray) -> tuple[float, float]:
    """Levels of `frame` uint8 [h, w, 3] that a camera would make black and white, in 0..1."""
    grey = frame[::4, ::4].mean(-1) / 255
    low, high = np.percentile(grey, (2, 98))
    share = rng.uniform(0.5, 1.0)
    black, white = share * (low - rng.uniform(0.02, 0.15)), 1 + share * (high / rng.uniform(0.75, 1.0) - 1)
    return float(black), float(max(white, black + 0.35))


def render_scene(seed: int, frames: int, size: Size, pictures: Sequence[np.ndarray] = ()) -> np.ndarray:
    """A clip of a random world, RGB uint8 [frames, h, w, 3].

    `pictures` are RGB uint8 [h, w, 3]; some scenes are set in cuts of them. The first use of a layer paints it (up to
    0.4 s), later ones take it from a cache of at most about 0.8 GB.
    """
    rng = np.random.default_rng([1, seed])
    layers = _tinted(rng, draw_layers(rng, pictures))
    poses = draw_path(rng, frames, size)
    layers = _sized(rng, layers, poses[0].scale)
    clip = np.zeros((frames, *size, 4), np.uint8)
    layers = [_widened(thing) if thing.border == cv2.BORDER_REPLICATE else thing for thing in layers]
    for time, pose in enumerate(poses):
        for thing in layers:
            _paint(clip[time], thing, pose, time)
    return finish(rng, clip, exposure(rng, clip[0, ..., :3]))
