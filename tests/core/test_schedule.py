"""The noise schedule against diffusers', and noise that frames have in common."""

import pytest
import torch

from canvas_core.sampling.noise import share_noise
from canvas_core.systems.follow_your_canvas.schedule import STEPS, rates, signal_rates
from canvas_core.systems.follow_your_canvas.solver import make_scheduler


def mixing(frames, share):
    """The matrix [F, F] by which `share_noise` mixes frames: it is linear, so unit vectors show it."""
    return share_noise(torch.eye(frames, dtype=torch.float64), share)


def test_the_rates_are_those_of_diffusers():
    table = make_scheduler().alphas_cumprod
    assert torch.allclose(signal_rates(), table.sqrt(), atol=1e-5)
    assert signal_rates()[-1] == 0
    assert (signal_rates().diff() < 0).all()


def test_signal_and_noise_keep_the_variance():
    signal, noise = rates(torch.arange(0, STEPS, 0.37))
    assert torch.allclose(signal.square() + noise.square(), torch.ones_like(signal))


@pytest.mark.parametrize("share", [0, 0.25, 0.9])
def test_fractions_of_a_step_interpolate(share):
    steps, table = torch.tensor([0, 17, 500, 998]), signal_rates()
    between = (1 - share) * table[steps] + share * table[steps + 1]
    assert torch.allclose(rates(steps + share)[0], between, atol=1e-6)


def test_steps_beyond_the_schedule_are_its_ends():
    signal, noise = rates(torch.tensor([-3.0, 0.0, 999.0, 1000.5]))
    assert signal[0] == signal[1] and noise[0] == noise[1]
    assert (signal[2:] == 0).all() and (noise[2:] == 1).all()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("frames", [2, 5, 16, 81])
def test_shared_noise_has_unit_variance_and_equal_frames(frames, share):
    covariance = mixing(frames, share) @ mixing(frames, share).T
    assert torch.allclose(covariance.diagonal(), torch.ones(frames, dtype=torch.float64))
    pairs = covariance[~torch.eye(frames, dtype=torch.bool)]
    assert pairs.max() - pairs.min() < 1e-9
    assert share - 1e-9 <= pairs[0] < 1


def test_a_larger_share_correlates_more():
    found = [(mixing(7, share) @ mixing(7, share).T)[0, 1].item() for share in (0, 0.2, 0.5, 0.8, 1)]
    assert found == sorted(found) and found[0] == 0 and found[-1] == pytest.approx(1)


def test_drawn_noise_correlates_as_the_matrix_says():
    noise = share_noise(torch.randn(3, 40_000, generator=torch.Generator().manual_seed(0)), 0.5)
    assert torch.allclose(torch.corrcoef(noise), (mixing(3, 0.5) @ mixing(3, 0.5).T).float(), atol=0.02)


@pytest.mark.parametrize(("frames", "share"), [(1, 0.5), (1, 1), (5, 0)])
def test_one_frame_or_nothing_to_share_changes_nothing(frames, share):
    noise = torch.randn(frames, 4, 5, 3)
    assert torch.equal(share_noise(noise, share), noise)
