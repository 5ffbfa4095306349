"""Camera paths over a world, as 3 x 3 matrices. Units are world pixels unless a name says otherwise."""

from typing import NamedTuple

import numpy as np

from ...plan.boxes import Size
from .scenes.backdrops import HORIZON, WORLD

DEPTH = WORLD.h - HORIZON
"""Rows below the horizon at which the plane moves as much as the camera (nearness 1)."""


class Pose(NamedTuple):
    """Where the camera looks and stands in one frame."""

    x: float
    """Middle of the view when nothing is displaced"""
    y: float
    scale: float
    """World pixels a pixel of the output"""
    roll: float
    """Radians"""
    aside: float
    """Displacement of things of nearness 1"""
    up: float
    ahead: float
    """Share of the way to the things of nearness 1"""


def smooth_path(rng: np.random.Generator, frames: int, speed: float) -> np.ndarray:
    """A path [frames] that starts at 0 and moves by about `speed` a frame, slowing down and speeding up."""
    time = np.arange(frames)
    wave = 1 + rng.uniform(0, 0.8) * np.sin(2 * np.pi * (time / rng.uniform(12, 60) + rng.random()))
    return np.concatenate([[0.0], np.cumsum(speed * wave)[:-1]])


def shake(rng: np.random.Generator, frames: int, amount: float) -> np.ndarray:
    """Low-passed noise [frames] with a deviation of about `amount`."""
    noise = rng.normal(0, amount, frames + 4)
    return np.convolve(noise, [0.2, 0.5, 0.7, 0.5, 0.2], "valid")


def _bounded(path: np.ndarray, room: float) -> np.ndarray:
    """The path, made smaller where it is longer than `room`."""
    span = np.ptp(path)
    return path * min(1.0, room / span) if span > 0 else path


def draw_path(rng: np.random.Generator, frames: int, size: Size) -> list[Pose]:
    """A random smooth camera path that keeps the view mostly inside the world."""
    widest = min(0.95 * WORLD.h, 0.95 * WORLD.w * size.h / size.w)
    height = np.exp(rng.uniform(np.log(0.5), np.log(0.98))) * widest
    base = height / size.h
    pixel = height / 256
    still = rng.random() < 0.2
    speed = 0.0 if still else pixel * 6 * rng.random() ** 1.5
    angle, turning = rng.normal(0, 0.5) + np.pi * rng.integers(2), rng.random() if rng.random() < 0.5 else 0.0
    tremor = 0.0 if rng.random() < 0.4 else pixel * rng.uniform(0.1, 0.9)
    zoom = _bounded(smooth_path(rng, frames, 0.0 if still or rng.random() < 0.6 else rng.normal(0, 0.008)), 0.45)
    x = _bounded(smooth_path(rng, frames, turning * speed * np.cos(angle)), 0.35 * WORLD.w)
    y = _bounded(smooth_path(rng, frames, turning * speed * np.sin(angle)), 0.25 * WORLD.h)
    aside = _bounded(smooth_path(rng, frames, (1 - turning) * 1.5 * speed * np.cos(angle)), 0.4 * WORLD.w)
    up = _bounded(smooth_path(rng, frames, (1 - turning) * 0.4 * speed * np.sin(angle)), 0.12 * DEPTH)
    ahead = _bounded(smooth_path(rng, frames, 0.0 if still or rng.random() < 0.6 else rng.uniform(-0.02, 0.02)), 0.35)
    roll = smooth_path(rng, frames, 0.0 if still else rng.normal(0, 0.003)) + rng.normal(0, 0.03)
    roll = roll + shake(rng, frames, 0.002 * tremor / pixel)
    scale = base * np.exp(zoom - zoom.max())
    start_y, start_x = (
        _start(rng, path, 0.5 * side * base, edge) for path, side, edge in ((y, size.h, WORLD.h), (x, size.w, WORLD.w))
    )
    x, y = x + start_x + shake(rng, frames, tremor), y + start_y + shake(rng, frames, tremor)
    columns = (x, y, scale, roll, aside - aside.mean(), up - up.mean(), ahead - ahead.max())
    return [Pose(*(float(value) for value in row)) for row in np.stack(columns, 1)]


def _start(rng: np.random.Generator, path: np.ndarray, half: float, edge: float) -> float:
    low, high = half - path.min(), edge - half - path.max()
    return float(rng.uniform(low, high) if low < high else (low + high) / 2)


def view_matrix(pose: Pose, size: Size) -> np.ndarray:
    """Displaced world to output pixels, [3, 3]."""
    cos, sin = np.cos(pose.roll) / pose.scale, np.sin(pose.roll) / pose.scale
    turn = np.array([[cos, -sin], [sin, cos]])
    shift = np.array([size.w / 2, size.h / 2]) - turn @ (pose.x, pose.y)
    return np.vstack([np.column_stack([turn, shift]), [0, 0, 1]])


def thing_matrix(pose: Pose, nearness: float) -> np.ndarray:
    """World to displaced world for an upright thing, [3, 3]: parallax grows with nearness."""
    grow = 1 / (1 - pose.ahead * nearness)
    x, y = WORLD.w / 2, float(HORIZON)
    dx, dy = pose.aside * nearness, pose.up * nearness
    return np.array([[grow, 0, (1 - grow) * x + grow * dx], [0, grow, (1 - grow) * y + grow * dy], [0, 0, 1]])


def plane_matrix(pose: Pose) -> np.ndarray:
    """World to displaced world for the ground plane, [3, 3]: a shear and a perspective term."""
    x, y = WORLD.w / 2, float(HORIZON)
    move = np.array([[1, pose.aside / DEPTH, 0], [0, 1 + pose.up / DEPTH, 0], [0, -pose.ahead / DEPTH, 1]])
    there = np.array([[1, 0, x], [0, 1, y], [0, 0, 1]])
    return there @ move @ np.linalg.inv(there)
