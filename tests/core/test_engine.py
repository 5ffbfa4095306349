"""What the engine hands to the network: where it starts, what is hidden, what other frames lend, and what is given."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import pytest
import tiny
import torch
from recorder import Recorder

from canvas_core import engine
from canvas_core.engine import outpaint, plan_growth, sample_clips, seeded_draw
from canvas_core.evaluation.methods import model_method, propagation_method
from canvas_core.evaluation.protocol import RATE
from canvas_core.networks.autoencoder import decode, encode
from canvas_core.pixels.fill import fill_hidden
from canvas_core.pixels.placed import NOTHING, OnCanvas, PlacedVideo, Video, batches
from canvas_core.pixels.placing import GREY, cell_mask, generation_mask, place_source
from canvas_core.pixels.propagation import propagate
from canvas_core.pixels.refine import refine_fill
from canvas_core.pixels.store import IN_MEMORY, ON_DISK
from canvas_core.pixels.texture import add_texture
from canvas_core.plan.boxes import Size
from canvas_core.plan.canvas import Pads, canvas_of_pads
from canvas_core.plan.keyframes import plan_levels
from canvas_core.progress import unwatched
from canvas_core.sampling.noise import share_noise
from canvas_core.systems.follow_your_canvas.files import FOLLOW_YOUR_CANVAS
from canvas_core.systems.follow_your_canvas.known import Networks
from canvas_core.systems.follow_your_canvas.model import FollowYourCanvas, no_prompts
from canvas_core.systems.follow_your_canvas.schedule import rates
from canvas_core.systems.follow_your_canvas.settings import Settings
from canvas_core.systems.follow_your_canvas.solver import make_scheduler

X0 = replace(tiny.UNET, prediction="x0", spread=(1.0,) * 4, noise_share=0.5, spacing="trailing")
SIZE = Size(61, 79)
CANVAS = canvas_of_pads(SIZE, Pads(24, 0, 13, 3))


class Draws(NamedTuple):
    """The random numbers of a round, in the order they are drawn."""

    start: torch.Tensor
    posterior: torch.Tensor


class Result(NamedTuple):
    """What a round leaves behind: frames of the whole canvas without the source on top, and the latents they are decoded from."""

    frames: torch.Tensor
    latents: torch.Tensor


@dataclass(frozen=True)
class Kept(FollowYourCanvas):
    """Keeps what it decodes."""

    decoded: list = field(default_factory=list)

    def decode(self, latents, slots):
        self.decoded.append(latents)
        return super().decode(latents, slots)


def model_of(networks, settings, kind=FollowYourCanvas):
    return kind(networks, no_prompts(32), settings, FOLLOW_YOUR_CANVAS)


def grow(model, frames, plan=None, store=IN_MEMORY, map_clips=map, given=NOTHING):
    """The frames of one round's whole canvas."""
    plan = plan or model.system.plan(len(frames), model.settings)
    run = engine._Run(model, plan, seeded_draw(0), store, unwatched, map, map_clips)
    return torch.stack(list(run.grow(Video(frames, RATE), CANVAS, given)))


@pytest.fixture(scope="module")
def parts():
    return {"layout_encoder": tiny.layout_encoder(), "sam": tiny.sam(), "vae": tiny.vae()}


@pytest.fixture
def record(parts):
    """Run one round with a recorder: (recorder, result, random numbers)."""

    def run(settings, frames, config=X0):
        model = model_of(Networks(Recorder(config), **parts), settings, Kept)
        draw, shape = seeded_draw(0), (len(frames), 4, *CANVAS.cells)
        result = Result(grow(model, frames), *model.decoded)
        return model.networks.unet, result, Draws(draw(shape), draw(shape))

    return run


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
    expected = torch.cat([cell_mask(mask, hidden=hidden)[:, None], encode(parts["vae"], known, draws.posterior)], dim=1)
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


@pytest.mark.parametrize("reads_text", [False, True])
def test_a_method_of_the_evaluation_is_the_engine_with_a_preset(parts, reads_text):
    networks = Networks(tiny.unet(replace(X0, reads_text=reads_text)), **parts)
    preset, frames = Settings(steps=1, cfg=1, window=64, overlap=16, feather=2), panning(2)
    text = {name: torch.randn(1, 5, 32) * reads_text for name in ("negative", "positive")}
    model = FollowYourCanvas(networks, text, Settings(), FOLLOW_YOUR_CANVAS).with_settings(preset)
    found = model_method(model, 5)(frames, CANVAS)
    plan = plan_levels(2, (1,), 2, 0)
    expected = torch.stack(list(outpaint(model, Video(frames, RATE), CANVAS, plan, seeded_draw(5))))
    assert torch.equal(found, expected) and found.shape == (2, *CANVAS.trim.size, 3)
    silent = model_method(replace(model, text=no_prompts(32)), 5)(frames, CANVAS)
    assert torch.equal(silent, found) != reads_text


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


def test_draws_are_those_of_the_seed_and_run_on():
    one, two, other = ([draw((2, 4, 3, 5)), draw((7, 1))] for draw in map(seeded_draw, (1, 1, 2)))
    assert all(torch.equal(*pair) for pair in zip(one, two, strict=True))
    assert not torch.equal(one[0], other[0]) and not torch.equal(one[1], other[1])
    generator = torch.Generator().manual_seed(1)
    expected = [torch.randn(2, 4, 3, 5, generator=generator), torch.randn(7, 1, generator=generator)]
    assert all(torch.equal(*pair) for pair in zip(one, expected, strict=True))
    twice = seeded_draw(1)
    assert not torch.equal(twice((3, 5)), twice((3, 5)))


GIVEN = (0, 6)


def pictures():
    """Given frames, of the whole canvas."""
    shape, draw = (*CANVAS.size, 3), torch.Generator().manual_seed(8)
    return {frame: torch.rand(shape, generator=draw) for frame in GIVEN}


@pytest.mark.parametrize("strength", [1.0, 0.5])
@pytest.mark.parametrize(("strides", "overlap"), [((1,), 1), ((4, 1), 2)])
def test_given_frames_guide_and_are_never_written(parts, strides, overlap, strength):
    plan, frames, steps = plan_levels(9, strides, 4, overlap, given=GIVEN), panning(9), 3
    settings = Settings(steps=steps, cfg=1, strength=strength, fill="edge")
    model = model_of(Networks(Recorder(X0, lambda x: x * 0.5 + 1), **parts), settings)
    shape, draw, again = (9, 4, *CANVAS.cells), seeded_draw(3), seeded_draw(3)
    noise, posterior = share_noise(again(shape), X0.noise_share), again(shape)
    start = model.noise(plan, CANVAS.cells, draw)
    video = PlacedVideo(frames, OnCanvas(frames, CANVAS, pictures()), CANVAS, RATE)
    known = model.know(video, plan, draw, unwatched)
    latents = {index: encode(parts["vae"], one[None], posterior[index, None])[0] for index, one in pictures().items()}
    clips = [clip for clip, _ in sample_clips(model, known, plan, lambda clip: start[list(clip.frames)], draw)]
    asked = [
        (clip, *call)
        for clip, calls in zip(clips, batches(model.networks.unet.asked, steps), strict=True)
        for call in calls
    ]
    assert sorted(clip.frames[slot] for clip in clips for slot in clip.writes) == [1, 2, 3, 4, 5, 7, 8]
    scheduler, seen = make_scheduler("x0", "trailing"), set()
    for clip, x, time, _ in asked:
        for slot, frame in enumerate(clip.frames):
            if frame in latents:
                seen.add((frame, time))
                assert slot in clip.guides and not x[slot, 4].any() and torch.equal(x[slot, 5:], latents[frame])
                held = scheduler.add_noise(latents[frame][None], noise[frame][None], torch.tensor([time]))
                assert torch.allclose(x[slot, :4], held[0], atol=1e-6)
    assert len(seen) == len(GIVEN) * steps


@pytest.mark.parametrize("store", [IN_MEMORY, ON_DISK], ids=["memory", "disk"])
@pytest.mark.parametrize("strides", [(1,), (4, 1)])
@pytest.mark.parametrize("options", [{}, {"match": 5, "texture": 0.7, "refine": True}], ids=["plain", "finished"])
def test_given_frames_come_out_as_they_went_in(parts, store, strides, options):
    plan = plan_levels(9, strides, 4, 1, given=GIVEN)
    model = model_of(Networks(Recorder(X0), **parts), Settings(steps=1, cfg=1, **options), Kept)
    result = grow(model, panning(9), plan, store, given=pictures())
    assert len(result) == 9 and all(torch.equal(result[index], one) for index, one in pictures().items())
    if not options:
        others = [index for index in range(9) if index not in GIVEN]
        decoded = decode(parts["vae"], torch.zeros(1, 4, *CANVAS.cells))
        assert torch.allclose(result[others], decoded.expand(7, -1, -1, -1), atol=1e-5)


@pytest.mark.parametrize(("strides", "overlap", "waves"), [((1,), 0, [3]), ((3, 1), 1, [1, 3, 1]), ((1,), 1, [1] * 4)])
def test_clips_of_a_wave_can_be_sampled_at_the_same_time(parts, strides, overlap, waves):
    plan, frames = plan_levels(12, strides, 4, overlap), panning(12)
    assert [len(wave) for wave in plan.waves] == waves
    model = model_of(Networks(tiny.unet(), **parts), Settings(steps=2, window=64, overlap=16))
    with ThreadPoolExecutor(3) as pool:
        found = grow(model, frames, plan, map_clips=pool.map)
    assert torch.equal(found, grow(model, frames, plan))


def test_windows_can_be_evaluated_at_the_same_time(parts):
    model = model_of(Networks(tiny.unet(), **parts), Settings(steps=2, window=64, overlap=16, feather=2))
    plan, video = plan_levels(3, (1,)), Video(panning(3), RATE)
    with ThreadPoolExecutor(3) as pool:
        found = list(outpaint(model, video, CANVAS, plan, seeded_draw(1), map_windows=pool.map))
    assert torch.equal(torch.stack(found), torch.stack(list(outpaint(model, video, CANVAS, plan, seeded_draw(1)))))


def test_nothing_is_read_before_the_first_frame_is_asked_for(parts):
    class Unread:
        def __iter__(self):
            raise KeyboardInterrupt

    model = model_of(Networks(Recorder(X0), **parts), Settings(steps=1))
    frames = outpaint(model, Video(Unread(), RATE), CANVAS, plan_levels(3, (1,)), seeded_draw(0))
    with pytest.raises(KeyboardInterrupt):
        next(frames)


def test_a_system_grows_in_rounds_or_at_once(parts):
    canvas = canvas_of_pads(SIZE, Pads(64, 0, 64, 3))
    model = model_of(Networks(Recorder(X0), **parts), Settings(window=64, overlap=16))
    rounds = plan_growth(model, canvas)
    assert len(rounds) > 1 and rounds[-1].canvas.size == canvas.size and rounds[0].canvas.source.size == SIZE
    at_once = replace(model, system=replace(FOLLOW_YOUR_CANVAS, in_rounds=False))
    ((whole, original),) = plan_growth(at_once, canvas)
    assert whole == canvas and original == canvas.source
