"""Painted layers that fill the width of a world: skies, walls, surfaces and grounds. All are Lab float32 [h, w, 3]."""

import numpy as np

from ....plan.boxes import Size
from .textures import (
    PALETTES,
    Field,
    blades,
    blobs,
    blur,
    boxes,
    discs,
    lab_image,
    paint_leaves,
    relief,
    scatter_leaves,
    smoothstep,
    spectral_noise,
)

WORLD = Size(640, 960)
"""Pixels of a world; every layer is placed in it."""

HORIZON = 270
"""Row of the horizon in every world."""


def pick(rng: np.random.Generator, *names: str) -> str:
    """One of the names."""
    return names[int(rng.integers(len(names)))]


def sky(rng: np.random.Generator) -> np.ndarray:
    """Gradient, clouds that flatten towards the horizon, and now and then fading ridges of hills."""
    top = np.array([rng.uniform(35, 75), rng.uniform(-6, 2), rng.uniform(-34, -4)])
    low = np.array([rng.uniform(72, 92), rng.uniform(-3, 8), rng.uniform(-12, 14)])
    height = np.linspace(0, 1, WORLD.h, dtype=np.float32)[:, None, None] * WORLD.h / HORIZON
    fade = height.clip(0, 1) ** rng.uniform(0.5, 1.6)
    lab = np.broadcast_to((1 - fade) * top + fade * low, (*WORLD, 3)).astype(np.float32)
    lab = lab + rng.normal(0, 4) * np.linspace(-1, 1, WORLD.w, dtype=np.float32)[None, :, None] * (1, 0, 0.3)
    if rng.random() < 0.75:
        lab = _cloudy(rng, lab)
    for ridge in range(int(rng.integers(0, 4))):
        lab = _ridge(rng, lab, low, ridge)
    return lab


def _cloudy(rng: np.random.Generator, lab: np.ndarray) -> np.ndarray:
    body = spectral_noise(rng, WORLD, rng.uniform(1.4, 1.9), rng.uniform(1.0, 2.0)) + rng.normal(0, 0.6)
    cover = smoothstep(body, rng.uniform(-0.6, 0.5), rng.uniform(0.8, 2.5))[..., None] * rng.uniform(0.4, 1)
    white = np.array([rng.uniform(72, 95), rng.uniform(-1, 4), rng.uniform(-6, 8)])
    shade = 5 * relief(blur(body, 3) * 12, (1.0, 0.5)) - 9 * smoothstep(body, 0.8, 2.6)
    cloud = lab_image(WORLD, white)
    cloud[..., 0] -= shade * rng.uniform(0.3, 1.3)
    return lab + (cloud - lab) * cover


def _ridge(rng: np.random.Generator, lab: np.ndarray, haze: np.ndarray, nearness: int) -> np.ndarray:
    line = spectral_noise(rng, Size(1, WORLD.w), rng.uniform(1.2, 1.7))[0] * rng.uniform(8, 40) / (1 + 0.5 * nearness)
    row = HORIZON - rng.uniform(15, 70) / (1 + nearness) + line
    inside = (np.arange(WORLD.h)[:, None] - row + 0.5).clip(0, 1)[..., None]
    hill = lab_image(WORLD, PALETTES[pick(rng, "foliage", "stone", "dry")].colours(rng, 1)[0])
    hill[..., 0] += rng.uniform(2, 7) * spectral_noise(rng, WORLD, 1.1, 1.5)
    clear = rng.uniform(0.1, 0.4) + 0.15 * nearness
    return lab + (haze + (hill - haze) * clear - lab) * inside


def facade(rng: np.random.Generator, size: Size) -> np.ndarray:
    """A house front: wall with a weathered texture and rows of windows."""
    lab = lab_image(size, PALETTES[pick(rng, "wall", "wall", "brick", "stone")].colours(rng, 1)[0])
    lab[..., 0] += rng.uniform(1, 4) * spectral_noise(rng, size, 1.0) + np.linspace(3, -6, size.h)[:, None]
    if rng.random() < 0.4:
        lab[..., 0] -= rng.uniform(3, 10) * _bricks(rng, size, int(rng.integers(5, 12)))
    step = Size(int(rng.integers(50, 110)), int(rng.integers(36, 100)))
    share = rng.uniform(0.35, 0.7, 2)
    trim, glass = PALETTES["wall"].colours(rng, 1)[0], PALETTES["water"].colours(rng, 6, 1.5) - (12, 0, 0)
    for y in range(int(rng.integers(step.h)), size.h - step.h // 2, step.h):
        for x in range(step.w // 4, size.w - step.w // 2, step.w):
            _window(rng, lab[y:, x:], Size(int(step.h * share[0]), int(step.w * share[1])), trim, glass)
    return lab


def _window(rng: np.random.Generator, lab: np.ndarray, size: Size, trim: np.ndarray, glass: np.ndarray) -> None:
    """Paint one window at the top left of `lab`, in place."""
    edge = 2 + size.w // 18
    lab[: size.h + 2 * edge, : size.w + 2 * edge] = trim
    lab[size.h + 2 * edge : size.h + 3 * edge, : size.w + 2 * edge] -= (14, 0, 0)
    pane = lab[edge : edge + size.h, edge : edge + size.w]
    pane[:] = glass[rng.integers(len(glass))] + np.linspace(8, -8, pane.shape[0])[:, None, None] * (1, 0, -0.3)
    pane[: edge + 2] -= (10, 0, 0)
    pane[:, pane.shape[1] // 2 - 1 : pane.shape[1] // 2 + 1] = trim - (4, 0, 0)
    pane[pane.shape[0] // 2 - 1 : pane.shape[0] // 2 + 1] = trim - (4, 0, 0)


def _bricks(rng: np.random.Generator, size: Size, course: int) -> Field:
    """1 in the joints of a brick wall, 0 inside; every brick has its own small offset."""
    y, x = np.mgrid[: size.h, : size.w]
    row = y // course
    length = int(course * rng.uniform(2, 3.5))
    x = x + (row % 2) * (length // 2)
    joint = ((y % course) < 1 + course // 8) | ((x % length) < 1 + course // 8)
    tone = rng.normal(0, 0.35, (int(row.max()) + 1, int(x.max()) // length + 1))[row, x // length]
    return blur((joint + tone).astype(np.float32), 0.6)


def wall(rng: np.random.Generator) -> np.ndarray:
    """A room's wall: uneven light, maybe boards or bricks, pictures, shelves and other things on it."""
    lab = lab_image(WORLD, PALETTES[pick(rng, "wall", "wall", "wall", "wood", "brick", "cloth")].colours(rng, 1)[0])
    lab[..., 0] += rng.uniform(0.5, 3) * spectral_noise(rng, WORLD, rng.uniform(0.9, 1.3), rng.uniform(0.7, 1.4))
    kind = rng.random()
    if kind < 0.2:
        lab[..., 0] -= rng.uniform(3, 12) * _bricks(rng, WORLD, int(rng.integers(8, 40)))
    elif kind < 0.4:
        board = int(rng.integers(24, 90))
        lab[..., 0] -= 14 * blur(np.float32(np.arange(WORLD.w) % board < 2)[None], 0.7)
        lab[..., 0] += rng.normal(0, 3, WORLD.w // board + 1)[np.arange(WORLD.w) // board]
    for _ in range(int(rng.integers(2, 14))):
        _hang(rng, lab)
    return lit(rng, lab, 14)


def _hang(rng: np.random.Generator, lab: np.ndarray) -> None:
    """Put a framed thing with a shadow on the wall, in place."""
    h, w = (int(side) for side in np.exp(rng.uniform(np.log(40), np.log(260), 2)))
    y, x = int(rng.integers(0, WORLD.h - h)), int(rng.integers(0, WORLD.w - w))
    drop = int(rng.integers(3, 14))
    lab[y + drop : y + h + drop, x + drop // 2 : x + w + drop, 0] -= rng.uniform(6, 16)
    frame = PALETTES[pick(rng, "wood", "cloth", "wall")].colours(rng, 1)[0]
    lab[y : y + h, x : x + w] = frame
    edge = int(rng.integers(3, 10))
    inner = lab[y + edge : y + h - edge, x + edge : x + w - edge]
    inner[:] = things(rng, Size(*inner.shape[:2])) if rng.random() < 0.7 else frame + rng.normal(0, 8, 3)


def things(rng: np.random.Generator, size: Size) -> np.ndarray:
    """Things in front of each other, from large to small."""
    shape = (blobs, boxes, discs)[int(rng.integers(3))]
    colours = np.concatenate(
        [PALETTES[pick(rng, "cloth", "wood", "wall", "stone", "fur")].colours(rng, 5) for _ in "12"]
    )
    largest = min(size) / rng.uniform(1.8, 5)
    leaves = scatter_leaves(rng, size, shape, (largest / rng.uniform(3, 12), largest), rng.uniform(2, 4))
    texture = spectral_noise(rng, size, rng.uniform(0.7, 1.2), rng.uniform(1, 2.5), rng.uniform(0, np.pi))
    return paint_leaves(rng, leaves, colours, texture, rng.uniform(1, 7), rng.uniform(5, 22))


def foliage(rng: np.random.Generator, size: Size, coarse: float = 1.0) -> np.ndarray:
    """Leaves with dark gaps and patches of light; `coarse` scales the leaves."""
    palette = PALETTES[pick(rng, "foliage", "foliage", "foliage", "dry")]
    leaves = scatter_leaves(rng, size, blades, (4 * coarse, 26 * coarse), 2.0)
    lab = paint_leaves(rng, leaves, palette.colours(rng, 6), spectral_noise(rng, size, 0.6), 4, rng.uniform(8, 18))
    lab[leaves.labels == 0] = (9, -2, 4)
    light = spectral_noise(rng, size, 1.5)
    lab[..., 0] += 5 * light - 8 * smoothstep(light, 0.2, -1.5)
    return lab


def pebbles(rng: np.random.Generator, size: Size) -> np.ndarray:
    """Stones or soil from above."""
    low = rng.uniform(2.5, 9)
    leaves = scatter_leaves(rng, size, blobs, (low, low * rng.uniform(2.5, 6)), 3.0)
    colours = PALETTES[pick(rng, "stone", "earth", "sand")].colours(rng, 6, 1.3)
    return paint_leaves(rng, leaves, colours, spectral_noise(rng, size, 0.8), 5, rng.uniform(14, 28))


def hide(rng: np.random.Generator, size: Size) -> np.ndarray:
    """Fur, bark, cloth or rock: folds under light with a fine grain."""
    palette = PALETTES[pick(rng, "fur", "fur", "stone", "wood", "cloth", "dry")]
    angle, stretch = rng.uniform(0, np.pi), rng.uniform(1, 3.5)
    folds, grain = spectral_noise(rng, size, 1.9), spectral_noise(rng, size, rng.uniform(0.5, 1.0), stretch, angle)
    base, other = palette.colours(rng, 2, 1.5)
    patch = smoothstep(spectral_noise(rng, size, 1.5), -0.2, rng.uniform(0.1, 1))[..., None]
    lab = (base + (other - base) * patch).astype(np.float32)
    lab[..., 0] += rng.uniform(1, 4) * grain + rng.uniform(4, 12) * relief(folds * 30, (0.8, 0.6)) + 4 * folds
    return lab


def surface(rng: np.random.Generator) -> np.ndarray:
    """Something near that fills the view."""
    kind = rng.random()
    if kind < 0.4:
        lab = things(rng, WORLD)
    elif kind < 0.65:
        lab = foliage(rng, WORLD, rng.uniform(0.8, 3))
    else:
        lab = pebbles(rng, WORLD) if kind < 0.8 else hide(rng, WORLD)
    return lit(rng, lab, 9)


def lit(rng: np.random.Generator, lab: np.ndarray, strength: float) -> np.ndarray:
    """Uneven light: a gradient and soft, large patches."""
    y, x = np.mgrid[-1 : 1 : lab.shape[0] * 1j, -1 : 1 : lab.shape[1] * 1j]
    patches = spectral_noise(rng, Size(*lab.shape[:2]), 2.2)
    lab[..., 0] += strength * (rng.normal(0, 0.6) * y + rng.normal(0, 0.6) * x + rng.uniform(0, 0.6) * patches)
    return lab
