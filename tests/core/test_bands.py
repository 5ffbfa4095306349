"""Energy ratios of clips whose spectra are known."""

import math

import cv2
import numpy as np
import pytest
import torch

from canvas_core.errors import GeometryError
from canvas_core.evaluation.bands import TO_YCBCR, band_energies, band_ratios, laplacian
from canvas_core.pixels.placing import generation_mask
from canvas_core.plan.boxes import Box, Size

SIZE = Size(75, 91)
MASK = generation_mask(SIZE, Box(9, 21, 52, 40))

# White noise through I - UD, with D and U the 5-tap binomial halving and doubling, on one axis: the mean diagonal of UD
# is (38/128 + 1/4) / 2, that of UD(UD)^T is (3334/128**2 + 196/32**2) / 2, and two axes give 1 - 2 a^2 + b^2.
FINEST_OF_WHITE = 1 - 2 * (35 / 128) ** 2 + (3235 / 16384) ** 2


def noise(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def texture(frames=3, size=SIZE):
    """Noise of all scales and colours, [frames, H, W, 3]."""
    total = torch.zeros(frames, *size, 3)
    for step in range(5):
        coarse = noise((frames, -(-size.h // 2**step), -(-size.w // 2**step), 3), step).numpy()
        total += torch.from_numpy(np.stack([cv2.resize(one, (size.w, size.h)) for one in coarse])) * 0.02 * 1.5**step
    return total + 0.5


def blurred(frames, sigma=2.0):
    return torch.from_numpy(np.stack([cv2.GaussianBlur(one, (0, 0), sigma) for one in frames.numpy()]))


def flat(ratios):
    return [*ratios.luma, ratios.chroma, ratios.chroma_fine]


@pytest.mark.parametrize("size", [Size(75, 91), Size(64, 32), Size(17, 13)])
def test_equal_clips_have_ratio_one(size):
    clip = texture(2, size)
    assert flat(band_ratios(clip, clip, torch.ones(size))) == pytest.approx([1.0] * 6)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_energy_is_contrast_squared(factor):
    clip = texture()
    assert flat(band_ratios(clip * factor + 0.1, clip, MASK)) == pytest.approx([factor**2] * 6, rel=1e-3)


@pytest.mark.parametrize("size", [(64, 96, 3), (37, 53, 3), (17, 13, 3)])
def test_the_bands_and_the_layout_make_the_picture(size):
    planes = noise(size).numpy()
    layout = planes
    for _ in range(4):
        layout = cv2.pyrDown(layout)
    bands = laplacian(planes)
    for band in reversed(bands):
        layout = band + cv2.pyrUp(layout, dstsize=band.shape[1::-1])
    assert [band.shape[0] for band in bands] == [math.ceil(size[0] / 2**level) for level in range(4)]
    np.testing.assert_allclose(layout, planes, atol=1e-5)


def test_white_noise_by_hand():
    spread = 0.1
    grey = (noise((8, *SIZE, 1)) * spread).expand(-1, -1, -1, 3)
    energies = band_energies(grey, MASK)
    assert energies[0, 0] == pytest.approx(FINEST_OF_WHITE * spread**2, rel=0.02)
    assert energies[:, 1:].max() < 1e-12


def test_coloured_noise_by_hand():
    spread = 0.1
    energies = band_energies(noise((8, *SIZE, 3)) * spread, MASK)
    gains = np.square(TO_YCBCR.astype(np.float64)).sum(1)
    np.testing.assert_allclose(energies[0], FINEST_OF_WHITE * spread**2 * gains, rtol=0.03)


def test_blur_empties_the_finest_bands_first():
    clip = texture()
    luma = band_ratios(blurred(clip), clip, MASK).luma
    assert luma[0] < 0.05 and luma[0] < luma[1] < luma[2] < luma[3] < 1


def test_coloured_speckle_shows_in_the_finest_chroma():
    clip = texture()
    speckle = noise(clip.shape, 7) * 0.1
    speckle -= speckle @ torch.tensor([0.299, 0.587, 0.114])[:, None]  # no luma
    found = band_ratios(clip + speckle, clip, MASK)
    assert found.chroma_fine > found.chroma > 2
    assert found.luma == pytest.approx([1.0] * 4, abs=0.02)


def test_only_the_hidden_area_counts():
    clip, mask = texture(), torch.zeros(SIZE)
    mask[:, :40] = 1
    changed = clip.clone()
    changed[:, :, 80:] += noise(changed[:, :, 80:].shape)
    assert flat(band_ratios(changed, clip, mask))[:4] == pytest.approx([1.0] * 4)


def test_flat_areas():
    still = torch.full((2, *SIZE, 3), 0.4)
    assert flat(band_ratios(still, still + 0.1, MASK)) == pytest.approx([1.0] * 6, rel=1e-3)
    assert max(flat(band_ratios(still, texture(2), MASK))) < 1e-3


def test_an_area_too_narrow_for_a_band():
    mask = torch.zeros(SIZE)
    mask[:, 81:83] = 1  # no multiple of 4
    luma = band_ratios(texture(), texture(), mask).luma
    assert luma[:2] == pytest.approx((1, 1)) and all(math.isnan(value) for value in luma[2:])


REFUSED = {
    "frames": (lambda: band_ratios(texture(2), texture(3), MASK), r"\[2, 75, 91, 3\].*\[3, 75, 91, 3\]"),
    "mask": (lambda: band_ratios(texture(2), texture(2), MASK[1:]), r"mask \[74, 91\]"),
    "nothing": (lambda: band_ratios(texture(2), texture(2), MASK * 0), "91x75 hides nothing"),
    "no frame": (lambda: band_ratios(texture()[:0], texture()[:0], MASK), r"\[0, 75, 91, 3\]"),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED)
def test_refusals(call, message):
    with pytest.raises(GeometryError, match=message):
        call()
