"""Clips of any length, in memory and on disk: one level is a plain loop over all frames at once, finished frames guide later ones and
stay, chunks leave no border."""

from collections import defaultdict
from dataclasses import replace
from functools import partial

import pytest
import tiny
import torch
from recorder import Recorder

from canvas_core.engine import outpaint, plan_growth, sample_clips, seeded_draw
from canvas_core.errors import SamplingError
from canvas_core.networks.autoencoder import decode, decode_each, encode
from canvas_core.pixels import finishing
from canvas_core.pixels.compositing import paste_source
from canvas_core.pixels.eight_bit import FromLevels, to_levels
from canvas_core.pixels.fill import fill_hidden
from canvas_core.pixels.finishing import Finishing, finish_frames
from canvas_core.pixels.placed import OnCanvas, Placed, PlacedVideo, Video, stack_placed
from canvas_core.pixels.placing import GREY, cell_mask, generation_mask, place_source, trim_frames
from canvas_core.pixels.propagation import propagate
from canvas_core.pixels.store import IN_MEMORY, ON_DISK
from canvas_core.plan.boxes import Size
from canvas_core.plan.canvas import Pads, canvas_of_pads
from canvas_core.plan.keyframes import plan_levels
from canvas_core.progress import unwatched
from canvas_core.sampling.denoise import Start, denoise
from canvas_core.sampling.noise import share_noise
from canvas_core.sampling.tiling import predict_canvas
from canvas_core.systems.follow_your_canvas.conditions import CanvasClip
from canvas_core.systems.follow_your_canvas.files import FOLLOW_YOUR_CANVAS
from canvas_core.systems.follow_your_canvas.guidance import guide_by_text
from canvas_core.systems.follow_your_canvas.known import Networks, read_known
from canvas_core.systems.follow_your_canvas.layout_encoder import layout_tokens
from canvas_core.systems.follow_your_canvas.model import FollowYourCanvas, no_prompts
from canvas_core.systems.follow_your_canvas.official import paste_as_published, to_levels_official
from canvas_core.systems.follow_your_canvas.sam import encode_frames
from canvas_core.systems.follow_your_canvas.settings import Settings
from canvas_core.systems.follow_your_canvas.solver import make_scheduler

X0 = replace(tiny.UNET, prediction="x0", spread=(1.0,) * 4, noise_share=0.5, spacing="trailing")
SIZE = Size(40, 48)
CANVAS = canvas_of_pads(SIZE, Pads(16, 0, 16, 3))
CELLS = (4, *CANVAS.cells)
RATE = 12.0
WINDOWS = {"window": 64, "overlap": 16, "frame_window": 8, "frame_overlap": 2}
ONE_WINDOW = {**WINDOWS, "window": 128, "cfg": 1.0}
TEXT = no_prompts(32)
STORES = pytest.mark.parametrize("store", [IN_MEMORY, ON_DISK], ids=["memory", "disk"])


def drawn(frames, size=SIZE):
    """Slow waves, [F, h, w, 3] uint8."""
    t, y, x = torch.meshgrid(torch.arange(frames), torch.arange(size.h), torch.arange(size.w), indexing="ij")
    waves = [torch.sin(x / 7 + t / 3), torch.cos(y / 5 + x / 11), torch.sin((x + y) / 9 - t / 4)]
    return (torch.stack(waves, dim=-1) * 90 + 128).to(torch.uint8)


@pytest.fixture(scope="module")
def networks():
    return Networks(tiny.unet(), tiny.layout_encoder(), tiny.sam(), tiny.vae())


def model_of(networks, settings):
    return FollowYourCanvas(networks, TEXT, settings, FOLLOW_YOUR_CANVAS)


def long(networks, settings, frames, plan, store=ON_DISK, watch=unwatched, canvas=CANVAS, seed=3):
    video = Video(FromLevels(frames), RATE)
    found = outpaint(model_of(networks, settings), video, canvas, plan, seeded_draw(seed), store, watch)
    return torch.stack(list(found))


def plain_round(networks, settings, frames, canvas, draw):
    """One round of one clip, frames [F, h, w, 3]: step by step, all frames at once."""
    config, vae, count = networks.unet.config, networks.vae, len(frames)
    noise, posterior = draw((count, 4, *canvas.cells)), draw((count, 4, *canvas.cells))
    placed = place_source(frames, canvas.size, canvas.source, GREY)
    mask = generation_mask(canvas.size, canvas.source).expand(count, -1, -1)
    if settings.propagate:
        placed, mask = propagate(placed, mask)
    features, spans = encode_frames(networks.sam, to_levels(frames)), settings.windows.plan_frames(count)
    tokens = layout_tokens(networks.layout_encoder, features, spans, "cpu", torch.float32)
    known = cell_mask(mask, hidden=config.hidden_cells)[:, None], encode(vae, placed, posterior)
    told = TEXT, tokens, canvas.source, settings.rre, settings.fps
    clip, start = CanvasClip(networks.unet, settings.guidance, *known, *told), None
    if settings.strength < 1:
        start = Start(encode(vae, fill_hidden(placed, mask, settings.fill), posterior), settings.strength)
    predict, scheduler = partial(predict_canvas, clip, settings.windows), make_scheduler()
    latents = denoise(predict, share_noise(noise, config.noise_share), scheduler, settings.steps, start=start)
    return settings.finishing.apply(decode(vae, latents), placed, mask)


def plain(networks, settings, frames, canvas=CANVAS, seed=3):
    """Round after round, in whole tensors."""
    start = source = frames.float() / 255
    draw, rounds = seeded_draw(seed), plan_growth(model_of(networks, settings), canvas)
    for step in rounds:
        before, decoded = start, plain_round(networks, settings, start, step.canvas, draw)
        pasted = paste_source(decoded, source, step.target, settings.feather)
        start = decoded if settings.start_from == "previous" else pasted
    if settings.paste == "official":
        pasted = paste_as_published(decoded, before, rounds[-1].canvas)
    return trim_frames(pasted, canvas)


@STORES
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"strength": 0.5, "fill": "cone"},
        {"match": 6, "texture": 0.8, "refine": True, "fill": "cone"},
        {"rre": "official"},
    ],
    ids=["published", "from a fill", "finished", "official rre"],
)
def test_one_level_of_one_clip_is_the_plain_loop(networks, options, store):
    settings = Settings(steps=2, **WINDOWS, feather=2, **options)
    frames = drawn(6)
    assert torch.equal(long(networks, settings, frames, plan_levels(6, (1,)), store), plain(networks, settings, frames))


@STORES
def test_time_windows_of_one_clip_are_those_of_the_plain_loop(networks, store):
    settings, frames = Settings(steps=1, **WINDOWS, feather=2), drawn(19)
    plan = FOLLOW_YOUR_CANVAS.plan(19, settings)
    assert len(plan.clips) == 1 and len(settings.windows.plan_frames(19)) > 2
    found, expected = long(networks, settings, frames, plan, store), plain(networks, settings, frames)
    assert (found - expected).abs().max() < 1e-4  # features of SAM are encoded in other batches


@STORES
def test_borrowing_is_the_plain_loop_s_up_to_a_level(networks, store):
    settings = Settings(steps=2, **WINDOWS, feather=2, propagate=True)
    frames = drawn(6)
    found, expected = (
        long(networks, settings, frames, plan_levels(6, (1,)), store),
        plain(networks, settings, frames),
    )
    assert torch.equal(found, expected) if store is IN_MEMORY else (found - expected).abs().max() < 0.02


@STORES
@pytest.mark.parametrize("start_from", ["source", "previous"])
def test_rounds_are_those_of_the_plain_loop(networks, start_from, store):
    canvas = canvas_of_pads(SIZE, Pads(64, 0, 64, 0))
    settings = Settings(steps=1, **WINDOWS, feather=2, start_from=start_from)
    frames = drawn(3)
    found = long(networks, settings, frames, plan_levels(3, (1,)), store, canvas=canvas)
    expected = plain(networks, settings, frames, canvas=canvas)
    assert len(plan_growth(model_of(networks, settings), canvas)) > 1
    # On disk, frames are rounded to 8 bits between rounds, which the tiny network magnifies.
    assert torch.equal(found, expected) if store is IN_MEMORY else (found - expected).abs().mean() < 0.01


@pytest.mark.parametrize("pads", [16, 64])
def test_the_official_paste_is_of_the_whole_clip(networks, pads):
    canvas = canvas_of_pads(SIZE, Pads(pads, pads, pads, pads))
    settings, frames = Settings(steps=1, **WINDOWS, paste="official"), drawn(3)
    found = long(networks, settings, frames, plan_levels(3, (1,)), IN_MEMORY, canvas=canvas)
    assert torch.equal(found, plain(networks, settings, frames, canvas=canvas))


def noted():
    """A watch, and what it is told: stage -> [(done, total)]."""
    told = defaultdict(list)
    return lambda stage, *done: told[stage].append(done), told


def assert_every_stage_ends(told):
    """Each stage counts up to its total, which stays."""
    for stage, counts in told.items():
        done, totals = zip(*counts, strict=True)
        assert len(set(totals)) == 1 and done[-1] == totals[0], stage
        assert list(done) == sorted(set(done)) and done[0] > 0, stage


@STORES
@pytest.mark.parametrize(
    ("strides", "clip", "overlap"), [((1,), 4, 1), ((3, 1), 4, 1), ((4, 2, 1), 4, 2), ((1,), 1, 0)]
)
def test_the_source_is_exact_and_every_stage_is_watched_to_its_end(networks, strides, clip, overlap, store):
    settings, plan = Settings(steps=2, **WINDOWS, feather=3), plan_levels(11, strides, clip, overlap)
    watch, told = noted()
    result = long(networks, settings, drawn(11), plan, store, watch)
    box = CANVAS.source
    inside = result[:, box.y : box.bottom - 3, box.x + 3 : box.right - 3]
    assert torch.equal(inside, drawn(11)[:, :-3, 3:-3].float() / 255)
    assert result.shape == (11, *CANVAS.trim.size, 3)
    assert_every_stage_ends(told)
    steps = {f"stride {stride}": 2 * sum(one.stride == stride for one in plan.clips) for stride in strides}
    assert {stage: counts[-1][1] for stage, counts in told.items()} == {"read": 11, **steps, "finish": 11}


@STORES
def test_stages_of_rounds_are_told_apart(networks, store):
    canvas = canvas_of_pads(SIZE, Pads(64, 0, 64, 0))
    settings = Settings(steps=2, **WINDOWS, feather=2, propagate=True)
    watch, told = noted()
    long(networks, settings, drawn(5), plan_levels(5, (2, 1), 4), store, watch, canvas)
    rounds = len(plan_growth(model_of(networks, settings), canvas))
    stages = ["borrow", "read", "stride 2", "stride 1", "finish"]
    assert set(told) == {f"round {i + 1}/{rounds}: {stage}" for i in range(rounds) for stage in stages}
    assert_every_stage_ends(told)


def test_a_watch_may_stop_the_work(networks):
    def stop(stage, done, total):
        if (stage, done) == ("stride 1", 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        long(networks, Settings(steps=3, **WINDOWS), drawn(5), plan_levels(5, (1,)), watch=stop)


def known_of(networks, settings, frames, plan):
    source, posterior = FromLevels(frames), torch.zeros(len(frames), *CELLS)
    video = PlacedVideo(source, OnCanvas(source, CANVAS), CANVAS, RATE)
    return read_known(networks, settings, TEXT, video, plan, posterior)


def test_each_clip_is_told_of_its_own_frames(networks):
    plan = plan_levels(9, (4, 1), clip=4)
    known = known_of(networks, Settings(**WINDOWS), drawn(9), plan)
    features = encode_frames(networks.sam, drawn(9))
    assert list(known.tokens) == list(plan.clips)
    for clip, tokens in known.tokens.items():
        picked = features[list(clip.frames)]
        expected = layout_tokens(networks.layout_encoder, picked, [range(len(clip.frames))], *networks.place)
        assert tokens.keys() == expected.keys()
        assert all((tokens[key] - expected[key]).abs().max() < 1e-5 for key in expected)
    first, second, *_ = known.tokens.values()
    assert not torch.allclose(first["real", range(3)], second["real", range(4)])


@pytest.mark.parametrize("levels_of", [to_levels, lambda frames: to_levels_official(frames * 2 - 1)])
def test_sam_sees_the_levels_it_is_to_see(networks, levels_of):
    """Published code truncates where ours rounds."""
    plan, frames = plan_levels(3, (1,)), drawn(3) // 4
    known = known_of(replace(networks, levels_of=levels_of), Settings(**WINDOWS), frames, plan)
    features = encode_frames(networks.sam, levels_of(frames.float() / 255))
    expected = layout_tokens(networks.layout_encoder, features, [range(3)], *networks.place)
    assert torch.equal(known.tokens[plan.clips[0]]["real", range(3)], expected["real", range(3)])
    other = known_of(networks, Settings(**WINDOWS), frames, plan).tokens[plan.clips[0]]
    assert torch.equal(other["real", range(3)], expected["real", range(3)]) == (levels_of is to_levels)


def sampled(network, plan, settings, seed=0):
    """What is known, the latents of the whole clip, and its noise before it is shared."""
    model = model_of(Networks(network, tiny.layout_encoder(), tiny.sam(), tiny.vae()), settings)
    drawn_noise = torch.randn(plan.length, *CELLS, generator=torch.Generator().manual_seed(seed))
    known = known_of(model.networks, settings, drawn(plan.length), plan)
    noise = model.noise(plan, CANVAS.cells, lambda shape: drawn_noise.view(shape))
    latents = torch.full_like(noise, torch.nan)
    for clip, x in sample_clips(model, known, plan, lambda clip: noise[list(clip.frames)], seeded_draw(0)):
        for slot in clip.writes:
            latents[clip.frames[slot]] = x[slot]
    return known, latents, drawn_noise


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_finished_frames_are_known_to_later_clips_and_stay(strength):
    plan = plan_levels(9, (4, 1), clip=4)
    network = Recorder(X0, lambda x: x * 0.5 + 1)
    settings = Settings(steps=1, **ONE_WINDOW, strength=strength, fill="edge")
    known, latents, noise = sampled(network, plan, settings)
    assert (known.filled is None) == (strength == 1)
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
    settings = Settings(steps=1, **ONE_WINDOW)
    for strides in ((1,), (4, 1)):
        network, plan = Recorder(X0), plan_levels(9, strides, clip=4)
        _, _, noise = sampled(network, plan, settings)
        shared = share_noise(noise, X0.noise_share)
        for clip, (x, _, _) in zip(plan.clips, network.asked, strict=True):
            for slot in clip.writes:
                assert torch.equal(x[slot, :4], shared[clip.frames[slot]])


@pytest.mark.parametrize(("fps", "expected"), [(8, {16, 8}), (2, {8, 2})])
def test_the_stride_of_a_level_reaches_the_network(fps, expected):
    settings = Settings(steps=1, **ONE_WINDOW, fps=fps)
    network = Recorder(X0)
    sampled(network, plan_levels(9, (4, 1), clip=4), settings)
    assert {rate for _, _, rate in network.asked} == expected


def test_held_frames_are_noised_to_every_time_step():
    noise, finished, seen = torch.randn(3, 4, 2, 2), torch.randn(4, 2, 2), []
    nothing = torch.zeros(3, 1, 2, 2), torch.zeros(3, 4, 2, 2), TEXT, {}, CANVAS.source, "centre_px", 8
    clip = CanvasClip(None, guide_by_text(1.0), *nothing, held={1: finished})
    scheduler = make_scheduler()

    def enter(step, x, noised):
        before, entered = x.clone(), clip.enter(step, x, noised)
        assert torch.equal(x, before) and torch.equal(entered[[0, 2]], x[[0, 2]])
        return entered

    denoise(lambda x, time: seen.append((x, time)) or torch.tanh(x), noise, scheduler, 5, enter)
    assert len(seen) == 5
    for x, time in seen:
        share = scheduler.alphas_cumprod[time]
        assert torch.allclose(x[1], share.sqrt() * finished + (1 - share).sqrt() * noise[1], atol=1e-6)


def test_nothing_is_held_where_there_are_no_guides():
    nothing = torch.zeros(3, 1, 2, 2), torch.zeros(3, 4, 2, 2), TEXT, {}, CANVAS.source, "centre_px", 8
    x = torch.randn(3, 4, 2, 2)
    assert CanvasClip(None, guide_by_text(1.0), *nothing).enter(0, x, None) is x


@STORES
@pytest.mark.parametrize(("given", "planned"), [(5, 6), (6, 5)])
def test_a_plan_for_another_length_is_refused(networks, given, planned, store):
    with pytest.raises(SamplingError, match=f"plan was made for {planned} frames"):
        long(networks, Settings(steps=1, **WINDOWS), drawn(given), plan_levels(planned, (1,)), store)


def test_the_official_paste_is_refused_where_the_whole_clip_is_never_held(networks):
    with pytest.raises(SamplingError, match="official paste"):
        long(networks, Settings(**WINDOWS, paste="official"), drawn(3), plan_levels(3, (1,)))


def test_a_level_that_is_not_finite_stops_the_run(networks):
    broken = replace(networks, unet=Recorder(tiny.UNET, lambda x: x * torch.nan))
    with pytest.raises(SamplingError, match="not finite at step 1"):
        long(broken, Settings(steps=2, **WINDOWS), drawn(5), plan_levels(5, (2, 1)))


def placed_frames(count):
    return list(OnCanvas(FromLevels(drawn(count)), CANVAS))


def finished(networks, latents, placed, *how):
    """Decoded latents [F, C, h, w], finished one after the other."""
    return finish_frames(decode_each(networks.vae, latents, range(len(latents))), placed, *how)


@pytest.mark.parametrize("length", [1, 3, 7, 8, 9, 12, 15, 30])
def test_chunks_are_finished_as_the_whole_is(networks, monkeypatch, length):
    monkeypatch.setattr(finishing, "FADE", 3)
    latents, placed = torch.randn(length, *CELLS), placed_frames(length)
    how = Finishing(match=4, refine="cone", borrow=True, feather=2)
    found = torch.stack(list(finished(networks, latents, placed, how, 7)))
    assert torch.allclose(found, how.apply(decode(networks.vae, latents), *stack_placed(placed)), atol=1e-6)


def test_the_texture_of_one_chunk_goes_over_into_the_next(networks, monkeypatch):
    monkeypatch.setattr(finishing, "FADE", 2)
    latents, placed, told = torch.randn(9, *CELLS), placed_frames(9), []
    how = Finishing(texture=1.0)
    found = torch.stack(list(finished(networks, latents, placed, how, 6, told.append)))
    first = how.apply(decode(networks.vae, latents[:6]), *stack_placed(placed[:6]))
    second = how.apply(decode(networks.vae, latents[4:]), *stack_placed(placed[4:]))
    assert torch.allclose(found[:4], first[:4]) and torch.allclose(found[6:], second[2:])
    assert torch.allclose(found[4], first[4] * 2 / 3 + second[0] / 3, atol=1e-6)
    assert torch.allclose(found[5], first[5] / 3 + second[1] * 2 / 3, atol=1e-6)
    assert told == [6, 3]


@pytest.mark.parametrize(("texture", "held"), [(1.0, 4), (0.0, 1)])
def test_pixels_are_held_a_chunk_at_a_time(networks, monkeypatch, texture, held):
    """Without texture every frame is a chunk of its own."""
    monkeypatch.setattr(finishing, "FADE", 1)
    alive = []

    def stream():
        for one in placed_frames(20):
            alive.append(one)
            yield Placed(*one)

    frames = finished(networks, torch.randn(20, *CELLS), stream(), Finishing(texture=texture), 4)
    next(frames)
    assert len(alive) == held
    assert len(list(frames)) == 19


def test_frames_without_a_place_for_texture_are_finished_too(networks, monkeypatch):
    """Decoded frames that nothing was done to still belong to the decoder."""
    monkeypatch.setattr(finishing, "FADE", 2)
    latents, hidden = torch.randn(7, *CELLS), torch.ones(CANVAS.size.h, CANVAS.size.w)
    placed = [Placed(one.frame, hidden) for one in placed_frames(7)]
    found = torch.stack(list(finished(networks, latents, placed, Finishing(texture=1.0), 4)))
    assert torch.allclose(found, decode(networks.vae, latents), atol=1e-6)


@pytest.mark.parametrize("length", [1, 6, 8, 13, 20])
@pytest.mark.parametrize("chunk", [1, 2, 4, 7, 8, 9, None])
def test_chunks_of_any_size_hold_every_frame_once(networks, chunk, length):
    latents, told = torch.randn(length, *CELLS), []
    hidden = torch.ones(tuple(CANVAS.size))
    placed = [Placed(one.frame, hidden) for one in placed_frames(length)]
    found = torch.stack(list(finished(networks, latents, placed, Finishing(texture=1.0), chunk, told.append)))
    assert torch.allclose(found, decode(networks.vae, latents), atol=1e-6) and sum(told) == length


def test_encoding_reads_the_frames_once(networks):
    reads, plan, settings = [], plan_levels(5, (1,)), Settings(**WINDOWS)

    class Counted:
        def __iter__(self):
            reads.append(1)
            return iter(FromLevels(drawn(5)))

    known = known_of(networks, settings, drawn(5), plan)
    video = PlacedVideo(Counted(), OnCanvas(FromLevels(drawn(5)), CANVAS), CANVAS, RATE)
    counted = read_known(networks, settings, TEXT, video, plan, torch.zeros(5, *CELLS))
    assert reads == [1] and torch.equal(counted.masked_latents, known.masked_latents)
    placed, _ = stack_placed(placed_frames(5))
    assert torch.equal(known.masked_latents, encode(networks.vae, placed, torch.zeros(5, *CELLS)))
