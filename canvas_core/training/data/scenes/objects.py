"""Painted things with an outline: trees, houses, posts, bushes, furniture and walking creatures.

Each is Lab float32 [h, w, 3] and alpha float32 [h, w]; its lowest row stands on the ground.
"""

import cv2
import numpy as np

from ....plan.boxes import Size
from .backdrops import WORLD, facade, foliage, hide, pick, things
from .textures import PALETTES, Field, Painter, blobs, blur, lab_image, relief, smoothstep, spectral_noise

Painted = tuple[np.ndarray, Field]


def _rounded(rng: np.random.Generator, lab: np.ndarray, alpha: Field, depth: float) -> np.ndarray:
    """Light on the outline as if it were a body `depth` pixels thick."""
    inside = cv2.distanceTransform((alpha > 0.5).astype(np.uint8), cv2.DIST_L2, 3)
    height = blur(np.sqrt(inside.clip(0, depth) * depth), 0.15 * depth + 0.5)
    light = (rng.uniform(0.4, 1.2), rng.normal(0, 0.9))
    lab[..., 0] += rng.uniform(6, 16) * relief(height * 2, light) - 4
    return lab


def tree(rng: np.random.Generator) -> Painted:
    """A trunk with branches and a crown of leaf clusters, or bare."""
    size = Size(int(rng.integers(240, 480)), int(rng.integers(260, 460)))
    wood = np.zeros(tuple(size), np.uint8)
    tips = _branches(rng, wood, (size.w / 2, float(size.h)), rng.normal(0, 0.08), size.h * rng.uniform(0.17, 0.26))
    alpha = wood.astype(np.float32) / 255
    lab = lab_image(size, PALETTES[pick(rng, "wood", "stone", "earth")].colours(rng, 1)[0] - (8, 0, 0))
    lab[..., 0] += 4 * spectral_noise(rng, size, 0.7, 3.0, np.pi / 2)
    lab = _rounded(rng, lab, alpha, 6)
    if rng.random() < 0.8:
        lab, alpha = _crowned(rng, lab, alpha, tips)
    return lab, alpha


def _branches(
    rng: np.random.Generator, wood: np.ndarray, foot: tuple[float, float], lean: float, length: float
) -> np.ndarray:
    """Draw a branching trunk into `wood` uint8 [h, w]; returns the tips (x, y) [n, 2]."""
    todo, tips = [(foot, lean, length, length * rng.uniform(0.08, 0.2))], []
    while todo:
        (x, y), angle, reach, width = todo.pop()
        end = (x + reach * np.sin(angle), y - reach * np.cos(angle))
        points = [[round(16 * c) for c in point] for point in ((x, y), end)]
        cv2.line(wood, points[0], points[1], 255, max(1, round(width)), cv2.LINE_AA, 4)
        tips.append(end)
        if reach < 14 or len(tips) > 400:
            continue
        for side in rng.choice([-1, 1]) * np.array([-1, 1, 0.2])[: int(rng.integers(2, 4))]:
            turn = angle + side * rng.uniform(0.15, 0.8)
            todo.insert(0, (end, turn, reach * rng.uniform(0.6, 0.85), width * rng.uniform(0.5, 0.75)))
    return np.array(tips)


def _crowned(rng: np.random.Generator, lab: np.ndarray, alpha: Field, tips: np.ndarray) -> Painted:
    size = Size(*alpha.shape)
    mass = np.zeros(tuple(size), np.float32)
    radius = rng.uniform(10, 32)
    reach = rng.uniform(0.5, 1.3, len(tips)) * radius
    for (x, y), r in zip(tips[len(tips) // 4 :], reach, strict=False):
        inside = (np.clip(x, r + 16, size.w - r - 16), np.clip(y, r + 16, 0.85 * size.h - r))
        cv2.circle(mass, (int(inside[0]), int(inside[1])), int(r), 1.0, -1)
    mass = blur(mass, 5)
    ragged = mass + 0.9 * mass * (1 - mass) * spectral_noise(rng, size, 0.8)
    crown = smoothstep(ragged, 0.45, rng.uniform(0.5, 0.65))
    leaves = _rounded(rng, foliage(rng, size, rng.uniform(0.5, 1.1)), mass, 60)
    leaves[..., 0] += np.linspace(6, -8, size.h)[:, None]
    crown3 = crown[..., None]
    return lab + (leaves - lab) * crown3, alpha + (1 - alpha) * crown


def bush(rng: np.random.Generator) -> Painted:
    """A wide row of bushes or a far wood."""
    size = Size(int(rng.integers(70, 240)), int(rng.integers(200, WORLD.w)))
    line = spectral_noise(rng, Size(1, size.w), rng.uniform(0.9, 1.5))[0]
    side = smoothstep(np.minimum(np.arange(size.w), np.arange(size.w)[::-1]), 0, 0.3 * size.h)
    top = size.h * (1 - side * (0.65 + 0.16 * line).clip(0.1, 1))
    height = np.arange(size.h)[:, None] - top + 5 * spectral_noise(rng, size, 0.7)
    alpha = smoothstep(height, -1, 1.5)
    lab = _rounded(rng, foliage(rng, size, rng.uniform(0.45, 1.2)), alpha, 50)
    lab[..., 0] -= 12 * np.linspace(0, 1, size.h)[:, None] ** 2
    return lab, alpha


def house(rng: np.random.Generator) -> Painted:
    """A house front with a roof, seen at a slant."""
    size = Size(int(rng.integers(160, 400)), int(rng.integers(160, 520)))
    lab, alpha = facade(rng, size), np.ones(tuple(size), np.float32)
    if rng.random() < 0.6:
        roof = int(rng.uniform(0.12, 0.3) * size.h)
        tiles = lab_image(Size(roof, size.w), PALETTES[pick(rng, "brick", "stone", "wood")].colours(rng, 1)[0])
        tiles[..., 0] += 3 * spectral_noise(rng, Size(roof, size.w), 0.8, 2) - 5 * (np.arange(roof) % 6 < 2)[:, None]
        lab[:roof] = tiles
        lab[roof : roof + 4, :, 0] -= 20
        slant = (np.arange(roof)[::-1] * rng.uniform(0, 0.9))[:, None]
        alpha[:roof] = (np.minimum(np.arange(size.w), np.arange(size.w)[::-1])[None] - slant).clip(0, 1)
    return _slanted(rng, lab, alpha)


def _slanted(rng: np.random.Generator, lab: np.ndarray, alpha: Field) -> Painted:
    h, w = alpha.shape
    near, far = rng.permutation([0.0, rng.uniform(0, 0.3) * h])
    corners = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32)
    seen = np.array([[0, near], [w, far], [w, h], [0, h]], np.float32)
    matrix = cv2.getPerspectiveTransform(corners, seen)
    lab[..., 0] += rng.normal(0, 6)
    turned = cv2.warpPerspective(lab, matrix, (w, h), borderMode=cv2.BORDER_REPLICATE)
    return turned, cv2.warpPerspective(alpha, matrix, (w, h))


def posts(rng: np.random.Generator) -> Painted:
    """Posts, lamp poles or a fence."""
    size = Size(int(rng.integers(90, 420)), int(rng.integers(60, 700)))
    alpha = np.zeros(tuple(size), np.float32)
    width, gap = int(rng.integers(3, 22)), int(rng.integers(45, 260))
    for x in range(width, size.w - width, gap):
        cv2.rectangle(alpha, (x, int(rng.integers(8))), (x + width, size.h), 1.0, -1)
    if rng.random() < 0.6:
        for y in rng.uniform(0.08, 0.9, int(rng.integers(1, 4))):
            cv2.rectangle(alpha, (0, int(y * size.h)), (size.w, int(y * size.h + rng.uniform(0.2, 1) * width)), 1.0, -1)
    lab = lab_image(size, PALETTES[pick(rng, "wood", "stone", "wall")].colours(rng, 1)[0])
    lab[..., 0] += 4 * spectral_noise(rng, size, 0.8, 2.5, np.pi / 2)
    return _rounded(rng, lab, alpha, width / 2), blur(alpha, 0.5)


def furniture(rng: np.random.Generator) -> Painted:
    """A shelf with things, a cupboard or a table."""
    size = Size(int(rng.integers(110, 400)), int(rng.integers(120, 460)))
    base = PALETTES[pick(rng, "wood", "wood", "wall", "cloth")].colours(rng, 1)[0]
    lab, alpha = lab_image(size, base), np.ones(tuple(size), np.float32)
    lab[..., 0] += 3 * spectral_noise(rng, size, 0.9, 2.5) + np.linspace(4, -8, size.h)[:, None]
    rows, columns, edge = int(rng.integers(1, 5)), int(rng.integers(1, 5)), int(rng.integers(4, 12))
    filled = rng.random() < 0.6
    for row in range(rows):
        for column in range(columns):
            y, x = row * size.h // rows + edge, column * size.w // columns + edge
            cell = lab[y : (row + 1) * size.h // rows - edge // 2, x : (column + 1) * size.w // columns - edge // 2]
            _fill_cell(rng, cell, base, filled)
    if not filled and rng.random() < 0.6:
        alpha[size.h // 4 :, size.w // 10 : -size.w // 10] = 0
    return lab, blur(alpha, 0.5)


def _fill_cell(rng: np.random.Generator, cell: np.ndarray, base: np.ndarray, filled: bool) -> None:
    """Books and things in a shelf, or a door with a shaded edge; in place."""
    if min(cell.shape[:2]) < 12:
        return
    if filled:
        cell[:] = things(rng, Size(*cell.shape[:2]))
        cell[: cell.shape[0] // 4, :, 0] -= 15
    else:
        cell[:] = base + rng.normal(0, (3, 0.5, 0.5)) + np.linspace(3, -3, cell.shape[0])[:, None, None] * (1, 0, 0)
        cell[:2, :, 0] -= 12
        cell[:, -2:, 0] += 6


def creature(rng: np.random.Generator) -> Painted:
    """An animal, a person or a car-like body: joined blobs with fur or cloth and rounded light."""
    side = int(rng.integers(80, 240))
    tall = rng.random() < 0.5
    size = Size(side, int(side * rng.uniform(0.35, 0.6))) if tall else Size(int(side * rng.uniform(0.5, 0.8)), side)
    parts = _body(rng, tall)
    alpha, lab = np.zeros(tuple(size), np.float32), lab_image(size, np.zeros(3))
    for middle, radius, part in parts:
        mask = np.zeros(tuple(size), np.uint8)
        outline = (np.asarray(middle) + blobs(rng, 1)[0] * radius) * (size.w, size.h)
        cv2.fillPoly(mask, [np.rint(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        cover = mask.astype(np.float32)[..., None] / 255
        lab += (_rounded(rng, part(rng, size), cover[..., 0], 0.15 * min(size)) - lab) * cover
        alpha = np.maximum(alpha, cover[..., 0])
    return lab, blur(alpha, 0.6)


Part = tuple[tuple[float, float], tuple[float, float], Painter]


def _body(rng: np.random.Generator, tall: bool) -> list[Part]:
    """Parts as (middle, radius, painter), in shares of the size, back to front."""
    coat, trousers, skin = _fixed(rng, hide), _fixed(rng, hide), _fixed(rng, _skin)
    if tall:
        legs: list[Part] = [((0.5 + s * 0.13, 0.78), (0.1, 0.21), trousers) for s in (-1, 1)]
        arms = [((0.5 + s * 0.3, 0.42), (0.09, 0.2), coat) for s in (-1, 1)]
        return [*legs, *arms, ((0.5, 0.4), (0.27, 0.22), coat), ((0.5, 0.11), (0.17, 0.1), skin)]
    legs = [((x, 0.8), (0.05, 0.2), coat) for x in rng.uniform(0.2, 0.8, 4)]
    head = 0.12 if rng.random() < 0.5 else 0.88
    return [*legs, ((0.5, 0.5), (0.36, 0.26), coat), ((head, 0.3), (0.12, 0.2), coat)]


def _skin(rng: np.random.Generator, size: Size) -> np.ndarray:
    return lab_image(size, PALETTES["fur"].colours(rng, 1)[0])


def _fixed(rng: np.random.Generator, painter: Painter) -> Painter:
    """The painter with one seed, so that several parts wear the same."""
    seed = int(rng.integers(1 << 31))
    return lambda _, size: painter(np.random.default_rng(seed), size)


def lump(rng: np.random.Generator) -> Painted:
    """A stone, a cushion, a ball: one rounded blob."""
    size = Size(int(rng.integers(40, 200)), int(rng.integers(40, 240)))
    mask = np.zeros(tuple(size), np.uint8)
    outline = (0.5 + 0.42 * blobs(rng, 1)[0]) * (size.w, size.h)
    cv2.fillPoly(mask, [np.rint(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    alpha = mask.astype(np.float32) / 255
    paint = hide(rng, size) if rng.random() < 0.85 else things(rng, size)
    return _rounded(rng, paint, alpha, 0.3 * min(size)), alpha
