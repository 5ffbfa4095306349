"""The smooth fill of hidden cells, and the guess that x0 prediction starts from."""

from dataclasses import replace

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st

from canvas_core.models.follow_your_canvas import FollowYourCanvasUNet
from canvas_core.models.preconditioning import CleanGuess, fill_cells
from canvas_core.schedule import rates

CARRY, SPREAD = (1.0, 0.9, 0.4, 0.0), (1.5, 0.3, 0.8, 0.05)
X0 = replace(tiny.UNET, prediction="x0", carry=CARRY, spread=SPREAD)
ALL = (1.0,) * 4


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def hidden(frames, size, *known):
    """Mask [F, 1, *size] of ones with known rows and columns (frame, rows, columns) at zero."""
    mask = torch.ones(frames, 1, *size)
    for frame, rows, columns in known:
        mask[frame, :, rows, columns] = 0
    return mask


SIDE = (slice(None), slice(0, 8))
"""The left part of 13 x 17 cells."""


@given(st.integers(1, 19), st.integers(1, 19), st.integers(1, 4), st.integers(0, 99))
def test_known_cells_stay_and_hidden_ones_do_not_count(h, w, frames, seed):
    mask = (noise(frames, 1, h, w, seed=seed) > 0).float()
    latents = noise(frames, 4, h, w, seed=seed + 1)
    filled = fill_cells(latents, mask, frames, CARRY)
    known = (mask == 0).expand_as(latents)
    assert torch.equal(filled[known], latents[known]) and filled.isfinite().all()
    elsewhere = torch.where(known, latents, 100 * noise(frames, 4, h, w, seed=seed + 2))
    assert torch.allclose(fill_cells(elsewhere, mask, frames, CARRY), filled, atol=1e-5)


def test_a_constant_picture_is_continued_and_never_overshot():
    mask = hidden(1, (13, 17), (0, *SIDE))
    filled = fill_cells(torch.full((1, 4, 13, 17), 0.7) * (1 - mask), mask, 1, ALL)
    assert torch.allclose(filled[..., 2:-2, :11], torch.tensor(0.7), atol=1e-5)
    assert (filled > 0).all() and (filled < 0.7 + 1e-5).all()
    assert (filled[0, 0, 6].diff() < 1e-6).all()


def test_holes_of_a_constant_picture_are_constant():
    mask = torch.zeros(1, 1, 29, 31)
    mask[..., 5:9, 20:22] = mask[..., 18:21, 3:9] = 1
    assert torch.allclose(fill_cells(2 * (1 - mask), mask, 1, (1.0,)), torch.full_like(mask, 2), atol=1e-5)


def test_the_channel_decides_how_much_is_carried():
    latents, mask = noise(1, 1, 13, 17).expand(1, 4, -1, -1), hidden(1, (13, 17), (0, *SIDE))
    whole, part = (fill_cells(latents, mask, 1, carry) for carry in (ALL, CARRY))
    scaled = whole * torch.tensor(CARRY)[:, None, None]
    assert torch.allclose(part, torch.where(mask > 0, scaled, latents), atol=1e-6)


@pytest.mark.parametrize("axis", [2, 3])
def test_the_border_is_carried_outward(axis):
    latents, mask = torch.zeros(1, 1, 21, 21), torch.ones(1, 1, 21, 21)
    for start, value in ((0, 1.0), (16, 3.0)):
        latents.narrow(axis, start, 5).fill_(value)
        mask.narrow(axis, start, 5).zero_()
    row = fill_cells(latents, mask, 1, (1.0,))[0, 0].movedim(axis - 2, 0)[:, 10]
    assert (row.diff() > -1e-5).all()
    assert (row[5:10] < 2).all() and (row[11:16] > 2).all()
    assert row[5] < 1.3 and row[15] > 2.7


def test_nothing_known_gives_nothing():
    assert not fill_cells(noise(3, 4, 5, 7), torch.ones(3, 1, 5, 7), 3, ALL).any()


def slow_borrowing(frames, present):
    """Frames [F, ...] that are not present as the mean of those that are, weighted by 1 / distance^2."""
    out = frames.clone()
    for i in range(len(frames)):
        if not present[i]:
            pairs = [(1 / (i - j) ** 2, frames[j]) for j in range(len(frames)) if present[j]]
            out[i] = sum(weight * frame for weight, frame in pairs) / sum(weight for weight, _ in pairs)
    return out


@pytest.mark.parametrize("absent", [[0], [1, 2], [0, 3, 4], [0, 1, 2, 3]])
def test_frames_with_nothing_known_take_those_nearby(absent):
    plain = noise(5, 4, 1, 1).expand(-1, -1, 13, 9)
    mask = hidden(5, (13, 9), (slice(None), slice(0, 7), slice(None)), (slice(None), slice(8, 13), slice(None)))
    mask[absent] = 1
    expected = slow_borrowing(plain, [i not in absent for i in range(5)])
    assert torch.allclose(fill_cells(plain * (1 - mask), mask, 5, ALL), expected, atol=1e-5)


def test_clips_of_a_batch_do_not_mix():
    latents, mask = noise(6, 4, 7, 5), hidden(6, (7, 5), (1, slice(0, 3), slice(None)), (5, slice(2, 7), slice(0, 2)))
    together = fill_cells(latents, mask, 3, CARRY)
    alone = [fill_cells(latents[i : i + 3], mask[i : i + 3], 3, CARRY) for i in (0, 3)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-6)


def guess(timestep, seed=0, frames=2):
    """A guess for two clips of `frames` with about half the cells known: (guess, noisy, fill, mask)."""
    noisy, fill = (noise(2 * frames, 4, 5, 3, seed=seed + i) for i in range(2))
    mask = (noise(2 * frames, 1, 5, 3, seed=seed + 2) > 0).float()
    return CleanGuess(noisy, fill, mask, torch.tensor(timestep), SPREAD), noisy, fill, mask


@pytest.mark.parametrize("timestep", [(0, 999), (500, 20), (3, 998)])
def test_known_cells_are_the_fill_whatever_the_network_says(timestep):
    made, _, fill, mask = guess(timestep)
    known = (mask == 0).expand_as(fill)
    assert torch.equal(made.finish(1000 * noise(*fill.shape, seed=9))[known], fill[known])


def test_at_the_last_step_the_guess_is_the_fill():
    made, _, fill, mask = guess((999, 999))
    assert torch.equal(made.finish(torch.zeros_like(fill)), fill)
    assert torch.allclose(made.scale, mask * torch.tensor(SPREAD)[:, None, None])


def posterior(noisy, mean, spread, signal, amount):
    """Mean and deviation of x, given x ~ N(mean, spread) and noisy = signal x + amount e, by adding up over a grid."""
    x = mean + spread * torch.linspace(-9, 9, 20_001, dtype=torch.float64)
    weight = (-((x - mean) ** 2) / (2 * spread**2) - (noisy - signal * x) ** 2 / (2 * amount**2)).double()
    weight = (weight - weight.max()).exp()
    middle = (x * weight).sum() / weight.sum()
    return middle, ((x - middle).square() * weight).sum().div(weight.sum()).sqrt()


@pytest.mark.parametrize("timestep", [100, 400, 950])
def test_the_guess_is_the_posterior_of_a_gaussian(timestep):
    made, noisy, fill, mask = guess((timestep, timestep))
    signal, amount = (rate.double().item() for rate in rates(torch.tensor(timestep)))
    for index in mask.expand_as(fill).nonzero()[::23].tolist():
        place = tuple(index)
        mean, deviation = posterior(noisy[place].double(), fill[place].double(), SPREAD[place[1]], signal, amount)
        assert made.start[place].item() == pytest.approx(mean.item(), abs=1e-3)
        assert made.scale[place].item() == pytest.approx(deviation.item(), abs=1e-3)


def inputs(config, frames=3, size=(13, 17)):
    """Arguments of the UNet for one clip; about the left half is known."""
    channels, mask = config.out_channels, hidden(frames, size, (slice(None), *SIDE))
    x = torch.cat([noise(frames, channels, *size), mask, noise(frames, channels, *size, seed=1) * (1 - mask)], dim=1)
    region = torch.tensor([[8, -8, 64, 72, 40, 56]])
    return x, torch.tensor([500]), noise(1, 5, 32), noise(1, 4, 32), torch.tensor([8]), region


@torch.inference_mode()
def test_a_network_that_predicts_v_is_left_alone():
    plain, other = tiny.unet(), tiny.unet(replace(X0, prediction="v"))
    assert torch.equal(plain(*inputs(tiny.UNET)), other(*inputs(tiny.UNET)))


@torch.inference_mode()
def test_the_network_sees_the_guess_and_finishes_it():
    unet, given, seen = tiny.unet(X0), inputs(X0), []
    unet.conv_in.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    answer, (noisy, mask, known) = unet(*given), given[0].split([4, 1, 4], dim=1)
    fill = fill_cells(known, mask, 3, CARRY)
    guess = CleanGuess(noisy, fill, mask, given[1], SPREAD)
    assert torch.equal(seen[0], torch.cat([guess.start, mask, fill], dim=1))
    network = FollowYourCanvasUNet.forward(tiny.unet(), seen[0], *given[1:])  # the same weights, predicting v
    assert torch.allclose(answer, guess.finish(network), atol=1e-5)
    assert torch.equal(answer[..., :8], known[..., :8])


@torch.inference_mode()
def test_a_silent_network_leaves_the_guess():
    unet, given = tiny.unet(X0), inputs(X0)
    for parameter in unet.conv_out.parameters():
        parameter.zero_()
    noisy, mask, known = given[0].split([4, 1, 4], dim=1)
    fill = fill_cells(known, mask, 3, CARRY)
    assert torch.equal(unet(*given), CleanGuess(noisy, fill, mask, given[1], SPREAD).start)


@torch.inference_mode()
def test_the_noise_at_the_last_step_says_nothing():
    x, _, *tokens = inputs(X0)
    other = torch.cat([noise(3, 4, 13, 17, seed=5), x[:, 4:]], dim=1)
    answers = [tiny.unet(X0)(given, torch.tensor([999]), *tokens) for given in (x, other)]
    assert torch.equal(*answers)


@torch.inference_mode()
def test_half_precision_keeps_known_latents_as_they_came():
    given = inputs(X0)
    half = [value.bfloat16() if value.is_floating_point() else value for value in given]
    answer = tiny.unet(X0).bfloat16()(*half)
    assert answer.dtype == torch.float32
    assert torch.equal(answer[..., :8], half[0][:, 5:, :, :8].float())
