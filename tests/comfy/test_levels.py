"""Sampling by levels of key frames in a real ComfyUI: the plain sampler, clip by clip."""

import copy

import comfy_pack
import pytest
import torch

comfy_pack.load_pack()

import comfy.model_management  # noqa: E402
import comfy.nested_tensor  # noqa: E402
import comfy.utils  # noqa: E402
import core_models as models  # noqa: E402
from comfy_extras.nodes_custom_sampler import Noise_EmptyNoise, Noise_RandomNoise  # noqa: E402
from level_runs import SEED, Recorder, random, sample_by_levels, sample_plainly  # noqa: E402
from threads import one_thread  # noqa: E402, F401 - a fixture

from canvas_core.sampling.noise import share_noise  # noqa: E402

windows_adapter = comfy_pack.part("nodes.adapters.windows")
time_adapter = comfy_pack.part("nodes.adapters.time_windows")
span_of = comfy_pack.part("nodes.adapters.clip_conds").span_of
core = comfy_pack.part("canvas_core.plan.windows")
errors = comfy_pack.part("canvas_core.errors")
plan_levels = comfy_pack.part("canvas_core.plan.keyframes").plan_levels
Box = comfy_pack.part("canvas_core.plan.boxes").Box

FRAMES, H, W = 7, 13, 19
ANCHOR = Box(16, 24, 56, 72)
SETTINGS = core.WindowSettings(window=64, overlap=16, frames=64)
PLAN = plan_levels(FRAMES, (3, 1), 4, 1)
"""Frames 0 3 6, then 0-3, then 3-6."""
ONE_CLIP = plan_levels(FRAMES, (1,), FRAMES)


@pytest.fixture(scope="module")
def canvas_model(tmp_path_factory):
    return models.canvas_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def sharing_model(tmp_path):
    model = models.canvas_model(tmp_path)
    model.model.model_sampling.noise_share = 0.6
    return model


def latents(frames=FRAMES):
    return {"samples": random(frames, 4, H, W, seed=8), "batch_index": list(range(3, 3 + frames))}


def hidden_pixels(rows):
    """A mask in pixels, [rows, h, w], whose known part differs from row to row."""
    mask = torch.ones(rows, H * 8, W * 8)
    for row in range(rows):
        mask[row, :, : 40 + 8 * row] = 0
    return mask


def core_guider(model=None, **values):
    return Recorder(model or models.core_model(), models.conditioning(1, **values), models.conditioning(2, **values))


def canvas_guider(model, plan=PLAN, rows=1, **changes):
    """A guider of the Follow-Your-Canvas model with tokens for each clip of the plan."""
    spans = [span_of(clip.frames) for clip in plan.clips]
    known = random(plan.length, 4, H, W, seed=6), hidden_pixels(rows)
    conds = [models.canvas_conditioning(seed, spans, ANCHOR, known=known) for seed in (1, 2)]
    for cond in conds:
        cond[0][1].update(changes)
    return Recorder(model, *conds)


def record_inputs(model):
    """The MODEL and a list that fills with what the network is given."""
    patched, calls = model.clone(), []

    def keep(executor, x, timesteps, context, control, options, **kwargs):
        calls.append((x.clone(), kwargs))
        return executor(x, timesteps, context, control, options, **kwargs)

    patched.add_wrapper_with_key("diffusion_model", "record", keep)
    return patched, calls


GUIDERS = {
    "core": lambda canvas, sharing: core_guider(),
    "canvas in windows": lambda canvas, sharing: canvas_guider(
        windows_adapter.apply_windows(canvas, SETTINGS), ONE_CLIP
    ),
    "shared noise": lambda canvas, sharing: canvas_guider(sharing, ONE_CLIP, FRAMES),
}


@pytest.mark.parametrize("rows", [0, 1, FRAMES])
@pytest.mark.parametrize("kind", GUIDERS)
def test_one_clip_is_the_plain_sampler_bit_for_bit(canvas_model, sharing_model, kind, rows):
    guider = GUIDERS[kind](canvas_model, sharing_model)
    latent = latents() | ({"noise_mask": hidden_pixels(rows)} if rows else {})
    for ours, plain in zip(sample_by_levels(guider, ONE_CLIP, latent), sample_plainly(guider, latent), strict=True):
        assert torch.equal(ours["samples"], plain["samples"])
        assert ours.keys() == plain.keys()
        assert ours["batch_index"] == latent["batch_index"]


@pytest.mark.parametrize("sampler", ["euler_ancestral", "dpmpp_2m_sde", "ddim", "heun"])
def test_one_clip_is_the_plain_sampler_with_other_samplers(sampler):
    latent = latents() | {"noise_mask": hidden_pixels(1)}
    ours, plain = (
        sample_by_levels(core_guider(), ONE_CLIP, latent, sampler),
        sample_plainly(core_guider(), latent, sampler),
    )
    assert torch.equal(ours[0]["samples"], plain[0]["samples"])
    assert torch.equal(ours[1]["samples"], plain[1]["samples"])


PLANS = {
    "two levels": (7, (3, 1), 4, 1),
    "three levels": (17, (8, 4, 1), 5, 2),
    "no overlap": (7, (3, 1), 3, 0),
    "single frames": (5, (2, 1), 1, 0),
    "one frame": (1, (1,), 16, 1),
}


@pytest.mark.parametrize("arguments", PLANS.values(), ids=PLANS)
def test_every_frame_is_finished_once_and_guides_stay(arguments):
    plan, guider = plan_levels(*arguments), core_guider()
    output, denoised = (out["samples"] for out in sample_by_levels(guider, plan, latents(plan.length)))
    assert len(guider.runs) == len(plan.clips)
    finished = {}
    for clip, run in zip(plan.clips, guider.runs, strict=True):
        for slot in clip.guides:
            assert torch.equal(run.latents[slot], finished[clip.frames[slot]])
            assert (run.result[slot] - finished[clip.frames[slot]]).abs().max() < 1e-6
        clean = run.model.model.process_latent_out(run.x0)
        for slot in clip.writes:
            frame = clip.frames[slot]
            finished[frame] = run.result[slot]
            assert torch.equal(output[frame], run.result[slot])
            assert torch.equal(denoised[frame], clean[slot])
            assert (output[frame] - latents(plan.length)["samples"][frame]).abs().max() > 0.1
    assert len(finished) == plan.length


def test_frames_without_a_guide_start_from_their_own_latent():
    guider, latent = core_guider(), latents()
    sample_by_levels(guider, PLAN, latent)
    for clip, run in zip(PLAN.clips, guider.runs, strict=True):
        for slot in clip.writes:
            assert torch.equal(run.latents[slot], latent["samples"][clip.frames[slot]])


def test_known_pixels_stay():
    mask = (torch.arange(H)[:, None] + torch.arange(W) > 14).float().expand(FRAMES, -1, -1).clone()
    mask[4] = 1 - mask[4]
    latent = latents() | {"noise_mask": mask}
    output = sample_by_levels(core_guider(), PLAN, latent)[0]
    change = (output["samples"] - latent["samples"]).abs().amax(1)
    assert change[mask == 0].max() < 1e-5
    assert change[mask == 1].mean() > 0.1
    assert torch.equal(output["noise_mask"], mask)


@pytest.mark.parametrize("rows", [0, 1, 3, FRAMES])
def test_guides_and_known_pixels_are_held_and_nothing_else(rows):
    """A mask with fewer rows than frames repeats, as core repeats it."""
    guider, mask = core_guider(), hidden_pixels(rows) if rows else None
    sample_by_levels(guider, PLAN, latents() | ({"noise_mask": mask} if rows else {}))
    for clip, run in zip(PLAN.clips, guider.runs, strict=True):
        if not rows and not clip.guides:
            assert run.mask is None
            continue
        for slot, frame in enumerate(clip.frames):
            own = mask[frame % rows] if rows else torch.ones(H, W)
            assert torch.equal(run.mask[slot, 0], own * (slot not in clip.guides))


def test_noise_of_a_frame_is_the_same_in_every_level():
    guider, latent = core_guider(), latents()
    sample_by_levels(guider, PLAN, latent)
    noise = Noise_RandomNoise(SEED).generate_noise(latent)
    for clip, run in zip(PLAN.clips, guider.runs, strict=True):
        assert torch.equal(run.noise, noise[list(clip.frames)])


def test_noise_is_shared_once_for_the_whole_clip(sharing_model):
    recorded, calls = record_inputs(sharing_model)
    latent = {"samples": torch.zeros(FRAMES, 4, H, W)}
    sample_by_levels(canvas_guider(recorded), PLAN, latent, steps=1)
    noise = Noise_RandomNoise(SEED).generate_noise(latent)
    shared = share_noise(noise, 0.6)
    assert (shared - noise).abs().max() > 0.1
    for clip, (x, _) in zip(PLAN.clips, calls, strict=True):
        for part in x[:, :4].split(len(clip.frames)):  # positive and negative
            assert (part - shared[list(clip.frames)]).abs().max() < 1e-2
    assert sharing_model.get_model_object("model_sampling").noise_share == 0.6


def test_after_levels_a_model_shares_its_noise_as_before(sharing_model):
    before = sample_plainly(canvas_guider(sharing_model, ONE_CLIP), latents())[0]["samples"]
    sample_by_levels(canvas_guider(sharing_model), PLAN, latents())
    after = sample_plainly(canvas_guider(sharing_model, ONE_CLIP), latents())[0]["samples"]
    assert torch.equal(before, after)


def test_samplers_that_add_noise_run_and_each_clip_gets_its_own():
    guider = core_guider()
    output = sample_by_levels(guider, PLAN, latents(), "euler_ancestral")[0]["samples"]
    assert torch.isfinite(output).all()
    seeds = [run.seed for run in guider.runs]
    assert seeds[0] == SEED and len(set(seeds)) == len(seeds)


def test_seeds_stay_within_their_range():
    guider = core_guider()
    noise = Noise_EmptyNoise()
    noise.seed = 2**64 - 1
    sample_by_levels(guider, PLAN, latents(), noise=noise)
    assert [run.seed for run in guider.runs] == [2**64 - 1, 0, 1]


@pytest.mark.parametrize("rows", [1, FRAMES])
def test_an_inpainting_model_is_told_that_guides_are_known(canvas_model, rows):
    recorded, calls = record_inputs(canvas_model)
    guider = canvas_guider(recorded, rows=rows)
    output = sample_by_levels(guider, PLAN, latents(), steps=1)[0]["samples"]
    known, cells = random(FRAMES, 4, H, W, seed=6), hidden_pixels(rows)[:, ::8, ::8]
    for clip, (x, _) in zip(PLAN.clips, calls, strict=True):
        for part in x.split(len(clip.frames)):
            for slot, frame in enumerate(clip.frames):
                told = output[frame] if slot in clip.guides else known[frame]
                mask = torch.zeros(H, W) if slot in clip.guides else cells[frame % rows]
                assert (part[slot, 5:] - told * 0.18215).abs().max() < 1e-5
                assert torch.equal(part[slot, 4], mask)


def test_known_latents_of_another_size_are_scaled_for_guides(canvas_model):
    recorded, calls = record_inputs(canvas_model)
    small = random(1, 4, H // 2, W // 2, seed=3)
    guider = canvas_guider(recorded, concat_latent_image=small)
    output = sample_by_levels(guider, PLAN, latents(), steps=1)[0]["samples"]
    scaled = comfy.utils.common_upscale(small, W, H, "bilinear", "center")[0]
    clip, (x, _) = PLAN.clips[1], calls[1]
    for slot, frame in enumerate(clip.frames):
        told = output[frame] if slot in clip.guides else scaled
        assert (x[slot, 5:] - told * 0.18215).abs().max() < 1e-5


def test_a_picture_without_a_mask_is_no_known_area():
    """Edit models are told another picture under the same name."""
    picture = random(FRAMES, 4, H, W, seed=2)
    guider = core_guider(concat_latent_image=picture)
    sample_by_levels(guider, PLAN, latents())
    for clip, run in zip(PLAN.clips, guider.runs, strict=True):
        assert torch.equal(run.conds["positive"][0]["concat_latent_image"], picture[list(clip.frames)])


def test_the_stride_reaches_the_model(canvas_model):
    recorded, calls = record_inputs(canvas_model)
    plan = plan_levels(FRAMES, (6, 2, 1), 4, 1)
    guider = canvas_guider(recorded, plan)
    for group in guider.original_conds.values():
        group[0]["canvas"] = copy.copy(group[0]["canvas"])
        object.__setattr__(group[0]["canvas"], "fps", 3)
    sample_by_levels(guider, plan, latents(), steps=1)
    assert [kwargs["fps"].unique().tolist() for _, kwargs in calls] == [[min(16, 3 * c.stride)] for c in plan.clips]


def test_each_clip_gets_the_tokens_of_its_frames(canvas_model):
    recorded, calls = record_inputs(canvas_model)
    guider = canvas_guider(recorded)
    tokens = [guider.original_conds[name][0]["canvas"].tokens for name in ("positive", "negative")]
    sample_by_levels(guider, PLAN, latents(), steps=1)
    for clip, (_, kwargs) in zip(PLAN.clips, calls, strict=True):
        seen = {rows[0].sum().item() for rows in kwargs["layout"].split(len(clip.frames))}
        assert seen == {group[span_of(clip.frames)].sum().item() for group in tokens}


def assert_close(ours, expected):
    assert (ours - expected).abs().max() < 1e-5 * expected.abs().max()


def test_windows_in_space_change_nothing_for_a_model_of_single_cells():
    model = models.core_model(kernel=1)
    whole = sample_by_levels(core_guider(model), PLAN, latents())[0]["samples"]
    tiled = windows_adapter.apply_windows(model, SETTINGS)
    assert_close(sample_by_levels(core_guider(tiled), PLAN, latents())[0]["samples"], whole)


def test_clips_longer_than_a_time_window_are_cut_by_it():
    model = models.core_model(kernel=1)
    plan = plan_levels(FRAMES, (2, 1), 6, 1)
    whole = sample_by_levels(core_guider(model), plan, latents())[0]["samples"]
    cut = time_adapter.apply_time_windows(model, core.WindowSettings(window=64, overlap=16, frames=3, frame_overlap=1))
    assert_close(sample_by_levels(core_guider(cut), plan, latents())[0]["samples"], whole)


def test_one_bar_that_only_rises(monkeypatch):
    bars, values = [], []

    class Bar:
        def __init__(self, total, node_id=None):
            bars.append(total)

        def update_absolute(self, value, total=None, preview=None):
            values.append((value, total))

    monkeypatch.setattr(comfy.utils, "ProgressBar", Bar)
    sample_by_levels(core_guider(), PLAN, latents(), steps=4)
    assert bars == [12]
    assert values == [(step, 12) for step in range(1, 13)]


def test_a_sampler_with_steps_of_its_own_stays_in_its_part_of_the_bar(monkeypatch):
    values = []
    monkeypatch.setattr(
        comfy.utils.ProgressBar, "update_absolute", lambda self, value, total=None, preview=None: values.append(value)
    )
    sample_by_levels(core_guider(), PLAN, latents(), "dpm_adaptive", steps=2)
    assert values == sorted(values) and values[-1] <= 6


def test_cancelling_between_clips(monkeypatch):
    guider = core_guider()

    def cancel():
        if len(guider.runs) == 2:
            raise comfy.model_management.InterruptProcessingException

    monkeypatch.setattr(comfy.model_management, "throw_exception_if_processing_interrupted", cancel)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        sample_by_levels(guider, PLAN, latents())
    assert len(guider.runs) == 2


def frames_without_holes(*frames):
    mask = hidden_pixels(FRAMES)
    mask[list(frames)] = 0
    return mask


def test_a_clip_with_nothing_hidden_is_known_and_not_sampled(canvas_model, monkeypatch):
    """Its frames are what the model would be told; they guide what follows."""
    bars = []
    monkeypatch.setattr(comfy.utils.ProgressBar, "__init__", lambda self, total, node_id=None: bars.append(total))
    monkeypatch.setattr(comfy.utils.ProgressBar, "update_absolute", lambda *args, **kwargs: None)
    guider = canvas_guider(canvas_model, concat_mask=frames_without_holes(1, 2, 4)[:, None])
    output, denoised = (out["samples"] for out in sample_by_levels(guider, PLAN, latents()))
    known = random(FRAMES, 4, H, W, seed=6)
    assert len(guider.runs) == 2 and bars == [6]
    assert torch.equal(output[[1, 2]], known[[1, 2]]) and torch.equal(denoised[[1, 2]], known[[1, 2]])
    assert not torch.equal(output[4], known[4])  # it shares its clip with a frame that has holes
    assert torch.equal(guider.runs[1].latents[1], latents()["samples"][4])


def test_that_nothing_is_hidden_at_all_is_for_the_model_to_say(canvas_model):
    guider = canvas_guider(canvas_model, concat_mask=torch.zeros(1, H * 8, W * 8))
    with pytest.raises(errors.ConditioningError, match="the mask is empty"):
        sample_by_levels(guider, PLAN, latents())


def test_no_sigmas_give_the_latent_back():
    guider, latent = core_guider(), latents() | {"noise_mask": hidden_pixels(1)}
    for out in sample_by_levels(guider, PLAN, latent, sigmas=torch.FloatTensor([])):
        assert torch.equal(out["samples"], latent["samples"]) and out.keys() == latent.keys()
    assert not guider.runs


def test_an_empty_latent_is_fitted_to_the_model():
    latent = {"samples": torch.zeros(FRAMES, 16, H, W), "downscale_ratio_spacial": 16}
    output, plain = sample_by_levels(core_guider(), ONE_CLIP, latent)[0], sample_plainly(core_guider(), latent)[0]
    assert output["samples"].shape == (FRAMES, 4, H * 2, W * 2)
    assert torch.equal(output["samples"], plain["samples"]) and output.keys() == plain.keys()


def test_inputs_stay_as_they_are(canvas_model):
    latent = latents() | {"noise_mask": hidden_pixels(FRAMES)}
    guider = canvas_guider(canvas_model, rows=FRAMES)
    tensors = [latent["samples"], latent["noise_mask"]]
    conds = [cond for group in guider.original_conds.values() for cond in group]
    tensors += [value for cond in conds for value in cond.values() if isinstance(value, torch.Tensor)]
    before, values = [tensor.clone() for tensor in tensors], [dict(cond) for cond in conds]
    sample_by_levels(guider, PLAN, latent)
    assert all(torch.equal(a, b) for a, b in zip(tensors, before, strict=True))
    assert all(cond[key] is value for cond, kept in zip(conds, values, strict=True) for key, value in kept.items())
    assert latent.keys() == {"samples", "batch_index", "noise_mask"}
    assert guider.model_patcher is canvas_model


class Failing(Recorder):
    """Gives NaN in its third run."""

    def sample(self, *args, **kwargs):
        result = super().sample(*args, **kwargs)
        return result * torch.nan if len(self.runs) == 3 else result


def nested():
    return comfy.nested_tensor.NestedTensor([torch.zeros(FRAMES, 4, H, W), torch.zeros(FRAMES, 8)])


BROKEN = {
    "start": (torch.full((FRAMES, 4, H, W), torch.nan), PLAN, "the start latent holds values that are not finite"),
    "result": (latents()["samples"], PLAN, "clip 3 of 3, frames 3-6 of the level with stride 1, holds values that are"),
    "length": (latents()["samples"], plan_levels(9, (3, 1)), "the plan is for 9 frames, but the latent has 7; set"),
    "video": (random(1, 16, FRAMES, H, W), PLAN, r"of shape \(1, 16, 7, 13, 19\), but levels need one latent for"),
    "packed": (nested(), PLAN, "the latent is several packed streams, but levels need one latent for each frame"),
}


@pytest.mark.parametrize(("samples", "plan", "message"), BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_sampled_is_refused(samples, plan, message):
    guider = Failing(models.core_model(), models.conditioning(1), models.conditioning(2))
    with pytest.raises(errors.SamplingError, match=message) as caught:
        sample_by_levels(guider, plan, {"samples": samples})
    assert "\n" not in str(caught.value)
