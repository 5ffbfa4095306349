"""Painted scenes and panned stills: the same bytes every time, any size, real motion, natural spectra."""

import cv2
import numpy as np
import pytest

from canvas_core.plan.boxes import Size
from canvas_core.training.data.scenes.scenes import render_pan, render_scene

SEEDS = (3, 8, 11)
SIZE = Size(61, 87)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(threads)


@pytest.fixture(scope="module")
def picture():
    """A smooth picture [150, 211, 3] with colours of its own."""
    noise = np.random.default_rng(0).random((150, 211, 3), dtype=np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 4)
    return np.rint(255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)


def render(kind, picture, seed, frames, size):
    if kind == "pan":
        return render_pan(picture, seed, frames, size)
    return render_scene(seed, frames, size, [picture] if kind == "scene with pictures" else ())


@pytest.mark.parametrize("kind", ["scene", "scene with pictures", "pan"])
def test_same_arguments_give_the_same_bytes(kind, picture):
    first = [render(kind, picture, seed, 3, SIZE) for seed in SEEDS]
    again = [render(kind, picture, seed, 3, SIZE) for seed in reversed(SEEDS)][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], first[1])


@pytest.mark.parametrize("kind", ["scene", "scene with pictures", "pan"])
@pytest.mark.parametrize(("frames", "size"), [(1, Size(13, 17)), (2, Size(301, 97)), (5, Size(33, 340))])
def test_clips_have_the_asked_shape(kind, picture, frames, size):
    clip = render(kind, picture, 8, frames, size)
    assert clip.dtype == np.uint8
    assert clip.shape == (frames, *size, 3)
    assert clip.std() > 2


def test_pictures_and_cached_layers_are_left_alone(picture):
    before = picture.copy()
    render_scene(3, 2, SIZE, [picture])
    render_pan(picture, 4, 2, SIZE)
    assert np.array_equal(picture, before)


@pytest.mark.parametrize("kind", ["scene", "pan"])
def test_most_clips_move(kind, picture):
    clips = [render(kind, picture, seed, 6, SIZE).astype(float) for seed in SEEDS]
    assert sum(np.abs(clip[-1] - clip[0]).mean() > 1 for clip in clips) >= len(SEEDS) - 1


def test_pans_are_smooth(picture):
    """Neighbouring frames differ less than the ends do."""
    clip = render_pan(picture, 5, 12, SIZE).astype(float)
    steps = np.abs(np.diff(clip, axis=0)).mean((1, 2, 3))
    assert steps.max() < np.abs(clip[-1] - clip[0]).mean()


def spectrum_slope(image):
    """Exponent of the radial power spectrum of an image [h, w, 3]; natural photographs have about -2 to -3."""
    grey = image.mean(-1) - image.mean()
    window = np.outer(np.hanning(grey.shape[0]), np.hanning(grey.shape[1]))
    power = np.abs(np.fft.fft2(grey * window)) ** 2
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(grey.shape[0]), np.fft.fftfreq(grey.shape[1]), indexing="ij"))
    edges = np.geomspace(0.015, 0.35, 12)
    means = [power[(radius >= low) & (radius < high)].mean() for low, high in zip(edges[:-1], edges[1:], strict=True)]
    return np.polyfit(np.log(edges[:-1]), np.log(means), 1)[0]


def test_spectra_are_natural():
    slopes = [spectrum_slope(render_scene(seed, 1, Size(223, 241))[0].astype(float)) for seed in (3, 4, 8, 11, 12)]
    assert -3.2 < np.median(slopes) < -1.8
    assert max(slopes) < -1
