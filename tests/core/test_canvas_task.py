"""The canvas network's task: what the loss looks at, what the data says of the fill, and a gentle start."""

from dataclasses import replace

import pytest
import tiny_training as tiny
import torch

from canvas_core.networks.layers import attend
from canvas_core.systems.follow_your_canvas.block_latent import encode_blocks
from canvas_core.systems.follow_your_canvas.clean_guess import CleanGuess
from canvas_core.systems.follow_your_canvas.schedule import STEPS, rates
from canvas_core.training.canvas_task import attend_short, filler, measure_fill, preview_colours
from canvas_core.training.recipe import read_recipe


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    folder = tiny.prepare(tmp_path_factory.mktemp("task"))
    return read_recipe(tiny.write_recipe(folder / "recipe.json", tiny.recipe(folder))).task


def batch_of(task, frames):
    """The first batch of clips of that length."""
    return next(b for b in (task.dataset[i] for i in range(20)) if len(b["latents"]) == frames * len(b["fps"]))


class Answer:
    """A network that gives one answer and notes what it was asked."""

    def __init__(self, answer):
        self.answer = answer

    def __call__(self, x, timestep, batch):
        self.x, self.timestep = x, timestep
        return self.answer


@pytest.mark.parametrize("frames", [1, 2])
def test_the_loss_is_that_of_v_on_hidden_cells(task, frames):
    batch = batch_of(task, frames)
    clean, hidden = batch["latents"], batch["mask"].expand_as(batch["latents"]) > 0
    network = Answer(clean + torch.randn(clean.shape, generator=torch.Generator().manual_seed(0)))
    loss, figures = task.loss(network, batch, 5)
    signal, amount = (rate.repeat_interleave(frames)[:, None, None, None] for rate in rates(network.timestep))
    noise = (network.x[:, : tiny.CHANNELS] - signal * clean) / amount
    predicted = (network.x[:, : tiny.CHANNELS] - signal * network.answer) / amount  # the noise its answer stands for
    error = (signal * predicted - amount * network.answer) - (signal * noise - amount * clean)
    assert loss.item() == pytest.approx(error[hidden].square().mean().item(), rel=1e-3)
    assert figures.keys() == {"draft"}


def test_the_loss_ignores_known_cells_and_a_perfect_answer_has_none(task):
    batch = batch_of(task, 2)
    clean, known = batch["latents"], (batch["mask"] == 0).float()
    assert known.any()
    assert task.loss(Answer(clean), batch, 3)[0] == 0
    assert task.loss(Answer(clean + 9 * known), batch, 3)[0] == 0


def test_the_network_is_given_mask_and_known_latents(task):
    batch, network = batch_of(task, 2), Answer(None)
    network.answer = batch["latents"]
    task.loss(network, batch, 3)
    _, mask, known = network.x.split([tiny.CHANNELS, 1, tiny.CHANNELS], dim=1)
    assert torch.equal(mask, batch["mask"]) and torch.equal(known, batch["latents"] * (1 - batch["mask"]))


def test_noise_and_time_follow_from_the_step(task):
    batch, asked = batch_of(task, 2), []
    for step in (4, 4, 5):
        network = Answer(batch["latents"])
        task.loss(network, batch, step)
        asked.append(network.x)
    assert torch.equal(asked[0], asked[1]) and not torch.equal(asked[0], asked[2])


def test_the_last_time_step_is_drawn_as_often_as_asked(task):
    times = task._timesteps(5000, torch.Generator().manual_seed(0))
    assert times.min() >= 0 and times.max() == STEPS - 1
    assert (times == STEPS - 1).float().mean().item() == pytest.approx(task.settings.terminal, abs=0.03)
    assert times[times < STEPS - 1].float().mean().item() == pytest.approx(499, abs=25)


def test_the_error_of_the_fill_is_measured(task):
    found = measure_fill(replace(task.config, spread=()), task.dataset, batches=5)
    fill, errors = filler(task.dataset.kernel), [[] for _ in range(tiny.CHANNELS)]
    for batch in (task.dataset[i] for i in range(5)):
        clean, mask, frames = batch["latents"], batch["mask"], len(batch["latents"]) // len(batch["fps"])
        filled = fill(clean * (1 - mask), mask, frames)
        for channel, error in enumerate(errors):
            error.append((clean - filled)[:, channel][mask[:, 0] > 0])
    for channel, error in enumerate(errors):
        assert found.spread[channel] == pytest.approx(torch.cat(error).square().mean().sqrt().item(), abs=1e-3)


@pytest.mark.parametrize("change", [{"prediction": "v", "spread": ()}, {"spread": (0.5,) * tiny.CHANNELS}])
def test_what_is_known_or_not_needed_is_not_measured(task, change):
    config = replace(task.config, **change)
    assert measure_fill(config, task.dataset) is config


def test_preview_colours_show_plain_frames_as_they_are(task):
    colour = torch.tensor([0.9, 0.2, 0.4])
    latent = encode_blocks(task.dataset.kernel, colour[None, :, None, None].expand(1, 3, 8, 8))[0, :3, 0, 0]
    shown = latent @ torch.tensor(preview_colours(task.dataset.kernel)).view(3, 3)
    assert torch.allclose(shown, 2 * colour - 1, atol=1e-2)


@torch.inference_mode()
def test_untrained_networks_give_the_guess(task):
    batch, config = batch_of(task, 2), task.config
    network = Answer(batch["latents"])
    task.loss(network, batch, 7)
    noisy, mask, known = network.x.split([tiny.CHANNELS, 1, tiny.CHANNELS], dim=1)
    fill = filler(task.dataset.kernel)(known, mask, 2)
    guess = CleanGuess(noisy, fill, mask, network.timestep, config.spread)
    assert torch.allclose(task.networks(network.x, network.timestep, batch), guess.start, atol=1e-5)


@pytest.mark.parametrize("keys", [1, 2, 5, 64, 65])
def test_attention_written_out_is_the_same(keys):
    draw = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(3, length, 12, generator=draw) for length in (7, keys, keys))
    assert torch.allclose(attend_short(q, k, v, 3), attend(q, k, v, 3), atol=1e-5)
