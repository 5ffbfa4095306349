"""The canvas model as a plain MODEL of a real ComfyUI."""

from functools import partial

import comfy_pack
import pytest
import torch

comfy_pack.load_pack()

import comfy.controlnet  # noqa: E402
import comfy.samplers  # noqa: E402
import comfy.sd  # noqa: E402
import core_models as models  # noqa: E402
import tiny  # noqa: E402

from canvas_core.plan.boxes import Box as HeadlessBox  # noqa: E402
from canvas_core.plan.windows import WindowSettings as HeadlessWindows  # noqa: E402
from canvas_core.sampling.denoise import denoise  # noqa: E402
from canvas_core.sampling.tiling import predict_canvas  # noqa: E402
from canvas_core.systems.follow_your_canvas.conditions import CanvasClip  # noqa: E402
from canvas_core.systems.follow_your_canvas.guidance import guide_by_text, guide_by_text_and_layout  # noqa: E402
from canvas_core.systems.follow_your_canvas.solver import make_scheduler  # noqa: E402

windows_adapter = comfy_pack.part("nodes.adapters.windows")
time_adapter = comfy_pack.part("nodes.adapters.time_windows")
guider_adapter = comfy_pack.part("nodes.adapters.follow_your_canvas.guider")
core = comfy_pack.part("canvas_core.plan.windows")
errors = comfy_pack.part("canvas_core.errors")
pack_boxes = comfy_pack.part("canvas_core.plan.boxes")
pack_canvas = comfy_pack.part("canvas_core.pixels.placing")
relative_region = comfy_pack.part("canvas_core.systems.follow_your_canvas.relative_region").relative_region

FRAMES, H, W = 5, 13, 19
ANCHOR = pack_boxes.Box(16, 24, 56, 72)
WINDOW = {"window": 64, "overlap": 16, "frames": 3, "frame_overlap": 1}
SETTINGS = core.WindowSettings(**WINDOW)
WHOLE_CLIP = core.WindowSettings(window=64, overlap=16, frames=64)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return models.canvas_model(tmp_path_factory.mktemp("model"))


def random(*shape, seed=9):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def known():
    """Masked latents before scaling, and the mask in pixels."""
    mask = pack_canvas.generation_mask(pack_boxes.Size(H * 8, W * 8), ANCHOR)
    return random(FRAMES, 4, H, W, seed=8), mask[None]


def conds(settings, rre="centre_px"):
    spans = settings.plan_frames(FRAMES)
    return [models.canvas_conditioning(seed, spans, ANCHOR, rre, known()) for seed in (1, 2)]


def tiled(model, settings):
    return time_adapter.apply_time_windows(windows_adapter.apply_windows(model, settings), settings)


def record_calls(model):
    """The MODEL and a list that fills with the arguments of every call of the network."""
    patched, calls = model.clone(), []

    def keep(executor, x, timesteps, context, control, options, **kwargs):
        calls.append({"x": x, "options": dict(options), **kwargs})
        return executor(x, timesteps, context, control, options, **kwargs)

    patched.add_wrapper_with_key("diffusion_model", "record", keep)
    return patched, calls


@pytest.mark.parametrize("rre", ["centre_px", "official"])
def test_each_window_gets_its_own_region_and_each_time_window_its_tokens(model, rre):
    recorded, calls = record_calls(model)
    positive, negative = conds(SETTINGS, rre)
    models.sample(tiled(recorded, SETTINGS), random(FRAMES, 4, H, W), positive, negative, steps=1)
    plan = SETTINGS.plan(pack_boxes.Size(H, W)).windows
    boxes = {tuple(relative_region(box.scaled(8), ANCHOR, rre)): box for box in plan}
    tokens = [cond[0][1]["canvas"].tokens for cond in (positive, negative)]
    seen = set()
    for call in calls:
        frames = call["options"]["context_window"].index_list
        span = range(frames[0], frames[-1] + 1)
        clips = (
            value.unflatten(0, (-1, len(frames))) for value in (call["x"], call["relative_region"], call["layout"])
        )
        for x, rows, layout, group in zip(*clips, call["options"]["cond_or_uncond"], strict=True):
            assert (rows == rows[:1]).all()
            region = tuple(rows[0].tolist())
            masked = boxes[region].crop(known()[0][span.start : span.stop])
            assert (x[:, 5:] - masked * 0.18215).abs().max() < 1e-6  # the region belongs to this very window
            assert torch.equal(layout, tokens[group][span].expand(len(frames), -1, -1))
            seen.add(region)
    assert seen == set(boxes)
    assert sum(len(call["options"]["cond_or_uncond"]) for call in calls) == 2 * len(plan) * len(
        SETTINGS.plan_frames(FRAMES)
    )


def test_a_whole_canvas_gets_the_single_window_region(model):
    recorded, calls = record_calls(model)
    positive, negative = conds(WHOLE_CLIP, "official")
    models.sample(recorded, random(FRAMES, 4, H, W), positive, negative, steps=1)
    assert calls[0]["relative_region"][0].tolist() == [0, 0, ANCHOR.h, ANCHOR.w, 512, 512]


def headless(settings, guidance, noise, steps, positive, negative):
    """The same clip by the headless engine."""
    latents, mask = known()
    layout = {}
    for name in ("real", "null"):
        tokens = positive[0][1]["canvas"].tokens if name == "real" else positive[0][1]["canvas"].null_tokens
        layout |= {(name, span): value for span, value in tokens.items()}
    clip = CanvasClip(
        tiny.unet(),
        guidance,
        mask=mask[:, None, ::8, ::8].expand(FRAMES, -1, -1, -1),
        masked_latents=latents * 0.18215,
        text={"positive": positive[0][0], "negative": negative[0][0]},
        layout=layout,
        anchor=HeadlessBox(*ANCHOR),
        rre="centre_px",
    )
    scheduler = make_scheduler()
    scheduler.set_timesteps(steps)
    # Core scales the first noise by sigma, which in DDIM's terms is sqrt(1 - alpha) instead of 1.
    start = noise * (1 - scheduler.alphas_cumprod[scheduler.timesteps[0]]).sqrt()
    return denoise(partial(predict_canvas, clip, settings), start, scheduler, steps) / 0.18215


def same_layout(positive, negative):
    """Both conditionings with the positive one's layout, as Canvas Encode Layout makes them."""
    negative[0][1]["canvas"] = positive[0][1]["canvas"]
    return positive, negative


@pytest.mark.parametrize("steps", [4, 5])
def test_core_equals_the_headless_engine(model, steps):
    positive, negative = same_layout(*conds(SETTINGS))
    noise = random(FRAMES, 4, H, W)
    ours = models.sample(tiled(model, SETTINGS), noise, positive, negative, "euler", "ddim_uniform", steps, cfg=4.0)
    expected = headless(HeadlessWindows(**WINDOW), guide_by_text(4.0), noise, steps, positive, negative)
    assert (ours - expected).abs().max() < 1e-3 * expected.abs().max()


@pytest.mark.parametrize("scales", [(4.0, 1.5), (4.0, 0.0), (0.0, 2.0)])
def test_guider_equals_the_headless_formula(model, scales):
    positive, negative = same_layout(*conds(SETTINGS))
    noise = random(FRAMES, 4, H, W)
    patched = tiled(model, SETTINGS)
    guider = guider_adapter.TextLayoutGuider(patched, positive, negative, *scales)
    ours = models.sample(patched, noise, None, None, "euler", "ddim_uniform", 4, guider=guider)
    expected = headless(HeadlessWindows(**WINDOW), guide_by_text_and_layout(*scales), noise, 4, positive, negative)
    assert (ours - expected).abs().max() < 1e-3 * expected.abs().max()


def test_guider_runs_post_cfg_patches(model):
    positive, negative = conds(WHOLE_CLIP)
    patched, seen = model.clone(), []
    patched.set_model_sampler_post_cfg_function(lambda args: (seen.append(args["cond_scale"]), args["denoised"])[1])
    guider = guider_adapter.TextLayoutGuider(patched, positive, negative, 4.0, 1.5)
    models.sample(patched, random(FRAMES, 4, H, W), None, None, steps=2, guider=guider)
    assert seen == [4.0] * 2


class GradientControl(torch.nn.Module):
    """Keeps the hints it is given and answers with their mean as the middle residual."""

    dtype = torch.float32

    def __init__(self):
        super().__init__()
        self.hints = []

    def forward(self, x, hint, timesteps, context, **kwargs):
        self.hints.append(hint)
        middle = torch.nn.functional.adaptive_avg_pool2d(hint[:, :1], [-(-side // 8) for side in x.shape[-2:]])
        return {"input": [], "middle": [middle.repeat(1, 64, 1, 1)], "output": []}


def gradient_control(previous=None):
    control = comfy.controlnet.ControlNet(GradientControl(), load_device=models.CPU)
    hint = torch.arange(W * 8.0).expand(1, 3, H * 8, -1)
    control.set_cond_hint(hint, 0.5)
    return control.set_previous_controlnet(previous) if previous else control


def test_a_controlnet_sees_its_part_of_the_hint(model):
    first = gradient_control()
    second = gradient_control(previous=first)
    positive, negative = conds(WHOLE_CLIP)
    for cond in (positive, negative):
        cond[0][1]["control"] = second
    patched = windows_adapter.apply_windows(model, WHOLE_CLIP)
    with_control = models.sample(patched, random(FRAMES, 4, H, W), positive, negative, steps=1)
    plan = WHOLE_CLIP.plan(pack_boxes.Size(H, W)).windows
    columns = {(box.x * 8, (box.x + box.w) * 8 - 1) for box in plan}
    for control in (first, second):
        hints = control.control_model.hints
        assert {(int(hint[0, 0, 0, 0]), int(hint[0, 0, 0, -1])) for hint in hints} == columns
        assert all((hint.diff(dim=-1) == 1).all() for hint in hints)
    without = models.sample(patched, random(FRAMES, 4, H, W), *conds(WHOLE_CLIP), steps=1)
    assert (with_control - without).abs().max() > 1e-3
    assert second.cond_hint_original.shape[-1] == W * 8


class EncodingVae:
    """What core asks of a VAE that encodes hints: each pixel of the latent is one of the hint's corners."""

    def spacial_compression_encode(self):
        return 8

    def encode(self, pixels):
        return pixels.movedim(-1, 1)[:, :, ::8, ::8]


def test_a_controlnet_with_a_vae_gets_its_hint_at_full_size(model):
    control = gradient_control()
    control.compression_ratio, control.vae = 1, EncodingVae()
    positive, negative = conds(WHOLE_CLIP)
    for cond in (positive, negative):
        cond[0][1]["control"] = control
    models.sample(
        windows_adapter.apply_windows(model, WHOLE_CLIP), random(FRAMES, 4, H, W), positive, negative, steps=1
    )
    hints = control.control_model.hints
    assert hints
    assert all((hint.diff(dim=-1) == 8).all() for hint in hints)


def test_lora_changes_the_output(model):
    key = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    lora = {f"{key}.lora_up.weight": random(64, 2), f"{key}.lora_down.weight": random(2, 64)}
    patched, _ = comfy.sd.load_lora_for_models(model, None, lora, 1.0, 0.0)
    run = [models.sample(m, random(FRAMES, 4, H, W), *conds(WHOLE_CLIP), steps=2) for m in (model, patched, model)]
    assert (run[0] - run[1]).abs().max() > 1e-3
    assert torch.equal(run[0], run[2])


@pytest.mark.parametrize("steps", [3])
def test_tiled_sampler_equals_its_parts(model, steps):
    import nodes as core_nodes

    sampling = comfy_pack.part("nodes.sampling")
    latent = {"samples": torch.zeros(FRAMES, 4, H, W), "batch_index": list(range(FRAMES))}
    positive, negative = conds(SETTINGS)
    ours = sampling.CanvasTiledSampler.execute(
        model, positive, negative, latent, SETTINGS, 7, steps, 4.0, "dpmpp_2m", "karras"
    ).args[0]
    parts = core_nodes.common_ksampler(
        tiled(model, SETTINGS), 7, steps, 4.0, "dpmpp_2m", "karras", positive, negative, latent
    )[0]
    assert torch.equal(ours["samples"], parts["samples"])
    assert ours["batch_index"] == latent["batch_index"]


def test_tiled_sampler_keeps_the_batch_limit(model):
    limited = windows_adapter.apply_windows(model, SETTINGS, 2)
    assert windows_adapter.windows_at_once(limited) == 2
    assert windows_adapter.windows_at_once(model) == 0


def test_betas_are_the_published_ones(model):
    sigmas = model.get_model_object("model_sampling").sigmas[:-1].double()
    alphas = make_scheduler().alphas_cumprod[:-1].double()
    assert (1 / (1 + sigmas.square()) - alphas).abs().max() < 1e-6


def test_weights_in_eight_bits_run(tmp_path):
    path = tiny.write_checkpoint(tmp_path / "canvas.safetensors")
    small = comfy_pack.part("nodes.adapters.model").load_canvas_model(str(path), "fp8_e4m3fn")
    assert small.model.diffusion_model.conv_in.weight.dtype == torch.float8_e4m3fn
    assert torch.isfinite(models.sample(small, random(FRAMES, 4, H, W), *conds(WHOLE_CLIP), steps=1)).all()


def test_the_patcher_can_be_made_again(model):
    make, arguments = model.cached_patcher_init
    again = make(*arguments)
    assert torch.equal(again.model.diffusion_model.conv_in.weight, model.model.diffusion_model.conv_in.weight)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("canvas"), "no layout"),
        (lambda c: (c.pop("concat_latent_image"), c.pop("concat_mask")), "no known pixels"),
        (lambda c: c.update(concat_latent_image=torch.zeros(FRAMES, 16, H, W)), "16 channels"),
        (
            lambda c: c.update(canvas=models.canvas_conditioning(1, [range(4)], ANCHOR)[0][1]["canvas"]),
            "no layout tokens for frames 0-4",
        ),
    ],
)
def test_bad_conditioning_says_what_to_do(model, change, message):
    positive, negative = conds(WHOLE_CLIP)
    for cond in (positive, negative):
        change(cond[0][1])
    for _ in range(2):
        with pytest.raises(errors.ConditioningError, match=message):
            models.sample(model, random(FRAMES, 4, H, W), positive, negative, steps=1)


def test_a_batch_of_prompts_is_refused(model):
    positive, negative = conds(WHOLE_CLIP)
    positive[0][0] = positive[0][0].repeat(FRAMES, 1, 1)
    with pytest.raises(errors.ConditioningError, match=f"batch of {FRAMES}"):
        models.sample(model, random(FRAMES, 4, H, W), positive, negative, steps=1)


def test_a_result_that_is_not_finite_is_refused(tmp_path):
    broken = models.canvas_model(tmp_path)
    broken.model.diffusion_model.conv_out.bias.data[0] = torch.nan
    sampling = comfy_pack.part("nodes.sampling")
    latent = {"samples": torch.zeros(FRAMES, 4, H, W)}
    with pytest.raises(errors.SamplingError, match="sampled latent holds values that are not finite"):
        sampling.CanvasTiledSampler.execute(broken, *conds(SETTINGS), latent, SETTINGS, 7, 1, 4.0, "euler", "normal")


def test_an_unplanned_time_window_raises(model):
    positive, negative = conds(SETTINGS)
    other = core.WindowSettings(window=64, overlap=16, frames=4, frame_overlap=1)
    with pytest.raises(errors.ConditioningError, match="no layout tokens for frames 0-3"):
        models.sample(tiled(model, other), random(FRAMES, 4, H, W), positive, negative, steps=1)


def test_too_long_a_clip_names_the_limit(model):
    frames = 65
    cond = models.canvas_conditioning(
        1, [range(frames)], ANCHOR, known=(torch.zeros(frames, 4, 8, 8), torch.ones(1, 64, 64))
    )
    with pytest.raises(errors.ConditioningError, match="65 frames.*64"):
        models.sample(model, random(frames, 4, 8, 8), cond, cond, steps=1)
