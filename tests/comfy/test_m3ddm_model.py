"""M3DDM as a plain MODEL of a real ComfyUI: the same as the headless engine within rounding."""

import math
from dataclasses import replace
from types import SimpleNamespace

import comfy_pack
import pytest
import torch

comfy_pack.load_pack()

import comfy.controlnet  # noqa: E402
import comfy.hooks  # noqa: E402
import comfy.model_management  # noqa: E402
import comfy.samplers  # noqa: E402
import comfy.sd  # noqa: E402
import core_models as models  # noqa: E402
import tiny  # noqa: E402
from threads import one_thread  # noqa: E402, F401 - a fixture

from canvas_core.pixels.placing import generation_mask  # noqa: E402
from canvas_core.plan.boxes import Box as HeadlessBox  # noqa: E402
from canvas_core.plan.windows import WindowSettings as HeadlessWindows  # noqa: E402
from canvas_core.sampling.denoise import Start  # noqa: E402
from canvas_core.sampling.tiling import Window, predict_canvas  # noqa: E402
from canvas_core.systems.checkpoint import open_checkpoint  # noqa: E402
from canvas_core.systems.m3ddm.conditions import M3DDMClip, Scales, tell  # noqa: E402
from canvas_core.systems.system import load_network  # noqa: E402

adapter = comfy_pack.part("nodes.adapters.m3ddm.known")
guider_adapter = comfy_pack.part("nodes.adapters.m3ddm.guider")
layout_guider = comfy_pack.part("nodes.adapters.follow_your_canvas.guider").TextLayoutGuider
loader = comfy_pack.part("nodes.adapters.model")
windows_adapter = comfy_pack.part("nodes.adapters.windows")
time_adapter = comfy_pack.part("nodes.adapters.time_windows")
canvas_core = comfy_pack.part("canvas_core.plan.boxes")
core = comfy_pack.part("canvas_core.plan.windows")
errors = comfy_pack.part("canvas_core.errors")

FRAMES, H, W = 5, 13, 19
ANCHOR = canvas_core.Box(16, 24, 56, 72)
SCALE = 0.18215
WINDOW = {"window": 64, "overlap": 16, "frames": 3, "frame_overlap": 1}
SETTINGS = core.WindowSettings(**WINDOW)
TIME = 437
LORA = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """As published, with weights that make the global frames count as much as the context."""
    path = tiny.write_m3ddm(tmp_path_factory.mktemp("m3ddm"))
    tensors = torch.load(path / "diffusion_pytorch_model.bin", weights_only=True)
    for key, value in tensors.items():
        if key.endswith("normalization.weight"):
            value *= 2.1
        if key.endswith("running_var"):
            value += 0.07
        if key.endswith(("transformer_blocks.0.attn2.to_k.weight", "transformer_blocks.0.attn2.to_v.weight")):
            value *= 4
    torch.save(tensors, path / "diffusion_pytorch_model.bin")
    return path


@pytest.fixture(scope="module")
def model(folder):
    return loader.load_canvas_model(str(folder / "diffusion_pytorch_model.bin"))


@pytest.fixture(scope="module")
def unet(folder):
    return load_network(open_checkpoint(folder))


def random(*shape, seed=9):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


KNOWN, BLACK, SEEN = (
    random(FRAMES, 4, H, W, seed=8) * 5,
    random(1, 4, H, W, seed=7) * 5,
    random(3, 4, 12, 12, seed=6) * 5,
)
"""Latents as a VAE makes them: of the known pixels, of a black frame, of three global frames."""


def pixel_mask():
    """[F, 1, H, W] of pixels; more is known from frame to frame."""
    mask = generation_mask(canvas_core.Size(H * 8, W * 8), ANCHOR).repeat(FRAMES, 1, 1)
    for frame in range(FRAMES):
        mask[frame, : 16 + 8 * frame] = 0
    return mask[:, None]


def conds(fps=24.0):
    """Positive and negative, as Canvas Global Frames makes them."""
    context = adapter.GlobalContext(SEEN, fps)
    positive = {"concat_latent_image": KNOWN, "concat_mask": pixel_mask(), "canvas": context}
    negative = {
        "concat_latent_image": BLACK.expand_as(KNOWN),
        "concat_mask": torch.ones_like(pixel_mask()),
        "canvas": context.nulled(),
    }
    return [[[torch.zeros(1, 1, 1), values]] for values in (positive, negative)]


def changed(cond, **values):
    return [[cond[0][0], cond[0][1] | values]]


def clip(unet, fps=24.0, scales=(2.0, 4.0)):
    """The same for the headless engine."""
    seen, known, mask = SEEN[None] * SCALE, KNOWN * SCALE, pixel_mask()[..., ::8, ::8]
    return M3DDMClip(
        unet,
        Start(torch.zeros_like(known), 1.0),
        nothing=tell(BLACK.expand_as(known) * SCALE, torch.ones_like(mask), {}),
        context=tell(known, mask, {}),
        keys=unet.encode_global(seen),
        null_keys=unet.encode_global(torch.zeros_like(seen)),
        fps=fps,
        scales=Scales(*scales),
    )


def predict_branches(clip, x):
    """What the headless engine predicts for the whole canvas in one window, a row [F, 4, h, w] for each branch."""
    whole = Window(range(FRAMES), HeadlessBox(0, 0, H, W))
    return clip.predict(x[None], torch.tensor(TIME), [whole])[:, 0]


def guided_by(model, positive, negative=None, cfg=1.0):
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(positive, negative or positive)
    guider.set_cfg(cfg)
    return guider


def predict(guider, time=TIME):
    """The noise that a GUIDER predicts, and the input at which the headless engine predicts the same."""
    sampling = guider.model_patcher.get_model_object("model_sampling")
    sigma = sampling.sigmas[time]

    def once(model, x, sigmas, extra_args=None, **kwargs):
        return (x - model(x, sigma.expand(len(x)), **extra_args)) / sigma

    noise = random(FRAMES, 4, H, W)
    sigmas = torch.stack([sigma, torch.zeros(())])
    sampled = guider.sample(noise, torch.zeros_like(noise), comfy.samplers.KSAMPLER(once), sigmas, disable_pbar=True)
    return sampled * SCALE, noise * sigma / (1 + sigma**2).sqrt()


def assert_close(ours, expected, tolerance=1e-4):
    assert (ours - expected).abs().max() < tolerance * expected.abs().max()


def record_calls(model):
    """The MODEL and a list that fills with the arguments of every call of the network."""
    patched, calls = model.clone(), []

    def keep(executor, x, timesteps, context, control, options, **kwargs):
        calls.append({"x": x, "time": timesteps, "options": dict(options), **kwargs})
        return executor(x, timesteps, context, control, options, **kwargs)

    patched.add_wrapper_with_key("diffusion_model", "record", keep)
    return patched, calls


def count_encodings(model, monkeypatch):
    """A list that fills with the latents of every encoding of global frames."""
    network, made = model.model.diffusion_model, []
    encode = network.encode_global
    monkeypatch.setattr(network, "encode_global", lambda latents: (made.append(latents), encode(latents))[1])
    return made


def alone(model, monkeypatch):
    """Core finds no memory to evaluate two conditions or windows at once."""
    monkeypatch.setattr(model.model, "memory_required", lambda *args, **kwargs: math.inf)


@pytest.mark.parametrize("branch", ["null", "context", "both"])
def test_the_prediction_is_the_headless_one(model, unet, branch):
    positive, negative = conds()
    told = {
        "null": negative,
        "context": changed(positive, canvas=positive[0][1]["canvas"].nulled()),
        "both": positive,
    }
    ours, x = predict(guided_by(model, told[branch]))
    branches = predict_branches(clip(unet), x)
    assert_close(ours, dict(zip(told, branches, strict=True))[branch])
    assert min((a - b).abs().max() for a, b in zip(branches, branches[1:], strict=False)) > 1e-2


@pytest.mark.parametrize("scales", [(2.0, 4.0), (1.5, 0.0), (0.0, 3.0)])
def test_the_guider_is_the_headless_formula(model, unet, scales):
    recorded, calls = record_calls(model)
    ours, x = predict(guider_adapter.ContextGlobalGuider(recorded, *conds(), *scales))
    told = clip(unet, scales=scales)
    assert_close(ours, told.combine(predict_branches(told, x)))
    run = sorted(index for call in calls for index in call["options"]["cond_or_uncond"])
    assert run == ([0, 1, 2] if scales[1] else [0, 1])


def test_the_guider_keeps_its_conditions_where_core_does(model):
    guider = guider_adapter.ContextGlobalGuider(model, *conds(), 2.0, 4.0)
    contexts = {name: group[0]["canvas"] for name, group in guider.original_conds.items()}
    assert {name: context.null for name, context in contexts.items()} == {"null": True, "context": True, "both": False}
    for group in guider.original_conds.values():
        group[0]["concat_mask"] = torch.ones_like(group[0]["concat_mask"])
    masked, _ = predict(guider)
    expected, _ = predict(guider_adapter.ContextGlobalGuider(model, *conds(), 2.0, 4.0))
    assert (masked - expected).abs().max() > 1e-3


def test_the_guider_runs_patches_of_others(model):
    patched, seen = model.clone(), []
    patched.set_model_sampler_post_cfg_function(lambda args: (seen.append(args["cond_scale"]), args["denoised"] * 2)[1])
    guider = guider_adapter.ContextGlobalGuider(patched, *conds(), 2.0, 4.0)
    doubled = models.sample(patched, random(FRAMES, 4, H, W), None, None, steps=1, guider=guider)
    assert seen == [2.0]
    plain = guider_adapter.ContextGlobalGuider(model, *conds(), 2.0, 4.0)
    assert_close(doubled, 2 * models.sample(model, random(FRAMES, 4, H, W), None, None, steps=1, guider=plain))


def test_windows_are_the_headless_ones(model, unet):
    patched = windows_adapter.apply_windows(model, SETTINGS)
    ours, x = predict(guider_adapter.ContextGlobalGuider(patched, *conds(), 2.0, 4.0))
    told, settings = clip(unet), HeadlessWindows(WINDOW["window"], WINDOW["overlap"])
    expected = predict_canvas(told, settings, x, torch.tensor(TIME))
    assert_close(ours, expected)
    assert (expected - told.combine(predict_branches(told, x))).abs().max() > 1e-3


@pytest.mark.parametrize("patch", [lambda m: m, lambda m: windows_adapter.apply_windows(m, SETTINGS)])
def test_conditions_evaluated_together_or_alone_are_equal(model, patch, monkeypatch):
    recorded, calls = record_calls(patch(model))
    together, _ = predict(guided_by(recorded, *conds(), cfg=3.0))
    assert len(calls) == 1
    assert len({id(one) for one in calls[0]["seen"]}) == 2
    alone(model, monkeypatch)
    calls.clear()
    one_by_one, _ = predict(guided_by(recorded, *conds(), cfg=3.0))
    assert len(calls) > 1
    assert_close(together, one_by_one)


def test_time_windows_cut_what_is_known_but_not_the_global_frames(model):
    recorded, calls = record_calls(time_adapter.apply_time_windows(model, SETTINGS))
    predict(guided_by(recorded, conds()[0]))
    plan = SETTINGS.plan_frames(FRAMES)
    assert len(calls) == len(plan) > 1
    for call, span in zip(calls, plan, strict=True):
        assert len(call["x"]) == len(call["fps"]) == len(span)
        assert_close(call["x"][:, 4:8], KNOWN[span.start : span.stop] * SCALE, 1e-6)
        assert torch.equal(call["x"][:, 8:], pixel_mask()[span.start : span.stop, :, ::8, ::8])
        assert call["seen"] == calls[0]["seen"]


def test_global_frames_are_encoded_once_a_run(model, monkeypatch):
    made = count_encodings(model, monkeypatch)
    patched = windows_adapter.apply_windows(time_adapter.apply_time_windows(model.clone(), SETTINGS), SETTINGS, 1)
    for runs in (1, 2):
        guider = guider_adapter.ContextGlobalGuider(patched, *conds(), 2.0, 4.0)
        models.sample(patched, random(FRAMES, 4, H, W), None, None, steps=2, guider=guider)
        assert len(made) == 3 * runs
        assert not model.model.diffusion_model._kept
    assert [bool(latents.any()) for latents in made].count(True) == 2
    assert_close(made[[latents.any().item() for latents in made].index(True)], SEEN[None] * SCALE, 1e-6)


def test_nothing_is_kept_after_an_error(model):
    broken = model.clone()
    broken.set_model_sampler_post_cfg_function(lambda args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        models.sample(broken, random(FRAMES, 4, H, W), *conds(), steps=1)
    assert not model.model.diffusion_model._kept


def key_lora():
    return {f"{LORA}.lora_up.weight": random(16, 2) * 9, f"{LORA}.lora_down.weight": random(2, 16)}


def test_a_lora_on_the_keys_comes_and_goes(model):
    patched, _ = comfy.sd.load_lora_for_models(model, None, key_lora(), 1.0, 0.0)
    run = [predict(guided_by(each, conds()[0]))[0] for each in (model, patched, model)]
    assert (run[0] - run[1]).abs().max() > 1e-3
    assert torch.equal(run[0], run[2])


def test_one_conditioning_serves_runs_with_other_weights(model):
    """What a run has made of a conditioning does not stay with it."""
    patched, _ = comfy.sd.load_lora_for_models(model, None, key_lora(), 1.0, 0.0)
    positive, _ = conds()
    run = [predict(guided_by(each, positive))[0] for each in (model, patched)]
    assert torch.equal(run[1], predict(guided_by(patched, conds()[0]))[0])
    assert not torch.equal(run[0], run[1])


def test_hooks_that_change_the_weights_change_the_keys(model, monkeypatch):
    """A LoRA that is switched on half-way."""
    hooks = comfy.hooks.create_hook_lora(key_lora(), 1.0, 0.0)
    times = comfy.hooks.HookKeyframeGroup()
    times.add(comfy.hooks.HookKeyframe(strength=0.0, start_percent=0.0))
    times.add(comfy.hooks.HookKeyframe(strength=1.0, start_percent=0.5))
    hooks.set_keyframes_on_hooks(times)
    positive, _ = conds()
    made = count_encodings(model, monkeypatch)
    hooked = comfy.hooks.set_hooks_for_conditioning(positive, hooks)
    models.sample(model, random(FRAMES, 4, H, W), hooked, hooked, steps=4, cfg=1.0)
    assert len(made) == 4


def test_a_rate_is_told_as_a_whole_number(model):
    recorded, calls = record_calls(model)
    predict(guided_by(recorded, conds(29.97)[0]))
    assert calls[0]["fps"].tolist() == [30] * FRAMES
    assert not calls[0]["fps"].is_floating_point()


def clip_of(frames, stride):
    plan = comfy_pack.part("canvas_core.plan.keyframes").plan_levels(1, (1,))
    return replace(plan.clips[0], frames=frames, stride=stride)


@pytest.mark.parametrize("stride", [1, 5, 30])
def test_the_rate_of_a_level_reaches_the_network(model, unet, stride):
    recorded, calls = record_calls(model)
    positive, _ = conds(29.97)
    told = positive[0][1]["canvas"].of_clip(clip_of((0, stride, 2 * stride), stride), KNOWN)
    ours, x = predict(guided_by(recorded, changed(positive, canvas=told)))
    expected = {1: 30, 5: 6, 30: 1}[stride]
    assert calls[0]["fps"].tolist() == [expected] * FRAMES
    assert_close(ours, predict_branches(clip(unet, float(expected)), x)[2])
    assert (told.null, told.latents) == (False, positive[0][1]["canvas"].latents)


def test_a_level_keeps_what_is_null():
    context = adapter.GlobalContext(SEEN, 24.0).nulled().of_clip(clip_of((0, 5), 5), KNOWN)
    assert context == context
    assert (context.null, context.fps) == (True, 5.0)
    assert "tensor" not in repr(context)


@pytest.mark.parametrize("shape", ["pixels", "one for all", "no channel", "cells"])
def test_masks_of_pixels_and_cells(model, shape):
    recorded, calls = record_calls(model)
    masks = {
        "pixels": pixel_mask() * 0.3,  # slightly hidden is hidden
        "one for all": pixel_mask()[:1],
        "no channel": pixel_mask()[:, 0],
        "cells": pixel_mask()[..., ::8, ::8],
    }
    predict(guided_by(recorded, changed(conds()[0], concat_mask=masks[shape])))
    expected = pixel_mask()[..., ::8, ::8]
    assert torch.equal(calls[0]["x"][:, 8:], expected[:1].expand_as(expected) if shape == "one for all" else expected)


@pytest.mark.parametrize(("sampler", "scheduler"), [("ipndm", "normal"), ("euler", "simple"), ("dpmpp_2m", "karras")])
def test_core_s_samplers_run(model, sampler, scheduler):
    guider = guider_adapter.ContextGlobalGuider(model, *conds(), 2.0, 4.0)
    out = models.sample(model, random(FRAMES, 4, H, W), None, None, sampler, scheduler, 3, guider=guider)
    assert torch.isfinite(out).all()
    assert out.std() > 1e-3


def test_the_schedule_is_stable_diffusion_s(model):
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    alphas = (1 - betas).cumprod(0)
    sigmas = model.get_model_object("model_sampling").sigmas.double()
    assert (sigmas - ((1 - alphas) / alphas).sqrt()).abs().max() < 1e-4


def counters(model):
    return [value for key, value in model.model.diffusion_model.state_dict().items() if "num_batches" in key]


def test_half_weights_give_the_same(folder, model, monkeypatch):
    """The published weights are float16, so nothing is lost when they are kept so."""
    monkeypatch.setattr(comfy.model_management, "unet_dtype", lambda **kwargs: torch.float16)
    half = loader.load_canvas_model(str(folder))
    assert half.model.diffusion_model.conv_in.weight.dtype == torch.float16
    assert {value.dtype for value in counters(half)} == {torch.int64}
    assert_close(predict(guided_by(half, conds()[0]))[0], predict(guided_by(model, conds()[0]))[0])


def test_weights_in_eight_bits_keep_recorded_variances(folder, model):
    small = loader.load_canvas_model(str(folder), "fp8_e4m3fn")
    network, whole = small.model.diffusion_model, model.model.diffusion_model
    assert network.conv_in.weight.dtype == torch.float8_e4m3fn
    name = "global_img_encoder.resnet_layer.0.layers.0.layer.0.normalization"
    for kind in ("running_var", "running_mean", "weight"):
        assert torch.equal(*(getattr(each.get_submodule(name), kind).float() for each in (network, whole)))
    assert {value.dtype for value in counters(small)} == {torch.int64}
    assert torch.isfinite(predict(guided_by(small, conds()[0]))[0]).all()


def test_the_patcher_can_be_made_again(model):
    make, arguments = model.cached_patcher_init
    again = make(*arguments, disable_dynamic=True)
    assert torch.equal(again.model.diffusion_model.conv_in.weight, model.model.diffusion_model.conv_in.weight)
    assert_close(predict(guided_by(again, conds()[0]))[0], predict(guided_by(model, conds()[0]))[0], 1e-6)


def layout():
    return models.canvas_conditioning(1, [range(FRAMES)], ANCHOR)[0][1]["canvas"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("canvas"), "no global frames; put Canvas Global Frames"),
        (
            lambda c: c.update(canvas=layout()),
            r"no global frames \(but what another canvas model reads\); put Canvas Global",
        ),
        (lambda c: c.pop("concat_latent_image"), "no known pixels; put Canvas Global Frames"),
        (lambda c: c.pop("concat_mask"), "no known pixels; put Canvas Global Frames"),
        (lambda c: c.update(concat_latent_image=torch.zeros(FRAMES, 16, H, W)), "context latent has 16 channels"),
        (lambda c: c.update(canvas=adapter.GlobalContext(torch.zeros(3, 8, 12, 12), 24.0)), "global frames has 8 chan"),
        (
            lambda c: c.update(concat_latent_image=KNOWN[:3]),
            f"3 frames of 152x104, but the latent is {FRAMES} of 152x104",
        ),
        (lambda c: c.update(concat_mask=torch.ones(1, 1, 64, 64)), "1 frames of 64x64, but the latent is 5 of 152x104"),
        (lambda c: c.update(control=comfy.controlnet.ControlBase()), "ControlNet, but none fits"),
    ],
)
def test_bad_conditioning_says_what_to_do(model, change, message):
    positive, _ = conds()
    change(positive[0][1])
    with pytest.raises(errors.ConditioningError, match=message):
        predict(guided_by(model, positive))


def test_the_other_model_refuses_global_frames(tmp_path):
    with pytest.raises(
        errors.ConditioningError, match=r"no layout \(but what another canvas model reads\); put Canvas Enc"
    ):
        predict(guided_by(models.canvas_model(tmp_path), conds()[0]))


@pytest.mark.parametrize("bad", [0, 1])
@pytest.mark.parametrize("canvas", [None, "layout"])
def test_guiders_refuse_what_is_not_theirs(model, bad, canvas):
    pair = conds()
    pair[bad] = changed(pair[bad], canvas=canvas and layout())
    with pytest.raises(errors.ConditioningError, match="no global frames.*; connect positive and negative"):
        guider_adapter.ContextGlobalGuider(model, *pair, 2.0, 4.0)
    pair = [changed(cond, canvas=layout()) for cond in conds()]
    pair[bad] = conds()[bad]
    with pytest.raises(
        errors.ConditioningError, match=r"no layout, which .* \(but what another.*; put Canvas Encode Layout"
    ):
        layout_guider(model, *pair, 2.0, 4.0)


def test_levels_tell_the_rate_and_the_guides_to_every_branch(model):
    """Canvas Hierarchical Sampler with M3DDM's guider: guides stay known in the null branch too, as published."""
    levels = comfy_pack.part("nodes.adapters.levels")
    plan = comfy_pack.part("canvas_core.plan.keyframes").plan_levels(FRAMES, (2, 1), 3, 1)
    recorded, calls = record_calls(model)
    guider = guider_adapter.ContextGlobalGuider(recorded, *conds(), 2.0, 4.0)
    noise = SimpleNamespace(seed=1, generate_noise=lambda latent: random(*latent["samples"].shape))
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", 1)
    out, _ = levels.sample_levels(
        noise, guider, comfy.samplers.sampler_object("euler"), sigmas, {"samples": torch.zeros_like(KNOWN)}, plan
    )
    assert torch.isfinite(out["samples"]).all()
    assert [call["fps"].unique().tolist() for call in calls] == [[round(24 / clip.stride)] for clip in plan.clips]
    for call, part in zip(calls, plan.clips, strict=True):
        assert len(call["seen"]) == 3
        for x in call["x"].split(len(part.frames)):
            assert not x[list(part.guides), 8:].any()
            guides = out["samples"][[part.frames[slot] for slot in part.guides]]
            assert torch.allclose(x[list(part.guides), 4:8], guides * SCALE, atol=1e-5)
