"""The guess that x0 prediction starts from, and what the network makes of it."""

from dataclasses import replace

import pytest
import tiny
import torch

from canvas_core.systems.follow_your_canvas.clean_guess import CleanGuess
from canvas_core.systems.follow_your_canvas.network import FollowYourCanvasUNet
from canvas_core.systems.follow_your_canvas.schedule import rates

SPREAD = (1.5, 0.3, 0.8, 0.05)
X0 = replace(tiny.UNET, prediction="x0", spread=SPREAD)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


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
    channels, mask = config.out_channels, torch.ones(frames, 1, *size)
    mask[..., :8] = 0
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
    fill = unet.smooth_fill(known, mask, 3)
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
    fill = unet.smooth_fill(known, mask, 3)
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
