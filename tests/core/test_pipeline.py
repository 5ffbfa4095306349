"""What the engine hands to the network: where it starts, what is hidden, and what other frames lend."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import tiny
import torch
from recorder import Recorder

from canvas_core.errors import ConditioningError
from canvas_core.evaluation.methods import model_method, propagation_method
from canvas_core.networks.autoencoder import decode, encode
from canvas_core.pipeline import Draws, Networks, Settings, outpaint, run_round, seeded_draw, settings_of
from canvas_core.pixels.fill import fill_hidden
from canvas_core.pixels.placing import GREY, cell_mask, generation_mask, place_source
from canvas_core.pixels.propagation import propagate
from canvas_core.pixels.refine import refine_fill
from canvas_core.pixels.texture import add_texture
from canvas_core.plan.boxes import CELL, Size
from canvas_core.plan.canvas import Pads, canvas_of_pads
from canvas_core.sampling.noise import share_noise
from canvas_core.systems.follow_your_canvas.schedule import rates
from canvas_core.systems.presets import Preset

X0 = replace(tiny.UNET, prediction="x0", spread=(1.0,) * 4, noise_share=0.5, spacing="trailing")
SIZE = Size(61, 79)
CANVAS = canvas_of_pads(SIZE, Pads(24, 0, 13, 3))


@pytest.fixture(scope="module")
def parts():
    return {"layout_encoder": tiny.layout_encoder(), "sam": tiny.sam(), "vae": tiny.vae()}


@pytest.fixture
def record(parts):
    """Run one round with a recorder: (recorder, result)."""

    def run(settings, frames, config=X0):
        networks = Networks(Recorder(config), **parts)
        draws = seeded_draw(0)(0, (len(frames), 4, CANVAS.size.h // CELL, CANVAS.size.w // CELL))
        return networks.unet, run_round(networks, settings, frames, CANVAS, text(), draws), draws

    return run


def text(width=32):
    return dict.fromkeys(("negative", "positive"), torch.zeros(1, 1, width))


def panning(frames=5):
    """A picture that passes by, 4 pixels a frame, [F, *SIZE, 3]."""
    noise = torch.rand(1, 3, SIZE.h, SIZE.w + 4 * frames, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.avg_pool2d(noise, 5, 1, 2)[0].permute(1, 2, 0)
    picture = ((smooth - smooth.mean()) * 3 + 0.5).clamp(0.05, 0.95)
    return torch.stack([picture[:, 4 * t : 4 * t + SIZE.w] for t in range(frames)])


def placed(frames):
    """The source on grey, and the mask."""
    mask = generation_mask(CANVAS.size, CANVAS.source).expand(len(frames), -1, -1)
    return place_source(frames, CANVAS.size, CANVAS.source, GREY), mask


@pytest.mark.parametrize("share", [0, 0.5])
def test_the_first_step_starts_from_shared_noise(record, share):
    unet, _, draws = record(Settings(steps=2), panning(), replace(X0, noise_share=share))
    x, time, _ = unet.asked[0]
    assert time == 999 and torch.equal(x[:, :4], share_noise(draws.start, share))


@pytest.mark.parametrize("fill", ["edge", "cone"])
def test_below_full_strength_the_fill_is_noised(record, parts, fill):
    settings, frames = Settings(steps=3, strength=0.4, fill=fill), panning()
    unet, _, draws = record(settings, frames)
    signal, amount = rates(torch.tensor(unet.asked[0][1]))
    filled = encode(parts["vae"], fill_hidden(*placed(frames), fill), draws.posterior)
    expected = signal * filled + amount * share_noise(draws.start, 0.5)
    assert torch.allclose(unet.asked[0][0][:, :4], expected, atol=1e-4)
    assert len({time for _, time, _ in unet.asked}) == 3


@pytest.mark.parametrize("hidden", ["first", "any"])
@pytest.mark.parametrize("lend", [False, True])
def test_the_network_is_given_what_is_known(record, parts, hidden, lend):
    frames = panning()
    unet, _, draws = record(Settings(steps=1, propagate=lend), frames, replace(X0, hidden_cells=hidden))
    known, mask = propagate(*placed(frames)) if lend else placed(frames)
    assert (mask.sum() < placed(frames)[1].sum()) == lend
    expected = torch.cat([cell_mask(mask, CELL, hidden)[:, None], encode(parts["vae"], known, draws.posterior)], dim=1)
    assert torch.equal(unet.asked[0][0][:, 4:], expected)


def test_borrowed_pixels_are_in_the_result(record, parts):
    frames = panning()
    _, result, _ = record(Settings(steps=1, propagate=True, feather=0), frames)
    known, mask = propagate(*placed(frames))
    assert torch.equal(result.frames[mask == 0], known[mask == 0])
    assert torch.equal(result.frames[mask == 1], decode(parts["vae"], result.latents)[mask == 1])


def test_a_single_frame_borrows_nothing(record):
    runs = [record(Settings(steps=1, propagate=lend, feather=0), panning(1)) for lend in (False, True)]
    (one, plain, _), (other, lent, _) = runs
    assert torch.equal(one.asked[0][0], other.asked[0][0]) and torch.equal(plain.latents, lent.latents)


def test_a_method_of_the_evaluation_is_the_engine_with_a_preset(parts):
    networks = Networks(tiny.unet(replace(X0, reads_text=False)), **parts)
    preset, frames = Preset(steps=1, cfg=1, window=64, overlap=16, feather=2), panning(2)
    found = model_method(networks, preset, "centre_px", 5)(frames, CANVAS)
    expected = outpaint(networks, settings_of(preset, "centre_px"), frames, CANVAS, text(), seeded_draw(5))
    assert torch.equal(found, expected) and found.shape == (2, *CANVAS.trim.size, 3)


def test_a_model_that_reads_prompts_is_not_evaluated(parts):
    with pytest.raises(ConditioningError, match="evaluate a model that reads none"):
        model_method(Networks(SimpleNamespace(config=X0), **parts), Preset(), "centre_px", 0)


def test_propagation_alone_is_a_method():
    frames = panning()
    expected = fill_hidden(*propagate(*placed(frames)), "cone")
    assert torch.equal(propagation_method("cone")(frames, CANVAS), expected[:, : CANVAS.trim.h, : CANVAS.trim.w])
    textured = add_texture(expected, *propagate(*placed(frames)), 0.5)
    assert not torch.equal(textured, expected)
    assert torch.equal(propagation_method("cone", 0.5)(frames, CANVAS), textured[:, : CANVAS.trim.h, : CANVAS.trim.w])


def test_what_the_network_adds_is_laid_over_the_fill(record):
    plain, refined = (
        record(Settings(steps=1, refine=refine, fill="cone"), panning())[1].frames for refine in (False, True)
    )
    frames, mask = placed(panning())
    assert torch.allclose(refined, refine_fill(plain, fill_hidden(frames, mask, "cone"), mask), atol=1e-6)
    assert not torch.equal(refined, plain)


def test_texture_is_laid_over_what_was_decoded(record):
    plain, textured = (record(Settings(steps=1, texture=share), panning())[1].frames for share in (0.0, 0.7))
    frames, mask = placed(panning())
    assert torch.allclose(textured, add_texture(plain, frames, mask, 0.7), atol=1e-6)
    assert not torch.equal(textured, plain)


def test_draws_are_those_of_the_seed():
    one, two, other = (seeded_draw(seed)(0, (2, 4, 3, 5)) for seed in (1, 1, 2))
    assert isinstance(one, Draws) and torch.equal(one.start, two.start) and torch.equal(one.posterior, two.posterior)
    assert not torch.equal(one.start, other.start) and not torch.equal(one.start, one.posterior)
