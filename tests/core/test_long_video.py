"""Clips of any length: one level is the plain engine, finished frames guide later ones and stay, chunks leave no border."""

from dataclasses import replace
from functools import partial

import pytest
import tiny
import torch
from recorder import Recorder

from canvas_core import pipeline
from canvas_core.errors import SamplingError
from canvas_core.known_video import encode_known
from canvas_core.level_sampling import sample_levels
from canvas_core.long_video import outpaint_long, work_units
from canvas_core.networks.autoencoder import decode, encode
from canvas_core.pipeline import Networks, Settings, seeded_draw
from canvas_core.pixels import finishing
from canvas_core.pixels.finishing import Finishing, finish_frames
from canvas_core.pixels.placed import OnCanvas, Placed, stack_placed
from canvas_core.plan.boxes import CELL, Size
from canvas_core.plan.canvas import Pads, canvas_of_pads
from canvas_core.plan.keyframes import plan_levels
from canvas_core.plan.windows import WindowSettings
from canvas_core.sampling.denoise import hold_frames
from canvas_core.sampling.noise import share_noise
from canvas_core.systems.follow_your_canvas.layout_encoder import layout_tokens
from canvas_core.systems.follow_your_canvas.sam import encode_frames
from canvas_core.systems.follow_your_canvas.solver import make_scheduler

X0 = replace(tiny.UNET, prediction="x0", spread=(1.0,) * 4, noise_share=0.5, spacing="trailing")
SIZE = Size(40, 48)
CANVAS = canvas_of_pads(SIZE, Pads(16, 0, 16, 3))
CELLS = (4, CANVAS.size.h // CELL, CANVAS.size.w // CELL)
WINDOWS = WindowSettings(64, 16, frames=8, frame_overlap=2)
ONE_WINDOW = WindowSettings(128, 16, frames=8, frame_overlap=2)
TEXT = dict.fromkeys(("negative", "positive"), torch.zeros(1, 1, 32))


def drawn(frames, size=SIZE):
    """Slow waves, [F, h, w, 3] uint8."""
    t, y, x = torch.meshgrid(torch.arange(frames), torch.arange(size.h), torch.arange(size.w), indexing="ij")
    waves = [torch.sin(x / 7 + t / 3), torch.cos(y / 5 + x / 11), torch.sin((x + y) / 9 - t / 4)]
    return (torch.stack(waves, dim=-1) * 90 + 128).to(torch.uint8)


@pytest.fixture(scope="module")
def networks():
    return Networks(tiny.unet(), tiny.layout_encoder(), tiny.sam(), tiny.vae())


def long(networks, settings, frames, plan, seed=3, watch=lambda stage, units: None, canvas=CANVAS):
    found = outpaint_long(networks, settings, frames, canvas, TEXT, plan, seeded_draw(seed), watch)
    return torch.stack(list(found))


def plain(networks, settings, frames, seed=3, canvas=CANVAS):
    return pipeline.outpaint(networks, settings, frames.float() / 255, canvas, TEXT, seeded_draw(seed))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"strength": 0.5, "fill": "cone"},
        {"match": 6, "texture": 0.8, "refine": True, "fill": "cone"},
        {"official_rre": True},
    ],
    ids=["published", "from a fill", "finished", "official rre"],
)
def test_one_level_of_one_clip_is_the_plain_engine(networks, options):
    options = {"rre": "official"} if "official_rre" in options else options
    settings = Settings(steps=2, windows=WINDOWS, feather=2, **options)
    frames = drawn(6)
    assert torch.equal(long(networks, settings, frames, plan_levels(6, (1,))), plain(networks, settings, frames))


def test_borrowing_is_the_plain_engine_s_within_a_level(networks):
    settings = Settings(steps=2, windows=WINDOWS, feather=2, propagate=True)
    frames = drawn(6)
    found, expected = long(networks, settings, frames, plan_levels(6, (1,))), plain(networks, settings, frames)
    assert (found - expected).abs().max() < 0.02


@pytest.mark.parametrize("start_from", ["source", "previous"])
def test_rounds_are_those_of_the_plain_engine(networks, start_from):
    canvas = canvas_of_pads(SIZE, Pads(64, 0, 64, 0))
    settings = Settings(steps=1, windows=WINDOWS, feather=2, start_from=start_from)
    frames = drawn(3)
    found = long(networks, settings, frames, plan_levels(3, (1,)), canvas=canvas)
    expected = plain(networks, settings, frames, canvas=canvas)
    assert work_units(plan_levels(3, (1,)), settings, canvas) > 7  # more than one round
    # Between rounds frames are rounded to 8 bits, which the tiny network magnifies.
    assert (found - expected).abs().mean() < 0.01


@pytest.mark.parametrize(
    ("strides", "clip", "overlap"), [((1,), 4, 1), ((3, 1), 4, 1), ((4, 2, 1), 4, 2), ((1,), 1, 0)]
)
def test_the_source_is_exact_and_every_unit_is_reported(networks, strides, clip, overlap):
    settings, plan, told = Settings(steps=2, windows=WINDOWS, feather=3), plan_levels(11, strides, clip, overlap), []
    result = long(networks, settings, drawn(11), plan, watch=lambda *done: told.append(done))
    box = CANVAS.source
    inside = result[:, box.y : box.bottom - 3, box.x + 3 : box.right - 3]
    assert torch.equal(inside, drawn(11)[:, :-3, 3:-3].float() / 255)
    assert result.shape == (11, *CANVAS.trim.size, 3)
    assert sum(units for _, units in told) == work_units(plan, settings, CANVAS)
    assert {stage for stage, _ in told} == {"read", "finish", *(f"stride {stride}" for stride in strides)}


def known_of(networks, settings, frames, plan):
    posterior = torch.zeros(len(frames), *CELLS)
    return encode_known(networks, settings, frames, OnCanvas(frames, CANVAS), plan, posterior)


def test_each_clip_is_told_of_its_own_frames(networks):
    plan = plan_levels(9, (4, 1), clip=4)
    known = known_of(networks, Settings(windows=WINDOWS), drawn(9), plan)
    features = encode_frames(networks.sam, drawn(9))
    for clip, tokens in zip(plan.clips, known.tokens, strict=True):
        picked = features[list(clip.frames)]
        expected = layout_tokens(
            networks.layout_encoder, picked, [range(len(clip.frames))], networks.device, networks.dtype
        )
        assert tokens.keys() == expected.keys()
        assert all((tokens[key] - expected[key]).abs().max() < 1e-5 for key in expected)
    assert not torch.allclose(known.tokens[0]["real", range(3)], known.tokens[1]["real", range(4)])


def sampled(network, plan, settings, seed=0):
    """What the recording network was asked, and the latents of the whole clip."""
    networks = Networks(network, tiny.layout_encoder(), tiny.sam(), tiny.vae())
    noise = torch.randn(plan.length, *CELLS, generator=torch.Generator().manual_seed(seed))
    known = known_of(networks, settings, drawn(plan.length), plan)
    return known, sample_levels(networks, settings, known, plan, CANVAS.source, TEXT, noise), noise


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_finished_frames_are_known_to_later_clips_and_stay(strength):
    plan = plan_levels(9, (4, 1), clip=4)
    network = Recorder(X0, lambda x: x * 0.5 + 1)
    settings = Settings(
        steps=1, windows=ONE_WINDOW, guidance=pipeline.guide_by_text(1.0), strength=strength, fill="edge"
    )
    known, latents, noise = sampled(network, plan, settings)
    shared = share_noise(noise, X0.noise_share)
    scheduler = make_scheduler("x0", "trailing")
    done = set()
    for clip, (x, time, _) in zip(plan.clips, network.asked, strict=True):
        for slot, frame in enumerate(clip.frames):
            mask, masked = x[slot, 4], x[slot, 5:]
            if slot in clip.guides:
                assert frame in done and not mask.any()
                assert torch.equal(masked, latents[frame])
                held = scheduler.add_noise(latents[frame], shared[frame], torch.tensor([time]))
                assert torch.allclose(x[slot, :4], held[0] if held.ndim == 4 else held, atol=1e-6)
            else:
                assert frame not in done and torch.equal(mask, known.mask[frame, 0])
                assert torch.equal(masked, known.masked_latents[frame])
        done |= {clip.frames[slot] for slot in clip.writes}
    assert done == set(range(9))


def test_the_noise_of_a_frame_does_not_depend_on_the_level():
    settings = Settings(steps=1, windows=ONE_WINDOW, guidance=pipeline.guide_by_text(1.0))
    for strides in ((1,), (4, 1)):
        network, plan = Recorder(X0), plan_levels(9, strides, clip=4)
        _, _, noise = sampled(network, plan, settings)
        shared = share_noise(noise, X0.noise_share)
        for clip, (x, _, _) in zip(plan.clips, network.asked, strict=True):
            for slot in clip.writes:
                assert torch.equal(x[slot, :4], shared[clip.frames[slot]])


@pytest.mark.parametrize(("fps", "expected"), [(8, {16, 8}), (2, {8, 2})])
def test_the_stride_of_a_level_reaches_the_network(fps, expected):
    settings = Settings(steps=1, windows=ONE_WINDOW, guidance=pipeline.guide_by_text(1.0), fps=fps)
    network = Recorder(X0)
    sampled(network, plan_levels(9, (4, 1), clip=4), settings)
    assert {rate for _, _, rate in network.asked} == expected


def test_held_frames_are_noised_to_every_time_step():
    scheduler = make_scheduler()
    scheduler.set_timesteps(5)
    noise, finished, seen = torch.randn(3, 4, 2, 2), torch.randn(4, 2, 2), []
    predict = hold_frames(lambda x, t: seen.append(x) or x, scheduler, {1: finished}, noise)
    for timestep in scheduler.timesteps:
        x = torch.randn(3, 4, 2, 2)
        before = x.clone()
        predict(x, timestep)
        assert torch.equal(x, before) and torch.equal(seen[-1][[0, 2]], x[[0, 2]])
        share = scheduler.alphas_cumprod[timestep]
        assert torch.allclose(seen[-1][1], share.sqrt() * finished + (1 - share).sqrt() * noise[1], atol=1e-6)


@pytest.mark.parametrize(("given", "planned"), [(5, 6), (6, 5)])
def test_a_plan_for_another_length_is_refused(networks, given, planned):
    with pytest.raises(SamplingError, match=f"plan was made for {planned} frames"):
        long(networks, Settings(steps=1, windows=WINDOWS), drawn(given), plan_levels(planned, (1,)))


def test_the_official_paste_is_refused(networks):
    with pytest.raises(SamplingError, match="official paste"):
        long(networks, Settings(windows=WINDOWS, paste="official"), drawn(3), plan_levels(3, (1,)))


def test_a_level_that_is_not_finite_stops_the_run(networks):
    broken = replace(networks, unet=Recorder(tiny.UNET, lambda x: x * torch.nan))
    with pytest.raises(SamplingError, match="not finite at step 1"):
        long(broken, Settings(steps=2, windows=WINDOWS), drawn(5), plan_levels(5, (2, 1)))


def placed_frames(count):
    return list(OnCanvas(drawn(count), CANVAS))


def decoder(networks):
    return partial(decode, networks.vae)


@pytest.mark.parametrize("length", [1, 3, 7, 8, 9, 12, 15, 30])
def test_chunks_are_finished_as_the_whole_is(networks, monkeypatch, length):
    monkeypatch.setattr(finishing, "CHUNK", 7)
    monkeypatch.setattr(finishing, "FADE", 3)
    latents, placed = torch.randn(length, *CELLS), placed_frames(length)
    how = Finishing(match=4, refine="cone", borrowed=True, feather=2)
    found = torch.stack(list(finish_frames(decoder(networks), latents, placed, how)))
    assert torch.allclose(found, how.apply(decode(networks.vae, latents), *stack_placed(placed)), atol=1e-6)


def test_the_texture_of_one_chunk_goes_over_into_the_next(networks, monkeypatch):
    monkeypatch.setattr(finishing, "CHUNK", 6)
    monkeypatch.setattr(finishing, "FADE", 2)
    latents, placed, told = torch.randn(9, *CELLS), placed_frames(9), []
    how = Finishing(texture=1.0)
    found = torch.stack(
        list(finish_frames(decoder(networks), latents, placed, how, lambda _, units: told.append(units)))
    )
    first = how.apply(decode(networks.vae, latents[:6]), *stack_placed(placed[:6]))
    second = how.apply(decode(networks.vae, latents[4:]), *stack_placed(placed[4:]))
    assert torch.allclose(found[:4], first[:4]) and torch.allclose(found[6:], second[2:])
    assert torch.allclose(found[4], first[4] * 2 / 3 + second[0] / 3, atol=1e-6)
    assert torch.allclose(found[5], first[5] / 3 + second[1] * 2 / 3, atol=1e-6)
    assert told == [6, 3]


@pytest.mark.parametrize(("texture", "held"), [(1.0, 4), (0.0, 1)])
def test_pixels_are_held_a_chunk_at_a_time(networks, monkeypatch, texture, held):
    """Without texture every frame is a chunk of its own."""
    monkeypatch.setattr(finishing, "CHUNK", 4)
    monkeypatch.setattr(finishing, "FADE", 1)
    alive = []

    def stream():
        for one in placed_frames(20):
            alive.append(one)
            yield Placed(*one)

    frames = finish_frames(decoder(networks), torch.randn(20, *CELLS), stream(), Finishing(texture=texture))
    next(frames)
    assert len(alive) == held
    assert len(list(frames)) == 19


def test_frames_without_a_place_for_texture_are_finished_too(networks, monkeypatch):
    """Decoded frames that nothing was done to still belong to the decoder."""
    monkeypatch.setattr(finishing, "CHUNK", 4)
    monkeypatch.setattr(finishing, "FADE", 2)
    latents, hidden = torch.randn(7, *CELLS), torch.ones(CANVAS.size.h, CANVAS.size.w)
    placed = [Placed(one.frame, hidden) for one in placed_frames(7)]
    found = torch.stack(list(finish_frames(decoder(networks), latents, placed, Finishing(texture=1.0))))
    assert torch.allclose(found, decode(networks.vae, latents), atol=1e-6)


def test_encoding_reads_the_frames_once(networks):
    reads = []

    class Counted:
        def __iter__(self):
            reads.append(1)
            return iter(drawn(5))

    known = known_of(networks, Settings(windows=WINDOWS), drawn(5), plan_levels(5, (1,)))
    counted = encode_known(
        networks,
        Settings(windows=WINDOWS),
        Counted(),
        OnCanvas(drawn(5), CANVAS),
        plan_levels(5, (1,)),
        torch.zeros(5, *CELLS),
    )
    assert reads == [1] and torch.equal(counted.masked_latents, known.masked_latents)
    placed, _ = stack_placed(placed_frames(5))
    assert torch.equal(known.masked_latents, encode(networks.vae, placed, torch.zeros(5, *CELLS)))
