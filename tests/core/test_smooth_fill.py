"""The smooth fill of hidden pixels and cells that x0 prediction starts from."""

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from canvas_core.pixels.fill import fill_hidden
from canvas_core.pixels.pull_push import fill_pixels
from canvas_core.systems.follow_your_canvas.block_latent import decode_blocks, encode_blocks
from canvas_core.systems.follow_your_canvas.smooth_fill import SmoothFill


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def hidden(frames, size, *known):
    """Mask [F, 1, *size] of ones with known rows and columns (frame, rows, columns) at zero."""
    mask = torch.ones(frames, 1, *size)
    for frame, rows, columns in known:
        mask[frame, :, rows, columns] = 0
    return mask


SIDE = (slice(None), slice(0, 40))
"""The left part of a picture."""


@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 99))
def test_known_pixels_stay_and_hidden_ones_do_not_count(h, w, seed):
    mask = (noise(2, 1, h, w, seed=seed) > 0).float()
    pixels = noise(2, 3, h, w, seed=seed + 1)
    filled = fill_pixels(pixels, mask)
    known = (mask == 0).expand_as(pixels)
    assert torch.equal(filled[known], pixels[known]) and filled.isfinite().all()
    elsewhere = torch.where(known, pixels, 100 * noise(2, 3, h, w, seed=seed + 2))
    assert torch.allclose(fill_pixels(elsewhere, mask), filled, atol=1e-5)


@given(st.integers(2, 70), st.integers(2, 70), st.integers(0, 99))
def test_a_plain_picture_is_continued(h, w, seed):
    mask = (noise(1, 1, h, w, seed=seed) > 0).float()
    mask[..., 0, 0] = 0
    assert torch.allclose(fill_pixels(0.7 * (1 - mask), mask), torch.tensor(0.7), atol=1e-4)


def test_nothing_known_gives_nothing():
    assert not fill_pixels(noise(3, 3, 20, 33), torch.ones(3, 1, 20, 33)).any()


@pytest.mark.parametrize("axis", [2, 3])
def test_the_border_is_carried_outward(axis):
    pixels, mask = torch.zeros(1, 1, 96, 96), torch.ones(1, 1, 96, 96)
    for start, value in ((0, 1.0), (64, 3.0)):
        pixels.narrow(axis, start, 32).fill_(value)
        mask.narrow(axis, start, 32).zero_()
    row = fill_pixels(pixels, mask)[0, 0].movedim(axis - 2, 0)[:, 48]
    assert (row.diff() > -1e-3).all()
    assert (row[32:44] < 1.7).all() and (row[52:64] > 2.3).all()
    assert row[32] < 1.05 and row[63] > 2.95


def test_stripes_run_on_past_the_border_and_fade():
    """A stripe of 16 pixels is kept next to the border; its contrast falls with the distance."""
    stripes = torch.sin(torch.arange(128) * torch.pi / 8)[:, None].expand(1, 1, 128, 128)
    filled = fill_pixels(stripes, hidden(1, (128, 128), (0, *SIDE)))[0, 0, 32:96]
    contrast = filled.std(0)
    assert contrast[40] > 0.9 * contrast[0] and contrast[-1] < 0.1 * contrast[0]
    assert (contrast[40:80].diff() < 0.02).all()


def test_it_errs_no_more_than_the_cone_on_smooth_noise():
    octaves = [interpolate(noise(2, 3, 2**k, 2**k, seed=k), (128, 128), mode="bicubic") for k in range(1, 7)]
    pictures = 0.5 + sum(octave * 0.08 / 1.6**k for k, octave in enumerate(octaves))
    mask = hidden(2, (128, 128), (slice(None), slice(None), slice(32, 96)))
    cone = fill_hidden(pictures.permute(0, 2, 3, 1), mask[:, 0]).permute(0, 3, 1, 2)
    smooth = fill_pixels(pictures, mask)
    errors = [((filled - pictures) * mask).square().sum() for filled in (smooth, cone)]
    assert errors[0] < 1.1 * errors[1]


@pytest.fixture
def fill():
    """A fill of four channels: the colour means of a block, and one pattern."""
    return tiny.with_blocks(SmoothFill(4))


def test_the_fill_of_cells_is_that_of_their_pixels(fill):
    mask = hidden(2, (7, 9), (0, slice(2, 5), slice(0, 4)), (1, slice(None), slice(3, 9)))
    latents = encode_blocks(fill.blocks, noise(2, 3, 56, 72))
    pixels = decode_blocks(fill.blocks, latents)
    expected = encode_blocks(fill.blocks, fill_pixels(pixels, interpolate(mask, scale_factor=8)))
    known = (mask == 0).expand_as(latents)
    filled = fill(latents, mask, 2)
    assert torch.allclose(filled, expected, atol=1e-4)
    assert torch.equal(filled[known], latents[known])
    assert torch.equal(fill(latents * (1 - mask), mask, 2), filled)


def test_a_plain_colour_is_carried_over_cells(fill):
    colour = torch.tensor([0.9, 0.2, 0.4])[None, :, None, None].expand(1, -1, 56, 72)
    latents, mask = encode_blocks(fill.blocks, colour), hidden(1, (7, 9), (0, slice(2, 5), slice(0, 4)))
    assert torch.allclose(fill(latents * (1 - mask), mask, 1), latents, atol=1e-4)


def test_a_clip_without_a_known_cell_stays_zero(fill):
    assert not fill(noise(3, 4, 5, 7), torch.ones(3, 1, 5, 7), 3).any()


def slow_borrowing(frames, present):
    """Frames [F, ...] that are not present as the mean of those that are, weighted by 1 / distance^2."""
    out = frames.clone()
    for i in range(len(frames)):
        if not present[i]:
            pairs = [(1 / (i - j) ** 2, frames[j]) for j in range(len(frames)) if present[j]]
            out[i] = sum(weight * frame for weight, frame in pairs) / sum(weight for weight, _ in pairs)
    return out


@pytest.mark.parametrize("absent", [[0], [1, 2], [0, 3, 4], [0, 1, 2, 3]])
def test_frames_with_nothing_known_take_those_nearby(fill, absent):
    latents, mask = noise(5, 4, 13, 9), hidden(5, (13, 9), (slice(None), slice(0, 7), slice(None)))
    whole = fill(latents, mask, 5)
    mask[absent] = 1
    expected = slow_borrowing(whole, [i not in absent for i in range(5)])
    assert torch.allclose(fill(latents * (1 - mask), mask, 5), expected, atol=1e-4)


def test_clips_of_a_batch_do_not_mix(fill):
    latents, mask = noise(6, 4, 7, 5), hidden(6, (7, 5), (1, slice(0, 3), slice(None)), (5, slice(2, 7), slice(0, 2)))
    together = fill(latents, mask, 3)
    alone = [fill(latents[i : i + 3], mask[i : i + 3], 3) for i in (0, 3)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_filled_in_single(fill, dtype):
    latents, mask = noise(2, 4, 7, 5).to(dtype), hidden(2, (7, 5), (slice(None), slice(0, 3), slice(None)))
    filled = fill(latents, mask.to(dtype), 2)
    assert filled.dtype == torch.float32
    assert torch.equal(filled, fill(latents.float(), mask, 2))
