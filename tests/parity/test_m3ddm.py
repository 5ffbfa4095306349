"""Every recorded call of the official M3DDM code, repeated with ours."""

from dataclasses import replace

import pytest
import torch
from diffusers import AutoencoderKL
from golden import ROOT, fixtures

from canvas_core.engine import sample_clips
from canvas_core.networks.layers import attend, bind, sinusoid
from canvas_core.pixels.eight_bit import from_levels
from canvas_core.pixels.placed import Placed, PlacedVideo
from canvas_core.pixels.placing import cell_mask
from canvas_core.plan.boxes import Box, Size
from canvas_core.plan.canvas import Canvas
from canvas_core.sampling.denoise import Start, denoise
from canvas_core.sampling.tiling import Window, predict_canvas
from canvas_core.systems.m3ddm.conditions import M3DDMClip, Scales, tell
from canvas_core.systems.m3ddm.config import M3DDMConfig
from canvas_core.systems.m3ddm.files import M3DDM
from canvas_core.systems.m3ddm.global_encoder import GlobalFrameEncoder
from canvas_core.systems.m3ddm.global_frames import global_frames
from canvas_core.systems.m3ddm.known import Networks
from canvas_core.systems.m3ddm.layers import GlobalKeys, PseudoConv3d, Resample, ResnetBlock, SpatialTemporalTransformer
from canvas_core.systems.m3ddm.model import M3DDMModel
from canvas_core.systems.m3ddm.network import M3DDMUNet
from canvas_core.systems.m3ddm.official import (
    official_canvas,
    official_crop,
    official_plan,
    paste_official_m3ddm,
    prepare_official,
    reached_size,
)
from canvas_core.systems.m3ddm.plan import clip_rate
from canvas_core.systems.m3ddm.settings import Settings
from canvas_core.systems.m3ddm.solver import make_scheduler

FIXTURES = fixtures("m3ddm")
if not FIXTURES:
    pytest.skip(f"there are no recordings of M3DDM in {ROOT}; set CANVAS_GOLDEN", allow_module_level=True)

OPS = bind(torch.nn, None, None)


def config_of(options):
    return M3DDMConfig(
        block_out_channels=tuple(options["block_out_channels"]),
        layers_per_block=options["layers_per_block"],
        heads=options["attention_head_dim"],
        attention=tuple(name.startswith("CrossAttn") for name in options["down_block_types"]),
        global_width=options["cross_attention_dim"],
        in_channels=options["in_channels"],
        out_channels=options["out_channels"],
        norm_groups=options["norm_num_groups"],
        norm_eps=options["norm_eps"],
    )


def loaded(network, tensors):
    network.load_state_dict(tensors)
    return network.eval()


def frames_first(x):
    """[B, C, F, H, W] to [(B F), C, H, W]."""
    return x.transpose(1, 2).flatten(0, 1)


def video_first(x, batch):
    """[(B F), C, H, W] to [B, C, F, H, W]."""
    return x.unflatten(0, (batch, -1)).transpose(1, 2)


def branches(latents, call):
    """Latents of the global frames [(b g), 4, h, w] as [B, g, 4, h, w]: zeros in the first branches of guidance."""
    real = latents.unflatten(0, (call["b"], call["g"]))
    null = torch.zeros_like(real)
    return torch.cat({1: [real], 2: [null, real], 4: [null, null, real, real]}[call["do_classfier"]])


def check_unet(fixture):
    inputs, call = fixture.inputs, fixture.info["call"]
    unet = loaded(M3DDMUNet(config_of(fixture.info["config"])), fixture.part("sd."))
    batch = inputs["sample"].shape[0]
    fps = inputs["fps"] if "fps" in inputs else torch.tensor([call["fps"]])
    keys = unet.encode_global(branches(inputs["global_latents"], call))
    out = unet(frames_first(inputs["sample"]), inputs["timestep"].expand(batch), keys, fps.expand(batch))
    fixture.check("sample", video_first(out, batch))


def check_global_encoder(fixture):
    tensors, latents = fixture.part("sd."), fixture.inputs["global_latents"]
    encoder = loaded(GlobalFrameEncoder(OPS, latents.shape[1], len(tensors["convolution.bias"])), tensors)
    features = encoder(latents)
    fixture.check("features", features)
    fixture.check("tokens", features.flatten(2).transpose(1, 2).flatten(0, 1)[None])
    fixture.check("features_of_zero_latents", encoder(torch.zeros_like(latents[:1])))


def check_transformer(fixture):
    options, inputs = fixture.info["config"], fixture.inputs
    config = M3DDMConfig(
        heads=options["n_heads"], norm_groups=options["num_groups"], global_width=options["context_dim"]
    )
    block = loaded(SpatialTemporalTransformer(OPS, config, options["in_channels"]), fixture.part("sd."))
    # The recording gives each frame a context of its own: one clip a frame, then the frames together.
    reader = block.transformer_blocks[0].attn2
    context = inputs["context"].flatten(0, 1)
    keys = GlobalKeys(reader.to_k(context), reader.to_v(context))
    x = inputs["hidden_states"]
    apart = block._inside_frames(frames_first(x)[:, :, None], keys, attend)[:, :, 0]
    fixture.check("hidden_states", block._over_time(video_first(apart, len(x)), attend))


def check_resnet(fixture):
    options, inputs = fixture.info["config"], fixture.inputs
    config = M3DDMConfig(
        block_out_channels=(options["temb_channels"] // 4,), norm_groups=options["groups"], norm_eps=options["eps"]
    )
    block = loaded(ResnetBlock(OPS, config, options["in_channels"], options["out_channels"]), fixture.part("sd."))
    fixture.check("hidden_states", block(inputs["hidden_states"], inputs["temb"], inputs["femb"]))


def check_layers(fixture):
    options, x = fixture.info["config"], fixture.inputs["x"]
    dim = options["dim"]
    fixture.check("pseudo3d", loaded(PseudoConv3d(OPS, dim, options["dim_out"]), fixture.part("sd.pseudo3d."))(x))
    fixture.check("downsample", loaded(Resample(OPS, dim, stride=2), fixture.part("sd.downsample."))(x))
    up = loaded(Resample(OPS, dim, stride=1), fixture.part("sd.upsample."))
    fixture.check("upsample", up(x, [2 * side for side in x.shape[3:]]))
    fixture.check("upsample_to_size", up(x, options["upsample_size"]))


def check_embeddings(fixture):
    for table in fixture.info["config"]["tables"]:
        given = fixture.inputs[table["input"]]
        fixture.check(table["name"], sinusoid(given, table["channels"], table["max_period"]))


def check_scheduler(fixture):
    scheduler = make_scheduler()
    recorded = fixture.info["config"]["pndm"]
    assert {key: scheduler.config[key] for key in recorded} == recorded
    fixture.check("alphas_cumprod", scheduler.alphas_cumprod)
    inputs = fixture.inputs

    def predict(x, timestep):
        return torch.tanh(x * inputs["gain"] + inputs["bias"] + timestep.float() / 1000)

    for steps in fixture.info["config"]["num_inference_steps"]:
        scheduler.set_timesteps(steps)
        assert scheduler.timesteps.tolist() == fixture.outputs[f"n{steps}.loop_timesteps"].tolist()
        assert scheduler.timesteps[:1].tolist() == fixture.outputs[f"n{steps}.add_noise_timestep"].tolist()
        fixture.check(f"n{steps}.x_init", scheduler.add_noise(inputs["x0"], inputs["noise"], scheduler.timesteps[:1]))
        latents = []
        denoise(
            predict,
            inputs["noise"],
            make_scheduler(),
            steps,
            start=Start(inputs["x0"], 1.0),
            on_step=lambda _, x: latents.append(x),  # noqa: B023
        )
        fixture.check(f"n{steps}.latents", torch.stack(latents))


def frames_of(x):
    """[1, C, F, H, W] to [F, C, H, W]."""
    return x[0].transpose(0, 1)


def check_sampling(fixture):
    inputs, call = fixture.inputs, fixture.info["call"]
    unet = loaded(M3DDMUNet(config_of(fixture.info["config"])), fixture.part("sd."))
    latents = inputs["scaled_global"][None]
    slots = call["guide_slots"]
    guides = {slot: inputs["guide_latents"][i, 0] for i, slot in enumerate(slots)}
    mask = cell_mask(inputs["mask_pixels"][0]).expand(call["num_frames"], 1, -1, -1)
    clip = M3DDMClip(
        unet,
        Start(inputs["scaled_init"], 1.0),
        nothing=tell(inputs["scaled_black"].expand_as(inputs["scaled_masked"]), torch.ones_like(mask), guides),
        context=tell(inputs["scaled_masked"], mask, guides),
        keys=unet.encode_global(latents),
        null_keys=unet.encode_global(torch.zeros_like(latents)),
        fps=call["fps"],
        scales=Scales(call["guidance_scale"], call["previous_guidance_scale"]),
    )
    for branch, given in enumerate((clip.nothing, clip.context)):
        for name, part in (("cond_latents_by_branch", given[:, :-1]), ("mask_by_branch", given[:, -1:])):
            recorded = fixture.outputs[name][branch].transpose(0, 1)
            assert torch.allclose(part, recorded, atol=fixture.info["tolerance"])
    whole = Window(range(call["num_frames"]), Box(0, 0, *mask.shape[-2:]))
    asked, steps = [], []

    def watched(x, timestep):
        parts = clip.predict(x[None], timestep, [whole])[:, 0]
        asked.append((timestep, parts, predict_canvas(clip, Settings().windows, x, timestep)))
        return asked[-1][2]

    noise = frames_of(inputs["noise"])
    final = denoise(
        watched,
        noise,
        make_scheduler(),
        call["num_inference_steps"],
        clip.enter,
        clip.start,
        lambda _, x: steps.append(x),
    )
    assert [int(time) for time, _, _ in asked] == fixture.outputs["timesteps"].tolist()
    used = fixture.outputs["eps_branches"][:, [0, 1, 3]]  # the third one is computed there and thrown away
    ours = torch.stack([parts for _, parts, _ in asked]).transpose(2, 3)
    assert (ours - used).abs().max() <= fixture.info["tolerance"]
    fixture.check("eps_combined", torch.stack([video_first(noise, 1) for _, _, noise in asked]))
    fixture.check("latents", torch.stack([video_first(x, 1) for x in steps]))
    fixture.check("final_latents", video_first(final, 1))


def check_preprocessing(fixture):
    for case in fixture.info["call"]["cases"]:
        frames, name = fixture.inputs[f"case{case['case']}.frames"], f"case{case['case']}"
        ratios = case["target_ratio_list"].split(",")
        source = Size(*frames.shape[1:3])
        assert list(reached_size(source, ratios)) == case["target_max_size_hw"]
        side, box = official_canvas(source, ratios)
        assert [side, side] == case["canvas_hw"] and list(box) == case["placed_box_top_left_h_w"]
        prepared = prepare_official(frames, ratios)
        fixture.check(f"{name}.masked", (prepared.masked * 255).round().byte())
        fixture.check(f"{name}.inpainted", (prepared.filled * 255).round().byte())
        fixture.check(f"{name}.mask", prepared.mask)
        fixture.check(f"{name}.latent_mask", cell_mask(prepared.mask[None])[0])


def official_known(model, video, ratios, plan, rate):
    """What M3DDM is told of frames [F, h, w, 3] uint8 on its own canvas, filled by its own Telea, at its own frame rates."""
    prepared = prepare_official(video, ratios)
    side, box = official_canvas(Size(*video.shape[1:3]), ratios)
    placed = [Placed(frame, prepared.mask) for frame in prepared.masked]
    canvas = Canvas(Size(side, side), box, Box(0, 0, side, side))
    known = model.know(PlacedVideo(from_levels(video), placed, canvas, rate), plan, torch.randn)
    return replace(known, start=model.networks.encode(prepared.filled), official_rate=True)


def check_driver(fixture):
    info, inputs = fixture.info, fixture.inputs
    call, options = info["call"], info["config"]
    unet = loaded(M3DDMUNet(config_of(options["unet"])), fixture.part("sd.unet."))
    vae = loaded(AutoencoderKL(**options["vae"], scaling_factor=call["vae_scale"]), fixture.part("sd.vae."))
    settings = Settings(
        steps=call["num_inference_steps"],
        context_scale=call["guidance_scale"],
        global_scale=call["previous_guidance_scale"],
    )
    model, length = M3DDMModel(Networks(unet, vae), settings, M3DDM), call["num_frames"]
    official, ratios = official_plan(length), call["target_ratio_list"].split(",")
    known = official_known(model, inputs["video"], ratios, official.plan, call["source_fps"])
    noise = frames_of(inputs["noise"])
    sampled = [x for _, x in sample_clips(model, known, official.plan, lambda clip: noise, torch.randn)]
    for index, latents in enumerate(sampled):
        fixture.check(f"clip{index}.final_latents", video_first(latents, 1))
    shown = official.shown
    assert len(shown) == call["result"]["frame_files"]
    assert [n for n in sorted(shown) if n >= length] == call["result"]["extra_indices"]
    prepared = prepare_official(inputs["video"], ratios)
    latents = torch.stack([sampled[clip][slot] for clip, slot in (shown[number] for number in range(length))])
    pictures = torch.stack(list(model.decode(latents, range(length))))
    frames = [paste_official_m3ddm(p, m, prepared.mask) for p, m in zip(pictures, prepared.masked, strict=True)]
    difference = (torch.stack(frames).int() - fixture.outputs["final_frames"].int()).abs()
    assert difference.max() <= 1 and (difference > 0).float().mean() <= 0.01


def check_crops(fixture):
    for row in fixture.info["rows"]:
        box = official_crop(row["canvas"], row["ratio"])
        assert list(box) == [row["top"], row["left"], row["height"], row["width"]], row


def check_schedules(fixture):
    for recorded in fixture.info["by_length"].values():
        length = recorded["num_frames"]
        official = official_plan(length)
        plan = official.plan
        assert list(plan.strides) == recorded["strides"] and len(plan.clips) == recorded["num_clips"]
        if recorded["global_frames"] is not None:
            assert list(global_frames(length)) == recorded["global_frames"]
        for clip, shows, other in zip(plan.clips, official.shows, recorded["clips"], strict=True):
            assert (clip.stride, list(clip.frames)) == (other["stride"], other["frames"])
            assert [slot in clip.guides for slot in range(len(clip.frames))] == other["known"]
            assert [f"f{number:04d}.jpg" for _, number in shows] == other["saved_files"]
            assert clip_rate(recorded["source_fps"], clip.stride, official=True) == other["fps_passed"]
        assert {str(frame): list(owner) for frame, owner in plan.finished.items()} == recorded["first_latent_owner"]
        shown = {f"f{number:04d}.jpg": list(owner) for number, owner in official.shown.items()}
        assert shown == recorded["final_image_owner"]


CHECKS = {
    "scheduler": check_scheduler,
    "sampling_clip": check_sampling,
    "driver_e2e": check_driver,
    "preprocess": check_preprocessing,
    "crop_boxes": check_crops,
    "frame_schedules": check_schedules,
    "unet_forward": check_unet,
    "global_encoder": check_global_encoder,
    "st_transformer": check_transformer,
    "resnet_p3d": check_resnet,
    "small_layers": check_layers,
    "embeddings": check_embeddings,
}


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda fixture: fixture.path.stem)
@torch.inference_mode()
def test_recorded(fixture):
    CHECKS[fixture.kind](fixture)
