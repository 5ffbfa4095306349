"""Pseudo-videos: a camera that pans, zooms and turns over a still picture; and the look of a sensor."""

from functools import lru_cache

import cv2
import numpy as np

from ...plan.boxes import Size
from .camera import shake


@lru_cache(maxsize=1)
def _grain() -> np.ndarray:
    """Sensor noise around 128, uint8 [1024, 1024, 3], partly the same in all colours."""
    rng = np.random.default_rng(91)
    noise = 24 * rng.standard_normal((1024, 1024, 1), dtype=np.float32)
    noise = noise + 12 * rng.standard_normal((1024, 1024, 3), dtype=np.float32)
    return np.rint(128 + cv2.GaussianBlur(noise, (0, 0), 0.6)).clip(0, 255).astype(np.uint8)


def _grain_of(rng: np.random.Generator, size: Size) -> np.ndarray:
    grain = _grain()
    if max(size) > 1024:
        grain = np.tile(grain, (-(-size.h // 1024), -(-size.w // 1024), 1))
    y, x = int(rng.integers(grain.shape[0] - size.h + 1)), int(rng.integers(grain.shape[1] - size.w + 1))
    return grain[y : y + size.h, x : x + size.w]


def finish(rng: np.random.Generator, clip: np.ndarray, levels: tuple[float, float] = (0.0, 1.0)) -> np.ndarray:
    """A clip uint8 [F, h, w, 3 or 4] as RGB with small random changes of tone and, in half of the clips, noise.

    `levels` are the values, in 0..1, that become black and white.
    """
    gamma = np.exp(rng.normal(0, 0.12))
    gain = np.exp(rng.normal(0, 0.06) + rng.normal(0, 0.025, 3))
    ramp = ((np.arange(256)[:, None] / 255 - levels[0]) / (levels[1] - levels[0])).clip(0, 1)
    table = np.rint(255 * (gain * ramp**gamma).clip(0, 1)).astype(np.uint8)[None]
    noise = 0.0 if rng.random() < 0.5 else rng.uniform(0.02, 0.16)
    size = Size(*clip.shape[1:3])
    done = np.empty((*clip.shape[:3], 3), np.uint8)
    for frame, target in zip(clip, done, strict=True):
        cv2.LUT(cv2.cvtColor(frame, cv2.COLOR_RGBA2RGB) if frame.shape[2] == 4 else frame, table, dst=target)
        if noise:
            cv2.addWeighted(target, 1, np.ascontiguousarray(_grain_of(rng, size)), noise, -128 * noise, dst=target)
    return done


def _eased(frames: int) -> np.ndarray:
    """0 at the first and 1 at the last frame, slow at both ends, [frames]."""
    time = np.linspace(0, 1, frames) if frames > 1 else np.zeros(1)
    return time * time * (3 - 2 * time)


def _route(rng: np.random.Generator, frames: int, low: float, high: float, reach: float) -> np.ndarray:
    """From a random value in low..high to another one at most `reach` away, [frames]."""
    if low >= high:
        return np.full(frames, (low + high) / 2)
    start = rng.uniform(low, high)
    end = np.clip(start + rng.uniform(-reach, reach), low, high)
    return start + (end - start) * _eased(frames)


def render_pan(picture: np.ndarray, seed: int, frames: int, size: Size) -> np.ndarray:
    """A smooth camera path over `picture` RGB uint8 [H, W, 3] -> RGB uint8 [frames, h, w, 3].

    The view moves by at most 6 pixels a frame at 256 pixels. Pictures that are too small are enlarged to just fit.
    """
    rng = np.random.default_rng([2, seed])
    if rng.random() < 0.5:
        picture = picture[:, ::-1]
    room = min(picture.shape[0] / size.h, picture.shape[1] / size.w)
    widest, closest = 0.92 * room, min(0.92 * room, max(0.45 * room, 0.7))
    scale = np.exp(_route(rng, frames, np.log(closest), np.log(widest), 0.015 * frames))
    turn = _route(rng, frames, -0.05, 0.05, 0.004 * frames)
    picture, coarse = _fitting(np.ascontiguousarray(picture), float(scale.min()))
    tremor = 0.0 if rng.random() < 0.5 else rng.uniform(0.1, 0.8) * size.h / 256
    reach = 6 * frames * min(size) / 256 * rng.random() ** 1.5
    scale = scale / coarse
    middles = []
    for side, length in ((size.w, picture.shape[1]), (size.h, picture.shape[0])):
        margin = 0.54 * side * scale.max()
        middles.append(_route(rng, frames, margin, length - margin, reach * scale.max()) + shake(rng, frames, tremor))
    clip = np.empty((frames, *size, 3), np.uint8)
    for i, target in enumerate(clip):
        cos, sin = np.cos(turn[i]) * scale[i], np.sin(turn[i]) * scale[i]
        x = middles[0][i] - cos * size.w / 2 + sin * size.h / 2
        y = middles[1][i] - sin * size.w / 2 - cos * size.h / 2
        matrix = np.array([[cos, -sin, x], [sin, cos, y]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        cv2.warpAffine(picture, matrix, size[::-1], dst=target, flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    return finish(rng, clip)


def _fitting(picture: np.ndarray, scale: float) -> tuple[np.ndarray, float]:
    """The picture made smaller so that a view of `scale` picture pixels a pixel does not alias, and by how much."""
    if scale < 1.5:
        return picture, 1.0
    size = tuple(round(side / scale * 1.2) for side in picture.shape[1::-1])
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA), picture.shape[1] / size[0]
