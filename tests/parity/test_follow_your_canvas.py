"""Every recorded call of the official Follow-Your-Canvas code, repeated with ours."""

import random
import shutil
from functools import partial

import pytest
import torch
from diffusers import AutoencoderKL
from golden import ROOT, Fixture, fixtures
from safetensors.torch import load_file, save_file

from canvas_core.engine import decode_clips, sample_clips
from canvas_core.errors import GeometryError
from canvas_core.networks.autoencoder import _modern_key
from canvas_core.networks.layers import TimestepEmbedding, attend, bind, sinusoid
from canvas_core.pixels.finishing import finish_frames
from canvas_core.pixels.placed import OnCanvas, Placed, PlacedVideo
from canvas_core.pixels.placing import cell_mask, generation_mask
from canvas_core.plan.boxes import Box, Size
from canvas_core.plan.canvas import Canvas, canvas_of_size
from canvas_core.plan.rounds import plan_rounds
from canvas_core.plan.windows import WindowSettings, _gaussian, official_weights, plan_frames
from canvas_core.sampling.denoise import denoise
from canvas_core.sampling.tiling import predict_canvas
from canvas_core.systems.follow_your_canvas.conditions import CanvasClip
from canvas_core.systems.follow_your_canvas.config import LayoutEncoderConfig
from canvas_core.systems.follow_your_canvas.files import FOLLOW_YOUR_CANVAS
from canvas_core.systems.follow_your_canvas.guidance import guide_by_text, guide_by_text_and_layout
from canvas_core.systems.follow_your_canvas.known import Networks
from canvas_core.systems.follow_your_canvas.layout_encoder import LayoutEncoder, layout_tokens
from canvas_core.systems.follow_your_canvas.model import FollowYourCanvas
from canvas_core.systems.follow_your_canvas.official import official_known_box, paste_official, to_levels_official
from canvas_core.systems.follow_your_canvas.relative_region import relative_region
from canvas_core.systems.follow_your_canvas.sam import build_sam, encode_frames, prepare_frame
from canvas_core.systems.follow_your_canvas.settings import Settings
from canvas_core.systems.follow_your_canvas.solver import make_scheduler
from canvas_core.training.data.anchor_target import AnchorTargetSettings, sample_anchor_target

FIXTURES = fixtures("follow_your_canvas")
if not FIXTURES:
    pytest.skip(f"there are no recordings of Follow-Your-Canvas in {ROOT}; set CANVAS_GOLDEN", allow_module_level=True)
SCALE = 0.18215
LAYOUT = FOLLOW_YOUR_CANVAS.parts["layout"]


def video_first(x):
    """[(B F), C, H, W] of one clip to the recorded [1, C, F, H, W]."""
    return x.transpose(0, 1)[None]


def networks(fixture, prefix="sd."):
    tensors = fixture.part(prefix)
    options = fixture.unet_options
    shapes = {key: tuple(value.shape) for key, value in tensors.items()}
    stored = {
        "heads": tuple(options["attention_head_dim"]),
        "norm_groups": options["norm_num_groups"],
        "norm_eps": options["norm_eps"],
    }
    unet = FOLLOW_YOUR_CANVAS.build(FOLLOW_YOUR_CANVAS.read_config(shapes, stored))
    encoder = LAYOUT.build(LAYOUT.read_config(shapes))
    unet.load_state_dict({key: value for key, value in tensors.items() if not key.startswith(LAYOUT.prefixes)})
    encoder.load_state_dict({key: value for key, value in tensors.items() if key.startswith(LAYOUT.prefixes)})
    return unet.eval(), encoder.eval()


def check_unet(fixture):
    unet, encoder = networks(fixture)
    inputs = fixture.inputs
    batch, _, frames = inputs["sample"].shape[:3]
    seen = {}

    def keep(name, module):
        module.register_forward_hook(lambda _, __, out: seen.setdefault(name, out))

    keep("time_emb", unet.time_embedding)
    keep("fps_emb", unet.fps_embedding)
    keep("rre", unet.add_cond_embedding)
    keep("conv_in", unet.conv_in)
    keep("temporal_proj", encoder.temporal_proj)
    keep("resampler_tokens", encoder.image_proj_model)
    keep("down0_resnet0", unet.down_blocks[0].resnets[0])
    keep("down0_attn0", unet.down_blocks[0].attentions[0])
    keep("down0_motion0", unet.down_blocks[0].motion_modules[0])
    keep("mid_block", unet.mid_block)
    x = inputs["sample"].transpose(1, 2).flatten(0, 1)
    tokens = encoder(inputs["sam_features"])
    out = unet(x, inputs["timestep"].expand(batch), inputs["text"], tokens, inputs["fps"], inputs["relative_position"])
    fixture.check("sample", out.unflatten(0, (batch, frames)).transpose(1, 2))
    for name, value in seen.items():
        first = value[:1] if value.shape[0] == batch else video_first(value[:frames])
        if f"mid.{name}" in fixture.outputs:
            fixture.check(f"mid.{name}", first.reshape(fixture.outputs[f"mid.{name}"].shape))


def embed_regions(fixture, features):
    weights = fixture.part("sd.add_cond_embedding.")
    mlp = TimestepEmbedding(bind(torch.nn, None, None), *reversed(weights["linear_1.weight"].shape))
    mlp.load_state_dict(weights)
    code = sinusoid(fixture.inputs["relative_position"], features).flatten(1)
    return code, mlp(code)


def check_rre(fixture):
    code, embedding = embed_regions(fixture, fixture.info["config"]["rre_freq_dim"])
    fixture.check("sinusoid", code)
    fixture.check("embedding", embedding)
    fixture.check("sinusoid_official_320", sinusoid(fixture.inputs["relative_position"], 320).flatten(1))


def check_layout_encoder(fixture):
    tensors = {key: value for key, value in fixture.part("sd.").items() if key.startswith(LAYOUT.prefixes)}
    encoder = LAYOUT.build(LAYOUT.read_config({key: tuple(value.shape) for key, value in tensors.items()}))
    encoder.load_state_dict(tensors)
    features = fixture.inputs["sam_features"]
    fixture.check("temporal_proj", encoder.temporal_proj(features, attend))
    tokens = encoder(features)
    fixture.check("resampler_tokens", tokens)
    code, embedding = embed_regions(fixture, fixture.info["config"]["rre_freq_dim"])
    fixture.check("rre_sinusoid", code)
    fixture.check("rre", embedding[:, None])
    fixture.check("layout_tokens", tokens + embedding[:, None])


def check_sam(fixture):
    levels = to_levels_official(fixture.inputs["video"][0].permute(0, 2, 3, 1))
    fixture.check("frames_uint8_hwc", levels)
    encoder = build_sam(fixture.part("sd."))
    fixture.check("preprocessed_frame0", prepare_frame(levels[0], encoder.img_size))
    fixture.check("sam_features", encode_frames(encoder, levels)[None])


def check_scheduler(fixture):
    scheduler = make_scheduler()
    assert {key: scheduler.config[key] for key in fixture.info["config"]} == fixture.info["config"]
    scheduler.set_timesteps(fixture.info["num_inference_steps"])
    assert scheduler.timesteps.tolist() == fixture.info["timesteps"]
    fixture.check("alphas_cumprod", scheduler.alphas_cumprod)
    fixture.check("betas", scheduler.betas)
    x = fixture.inputs["x"]
    for index, timestep in enumerate(scheduler.timesteps):
        x = scheduler.step(fixture.inputs[f"v{index}"], timestep, x).prev_sample
        fixture.check(f"x{index}", x)


def check_geometry(fixture):
    for row in fixture.info["windows"]:
        check_windows(row)
    for row in fixture.info["canvas_sizes"]:
        check_canvas_sizes(row)
    for row in fixture.info["temporal_windows"]:
        spans = plan_frames(row["length"], row["t_length"], row["t_overlap"])
        assert [[span.start, span.stop] for span in spans] == row["windows"]
    for steps, expected in fixture.info["timesteps"].items():
        scheduler = make_scheduler()
        scheduler.set_timesteps(int(steps))
        assert scheduler.timesteps.tolist() == expected
    for row in fixture.info["masks"]:
        check_mask(row)


def check_windows(row):
    canvas, source = Size(*row["canvas"]), Size(*row["source"])
    width, height = row["window_width_height"]
    settings = WindowSettings(window=Size(height, width), overlap=0, planner="official")
    plan = settings.plan(Size(canvas.h // 8, canvas.w // 8)).windows
    if row["error"]:  # the official code fails here; ours covers the canvas
        seen = torch.zeros(canvas.h // 8, canvas.w // 8)
        for box in plan:
            box.crop(seen).add_(1)
        assert seen.min() >= 1
        return
    pads = row["pixel_pad_up_down_left_right"]
    anchor = Box(pads[0], pads[2], *source)
    ours = [(box.y, box.x, box.h, box.w, list(relative_region(box.scaled(8), anchor, "official"))) for box in plan]
    assert ours == [(w["y0"], w["x0"], w["h"], w["w"], w["relative_position"]) for w in row["windows"]]


def check_canvas_sizes(row):
    source, target = Size(*row["input"]), Size(*row["target"])
    if row["canvas_sizes"] is None:
        with pytest.raises(GeometryError):
            canvas_of_size(source, target)
        return
    settings = WindowSettings(window=Size(*row["window"]), planner="official", min_overlap=Size(*row["min_overlap"]))
    rounds = plan_rounds(canvas_of_size(source, target), settings)
    assert [list(r.canvas.size) for r in rounds] == row["canvas_sizes"]


def check_mask(row):
    canvas, source = Size(*row["canvas"]), Size(*row["source"])
    known = official_known_box(canvas, source)
    if row["known_box_latent_y0y1x0x1"] is None:  # the official mask says that nothing is known; ours refuses
        assert known is None
        with pytest.raises(GeometryError):
            canvas_of_size(source, canvas)
        return
    assert [known.y, known.bottom, known.x, known.right] == row["known_box_pixels_y0y1x0x1"]
    y, x = torch.where(cell_mask(generation_mask(canvas, known)) == 0)
    assert [y.min(), y.max() + 1, x.min(), x.max() + 1] == row["known_box_latent_y0y1x0x1"]


def check_gaussian_weights(fixture):
    for name in fixture.outputs:
        kind, key = name.split(".")
        if key.startswith("t"):
            frames = int(key[1:])
            fixture.check(name, _gaussian(frames, (frames - 1) / 2))
            continue
        width, height = (int(side) for side in key[1:].split("xh"))
        exact = torch.outer(_gaussian(height, height / 2), _gaussian(width, (width - 1) / 2))
        fixture.check(name, exact if kind == "f64" else official_weights(Size(height, width)))


def check_replace_video(fixture):
    for index, case in enumerate(fixture.info["cases"]):
        video = fixture.inputs[f"{index}.video"][0].permute(1, 2, 3, 0)
        placed = fixture.inputs[f"{index}.videos_masked"][0].permute(0, 2, 3, 1)
        smooth, replaced = paste_official(video, placed, Size(*case["source"]))
        fixture.check(f"{index}.video_replaced", replaced.permute(3, 0, 1, 2)[None])
        fixture.check(f"{index}.video_smooth", smooth.permute(3, 0, 1, 2)[None])
    levels = torch.arange(256)
    assert to_levels_official((levels / 255 - 0.5) / 0.5).tolist() == fixture.info["uint8_roundtrip"]["table"]


def check_sampling(fixture):
    call, inputs = fixture.info["config"]["call"], fixture.inputs
    unet, encoder = networks(fixture)
    canvas, source, frames = Size(*call["canvas"]), Size(*call["source_size"]), call["frames"]
    window = Size(*reversed(call["multi_diff_window"] or [512, 512]))
    settings = WindowSettings(
        window=window,
        overlap=0,
        planner="official",
        weights="official",
        frames=call["t_length"],
        frame_overlap=call["t_overlap"],
    )
    mask = cell_mask(generation_mask(canvas, official_known_box(canvas, source)))
    fixture.check("mask_latent", mask[None, None])
    text, layout = call["guidance_scale_text"], call["guidance_scale_adapter"]
    clip = CanvasClip(
        unet,
        guide_by_text_and_layout(text, layout) if layout > 1 else guide_by_text(text),
        mask=mask.expand(frames, 1, -1, -1),
        masked_latents=inputs["masked_latents_unscaled"] * SCALE,
        text={"negative": inputs["text"][:1], "positive": inputs["text"][1:]},
        layout=layout_tokens(encoder, inputs["sam_features"][0], settings.plan_frames(frames), "cpu", torch.float32),
        anchor=Box((canvas.h - source.h) // 2, (canvas.w - source.w) // 2, *source),
        rre="official",
        fps=call["fps"],
    )
    denoise(
        partial(predict_canvas, clip, settings),
        inputs["noise"][0].transpose(0, 1),
        make_scheduler(),
        call["steps"],
        clip.enter,
        clip.start,
        lambda i, x: fixture.check(f"latents_step{i}", video_first(x)),
    )


def recorded_autoencoder(fixture):
    config = fixture.info["config"]["vae"]
    levels = len(config["block_out_channels"])
    vae = AutoencoderKL(
        **config,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        scaling_factor=SCALE,
    )
    tensors = {_modern_key(key): value for key, value in fixture.part("sd.vae.").items()}
    vae.load_state_dict(tensors)
    return vae.eval()


def recorded_model(fixture):
    """The recorded networks and settings, and a list that grows by what SAM answers."""
    call, text, seen = fixture.info["config"]["call"], fixture.inputs["text"], []
    unet, encoder = networks(fixture, "sd.unet.")
    sam = build_sam(fixture.part("sd.sam."))
    sam.register_forward_hook(lambda _, __, out: seen.append(out))
    parts = Networks(
        unet,
        encoder,
        sam,
        recorded_autoencoder(fixture),
        levels_of=lambda frames: to_levels_official(frames * 2 - 1),
    )
    settings = Settings(
        steps=call["steps"],
        cfg=call["guidance_scale_text"],
        window=Size(*call["window"]),
        overlap=0,
        planner="official",
        weights="official",
        min_overlap=Size(*call["min_overlap"]),
        rre="official",
    )
    return FollowYourCanvas(parts, {"negative": text[:1], "positive": text[1:]}, settings, FOLLOW_YOUR_CANVAS), seen


def check_e2e(fixture):
    call, inputs = fixture.info["config"]["call"], fixture.inputs
    model, seen = recorded_model(fixture)
    frames = (inputs["source_uint8"].permute(0, 2, 3, 1) / 255 - 0.5) / 0.5 / 2 + 0.5
    canvas = canvas_of_size(Size(*frames.shape[1:3]), Size(*call["target_size"]))
    for index, step in enumerate(plan_rounds(canvas, model.settings.windows)):
        seen.clear()
        draws = [inputs[f"noise_r{index}"][0].transpose(0, 1), inputs[f"posterior_eps_r{index}"]]
        latents, done = run_round(model, frames, step.canvas, draws)
        fixture.check(f"latents_final_r{index}", video_first(latents))
        fixture.check(f"sam_features_r{index}", torch.cat(seen).flatten(2).transpose(1, 2)[None])
        check_round(fixture, index, done, frames, step.canvas)
        frames = done


def run_round(model, frames, canvas, draws):
    """Latents [F, C, h, w] and decoded frames [F, H, W, 3] of one round; draws: start noise, then posterior noise."""
    mask = generation_mask(canvas.size, official_known_box(canvas.size, canvas.source.size))
    placed = [Placed(one.frame, mask) for one in OnCanvas(frames, canvas)]

    def draw(shape):
        assert draws[0].shape == shape
        return draws.pop(0)

    plan = FOLLOW_YOUR_CANVAS.plan(len(frames), model.settings)
    noise = model.noise(plan, canvas.cells, draw)
    known = model.know(PlacedVideo(frames, placed, canvas, 25.0), plan, draw)
    sampled = list(sample_clips(model, known, plan, lambda clip: noise[list(clip.frames)], draw))
    done = finish_frames(decode_clips(model, plan, sampled), placed, model.settings.finishing)
    ((_, latents),) = sampled
    return latents, torch.stack(list(done))


def check_round(fixture: Fixture, index: int, result, frames, canvas: Canvas):
    saved = fixture.info["config"]["call"]["save_frames"]
    placed = torch.zeros(len(frames), *canvas.size, 3)
    placed[:, canvas.source.y : canvas.source.bottom, canvas.source.x : canvas.source.right] = frames * 2 - 1
    extremes = [result.min(), result.max(), placed.min(), placed.max()]
    fixture.check(f"video_minmax_r{index}", torch.stack(extremes))
    smooth, replaced = paste_official(result, placed, canvas.source.size)
    for name, video in (("video", result), ("replaced", replaced), ("smooth", smooth)):
        fixture.check(f"{name}_r{index}", video[saved].permute(3, 0, 1, 2)[None])


def check_train_sampling(fixture):
    for case in fixture.info["cases"]:
        config, seed = case["cfg"], case["seed"]
        video = torch.rand(1, 1, 3, *case["input_hw"], generator=torch.Generator().manual_seed(800 + seed)) * 2 - 1
        laps, sides = config["overlap_ratio"], config["anchor_size"]
        settings = AnchorTargetSettings(
            Size(*config["target_size"]), tuple(laps[:2]), tuple(laps[2:]), tuple(sides[:2]), tuple(sides[2:])
        )
        sample = sample_anchor_target(video[0], settings, random.Random(seed))
        known = sample.known
        assert (known and [known.y, known.bottom, known.x, known.right]) == case["known_box_in_target_y0y1x0x1"]
        assert list(sample.region) == case["relative_position"]
        for name, crop in (("anchor", sample.anchor), ("target", sample.target)):
            assert list(crop[None].shape) == case[f"{name}_shape"]
            # The recorded sum is of float32 values, so its last digits depend on the order of addition.
            assert crop.double().sum().item() == pytest.approx(case[f"{name}_sum"], abs=1e-6 * crop.numel())


CHECKS = {
    "unet": check_unet,
    "rre": check_rre,
    "layout_encoder": check_layout_encoder,
    "sam": check_sam,
    "scheduler": check_scheduler,
    "geometry": check_geometry,
    "gaussian_weights": check_gaussian_weights,
    "replace_video": check_replace_video,
    "sampling": check_sampling,
    "e2e": check_e2e,
    "train_sampling": check_train_sampling,
}


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda fixture: fixture.path.stem)
@torch.no_grad()
def test_parity(fixture):
    CHECKS[fixture.kind](fixture)


@torch.no_grad()
def test_a_changed_fixture_is_found_and_fails(tmp_path):
    original = next(fixture for fixture in FIXTURES if fixture.kind == "rre")
    for file in original.path.parent.glob(f"{original.path.stem}.*"):
        shutil.copy(file, tmp_path / file.name.replace(original.path.stem, "another_name"))
    info = original.path.read_text().replace(f"{original.path.stem}.safetensors", "another_name.safetensors")
    (tmp_path / "another_name.json").write_text(info)
    copied = fixtures("follow_your_canvas", tmp_path)
    assert [fixture.path.stem for fixture in copied] == ["another_name"]
    CHECKS[copied[0].kind](copied[0])

    weights = tmp_path / "another_name.safetensors"
    tensors = load_file(weights)
    tensors["out.embedding"][0, 0] += 1
    save_file(tensors, weights)
    with pytest.raises(AssertionError, match="embedding: off by 1"):
        CHECKS[copied[0].kind](fixtures("follow_your_canvas", tmp_path)[0])


def test_published_sizes_are_recognised():
    """The key list of the published checkpoint gives the published sizes and loses no key."""
    listing = ROOT.parent / "specs" / "follow_your_canvas_keys.txt"
    if not listing.is_file():
        pytest.skip(f"no key list at {listing}")
    shapes = {}
    for line in listing.read_text().splitlines():
        key, shape = line.split(" ", 1)
        shapes[key] = tuple(int(side) for side in shape[1 : shape.index(")")].split(",") if side.strip())
    config = FOLLOW_YOUR_CANVAS.read_config(shapes, {})
    assert config == type(config)()
    encoder = LAYOUT.build(LAYOUT.read_config(shapes), device="meta")
    assert encoder.config == LayoutEncoderConfig()
    assert isinstance(encoder, LayoutEncoder)
    ours = {**FOLLOW_YOUR_CANVAS.build(config, device="meta").state_dict(), **encoder.state_dict()}
    assert {key: tuple(value.shape) for key, value in ours.items()} == shapes
