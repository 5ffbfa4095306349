"""Where denoising starts and ends: any number of steps, part of the schedule, both predictions."""

import pytest
import torch
from diffusers import DDIMScheduler

from canvas_core.errors import SamplingError
from canvas_core.sampling.denoise import MOST_STEPS, Start, denoise
from canvas_core.sampling.guidance import text_guidance
from canvas_core.systems.follow_your_canvas.guidance import guide_by_text
from canvas_core.systems.follow_your_canvas.schedule import rates
from canvas_core.systems.follow_your_canvas.settings import Settings
from canvas_core.systems.follow_your_canvas.solver import make_scheduler
from canvas_core.training.sheets import sample_few

SHAPE = (3, 5, 7, 11)


def noise(seed=0):
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


class Oracle:
    """Knows the clean latent; notes what it is asked."""

    def __init__(self, clean, prediction="x0"):
        self.clean, self.prediction, self.asked = clean, prediction, []

    def __call__(self, x, timestep):
        self.asked.append((x.clone(), int(timestep)))
        signal, amount = rates(timestep)
        if self.prediction == "x0":
            return self.clean
        epsilon = (x - signal * self.clean) / amount
        return signal * epsilon - amount * self.clean


@pytest.mark.parametrize("steps", [1, 2, 7, 61, 103])
@pytest.mark.parametrize("prediction", ["x0", "v"])
def test_a_perfect_prediction_gives_the_clean_latent(prediction, steps):
    oracle, done = Oracle(noise(1), prediction), []
    scheduler = make_scheduler(prediction, "trailing")
    result = denoise(oracle, noise(), scheduler, steps, on_step=lambda index, _: done.append(index))
    assert torch.allclose(result, noise(1), atol=1e-3)
    assert done == list(range(steps))
    times = [time for _, time in oracle.asked]
    assert times[0] == 999 and times == sorted(set(times), reverse=True) and times[-1] >= 0
    assert torch.equal(oracle.asked[0][0], noise())


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize(("steps", "strength"), [(1, 0.5), (4, 0.3), (7, 0.7), (5, 0.001), (30, 0.49), (20, 0.99)])
def test_part_of_the_schedule_starts_from_the_noised_latents(spacing, steps, strength):
    oracle, given = Oracle(noise(1)), noise(2)
    result = denoise(oracle, noise(), make_scheduler("x0", spacing), steps, start=Start(given, strength))
    assert len(oracle.asked) == steps
    x, time = oracle.asked[0]
    signal, amount = rates(torch.tensor(time))
    assert torch.allclose(x, signal * given + amount * noise(), atol=1e-4)
    assert (time + 1) / 1000 <= strength + 1 / steps and oracle.asked[-1][1] >= 0
    if spacing == "trailing":
        assert torch.allclose(result, noise(1), atol=1e-4)


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
def test_the_longest_schedule_runs_and_a_longer_one_is_refused(spacing):
    oracle, scheduler = Oracle(noise(1)), make_scheduler("x0", spacing)
    denoise(oracle, noise(), scheduler, MOST_STEPS)
    assert len({time for _, time in oracle.asked}) == MOST_STEPS
    with pytest.raises(SamplingError, match="the number of steps is 1000, but must be 1 to 999"):
        denoise(oracle, noise(), scheduler, MOST_STEPS + 1)


@pytest.mark.parametrize("steps", [1, 3, 8])
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
def test_a_start_at_full_strength_is_noised_to_the_first_time_step(spacing, steps):
    """Without one it is pure noise, whatever the first time step."""
    with_start, without = Oracle(noise(1)), Oracle(noise(1))
    denoise(with_start, noise(), make_scheduler("x0", spacing), steps, start=Start(noise(3), 1))
    denoise(without, noise(), make_scheduler("x0", spacing), steps)
    times = [time for _, time in with_start.asked]
    assert times == [time for _, time in without.asked] and len(times) == steps
    signal, amount = rates(torch.tensor(times[0]))
    assert torch.allclose(with_start.asked[0][0], signal * noise(3) + amount * noise(), atol=1e-4)
    assert torch.equal(without.asked[0][0], noise())


def test_at_the_first_of_trailing_steps_nothing_is_left_of_a_start():
    starts = (None, Start(noise(3), 1), Start(noise(4), 1))
    none, one, other = (denoise(bend, noise(), make_scheduler("v", "trailing"), 3, start=start) for start in starts)
    assert torch.allclose(one, none, atol=1e-5) and torch.allclose(other, none, atol=1e-5)


def test_what_a_step_enters_with_is_for_prediction_and_scheduler_alike():
    """Half of the frames are replaced before every step; the loop of predictions and steps is written out."""
    scheduler, seen = make_scheduler("v", "trailing"), []

    def enter(step, x, noised):
        seen.append(step)
        return torch.cat([noised(noise(5)[:2], [2, 0]), x[2:]])

    found = denoise(bend, noise(), scheduler, 4, enter)
    x, scheduler = noise(), make_scheduler("v", "trailing")
    scheduler.set_timesteps(4)
    for time in scheduler.timesteps:
        signal, amount = rates(time)
        x = torch.cat([signal * noise(5)[:2] + amount * noise()[[2, 0]], x[2:]])
        x = scheduler.step(bend(x, time), time, x).prev_sample
    assert seen == [0, 1, 2, 3] and torch.allclose(found, x, atol=1e-4)


def bend(x, timestep):
    """A prediction that is never right."""
    return torch.tanh(x + timestep.flatten()[0] / 1000)


@pytest.mark.parametrize("prediction", ["x0", "v"])
@pytest.mark.parametrize("steps", [1, 4, 5, 40])
def test_trailing_steps_are_those_of_diffusers_where_these_divide(prediction, steps):
    own = make_scheduler(prediction, "trailing")
    theirs = DDIMScheduler.from_config(own.config, timestep_spacing="trailing")
    expected = denoise(bend, noise(), theirs, steps)
    assert torch.allclose(denoise(bend, noise(), own, steps), expected, atol=1e-4)


@pytest.mark.parametrize("steps", [1, 2, 6, 9])
def test_sample_sheets_use_the_same_sampler(steps):
    expected = denoise(bend, noise(), make_scheduler("x0", "trailing"), steps)
    assert torch.allclose(sample_few(bend, noise(), 1, steps), expected, atol=1e-4)


@pytest.mark.parametrize("strength", [0, -0.5, 1.5, float("nan")])
def test_a_strength_out_of_range_is_refused(strength):
    with pytest.raises(SamplingError, match="the strength is .* above 0 and at most 1"):
        Settings(strength=strength)


def test_an_unknown_fill_is_refused():
    with pytest.raises(SamplingError, match="fill is 'magic', but must be one of grey"):
        Settings(fill="magic")


def test_guidance_of_scale_one_runs_the_positive_branch_alone():
    positive, negative, one = noise(), noise(1), guide_by_text(1)
    assert [tuple(branch) for branch in one.branches] == [("positive", "real")]
    assert torch.equal(one.combine(positive), positive)
    assert torch.allclose(text_guidance(negative, positive, 1), positive, atol=1e-5)
    both = guide_by_text(1.5)
    assert torch.equal(both.combine(negative, positive), text_guidance(negative, positive, 1.5))
