"""The model that comes with the pack, in a real ComfyUI: the same as the headless engine within rounding."""

from functools import partial
from types import SimpleNamespace

import comfy_pack
import numpy as np
import pytest
import torch

comfy_pack.load_pack()

import core_models as models  # noqa: E402
import folder_paths  # noqa: E402
import latent_preview  # noqa: E402
from comfy.cli_args import LatentPreviewMethod, args  # noqa: E402

import nodes as core_nodes  # noqa: E402
from canvas_core.networks.autoencoder import decode, encode, load_autoencoder  # noqa: E402
from canvas_core.plan.boxes import Box as HeadlessBox  # noqa: E402
from canvas_core.plan.windows import WindowSettings as HeadlessWindows  # noqa: E402
from canvas_core.sampling.denoise import denoise  # noqa: E402
from canvas_core.sampling.noise import share_noise  # noqa: E402
from canvas_core.sampling.tiling import predict_canvas  # noqa: E402
from canvas_core.systems import built_in  # noqa: E402
from canvas_core.systems.checkpoint import open_checkpoint  # noqa: E402
from canvas_core.systems.follow_your_canvas.conditions import CanvasClip  # noqa: E402
from canvas_core.systems.follow_your_canvas.guidance import guide_by_text  # noqa: E402
from canvas_core.systems.follow_your_canvas.solver import make_scheduler  # noqa: E402
from canvas_core.systems.system import load_network  # noqa: E402

FILES = (built_in.MODEL, built_in.SAM, built_in.VAE)
pytestmark = pytest.mark.skipif(
    not all(path.is_file() for path in FILES), reason=f"the built-in model is not in {built_in.FOLDER}"
)

windows_adapter = comfy_pack.part("nodes.adapters.windows")
time_adapter = comfy_pack.part("nodes.adapters.time_windows")
conds_adapter = comfy_pack.part("nodes.adapters.follow_your_canvas.conds")
pack_boxes = comfy_pack.part("canvas_core.plan.boxes")
pack_canvas = comfy_pack.part("canvas_core.pixels.placing")
windows = comfy_pack.part("canvas_core.plan.windows")
relative_region = comfy_pack.part("canvas_core.systems.follow_your_canvas.relative_region").relative_region

FRAMES, C, H, W = 5, 32, 13, 19
ANCHOR = pack_boxes.Box(16, 24, 56, 72)
WINDOW = {"window": 64, "overlap": 16, "frames": 3, "frame_overlap": 1}
SETTINGS = windows.WindowSettings(**WINDOW)


def random(*shape, seed=9):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def drawn_frames(frames=FRAMES, height=H * 8, width=W * 8):
    """A warm left and a cool right half with slow waves, which move; [F, h, w, 3] 0..1."""
    t, y, x = torch.meshgrid(torch.arange(frames), torch.arange(height), torch.arange(width), indexing="ij")
    waves = torch.sin(x / 11 + t / 3) * torch.cos(y / 9) * 0.15
    cool = (x > width / 2).float()
    return torch.stack([0.75 - 0.5 * cool + waves, 0.45 + waves, 0.2 + 0.55 * cool + waves], dim=-1)


@pytest.fixture(scope="module")
def model():
    return comfy_pack.part("nodes.adapters.model").load_canvas_model(str(built_in.MODEL))


@pytest.fixture(scope="module")
def clip():
    """What the model is told of one clip: latents of its frames, a mask that differs from frame to frame, tokens."""
    reader = comfy_pack.part("nodes.adapters.follow_your_canvas.layout").load_layout_reader(
        str(built_in.MODEL), str(built_in.SAM)
    )
    frames = drawn_frames()
    real, null = reader.read(frames[:, ANCHOR.y : ANCHOR.bottom, ANCHOR.x : ANCHOR.right], SETTINGS.plan_frames(FRAMES))
    mask = pack_canvas.generation_mask(pack_boxes.Size(H * 8, W * 8), ANCHOR).repeat(FRAMES, 1, 1)
    for index in range(FRAMES):
        mask[index, 3 : 20 + 7 * index, :40] = 0  # borrowed pixels, not along cells
    latents = encode(load_autoencoder(built_in.VAE), frames * (mask == 0)[..., None] + 0.5, random(FRAMES, C, H, W))
    return SimpleNamespace(mask=mask, latents=latents, real=real, null=null, text=torch.zeros(1, 1, reader.text_width))


def conditioning(clip, mask=None):
    values = {
        "canvas": conds_adapter.Layout(clip.real, clip.null, ANCHOR, "centre_px", 8),
        "concat_latent_image": clip.latents,
        "concat_mask": clip.mask[:, None] if mask is None else mask,
    }
    return [[clip.text, values]]


def tiled(model, settings=SETTINGS):
    return time_adapter.apply_time_windows(windows_adapter.apply_windows(model, settings), settings)


def sample(model, clip, noise, steps=4, mask=None):
    cond = conditioning(clip, mask)
    return models.sample(model, noise, cond, cond, "euler", "simple", steps, cfg=1.0)


def record_inputs(model):
    """The MODEL and a list that fills with what the network is given."""
    patched, calls = model.clone(), []

    def keep(executor, x, timesteps, context, control, options, **kwargs):
        calls.append((x.clone(), options.get("context_window"), kwargs["relative_region"]))
        return executor(x, timesteps, context, control, options, **kwargs)

    patched.add_wrapper_with_key("diffusion_model", "record", keep)
    return patched, calls


def headless_latents(clip, noise, steps):
    spans = SETTINGS.plan_frames(FRAMES)
    checkpoint = open_checkpoint(built_in.MODEL)
    hidden = torch.nn.functional.max_pool2d(clip.mask, 8)  # a cell with any hidden pixel is hidden
    told = CanvasClip(
        load_network(checkpoint),
        guide_by_text(1.0),
        mask=hidden[:, None],
        masked_latents=clip.latents,
        text={"positive": clip.text, "negative": clip.text},
        layout={("real", span): clip.real[span] for span in spans},
        anchor=HeadlessBox(*ANCHOR),
        rre="centre_px",
    )
    predict = partial(predict_canvas, told, HeadlessWindows(**WINDOW))
    scheduler = make_scheduler(checkpoint.config.prediction, checkpoint.config.spacing)
    return denoise(predict, share_noise(noise, checkpoint.config.noise_share), scheduler, steps)


@pytest.mark.parametrize("steps", [1, 4])
def test_core_s_euler_equals_the_headless_engine(model, clip, steps):
    """Core starts at a noise level of 4,520 instead of infinity, of which float32 keeps 0.0005."""
    noise = random(FRAMES, C, H, W)
    ours, expected = sample(tiled(model), clip, noise, steps), headless_latents(clip, noise, steps)
    assert (ours - expected).abs().max() < 2e-3 * expected.abs().max()


def test_noise_is_shared_once_for_the_whole_clip(model, clip):
    """Windows in space and time are cut from the shared noise; sharing anew in each would correlate them less."""
    noise = random(FRAMES, C, H, W)
    shared = share_noise(noise, model.model.model_sampling.noise_share)
    recorded, calls = record_inputs(tiled(model))
    sample(recorded, clip, noise, steps=1)
    boxes = {
        tuple(relative_region(box.scaled(8), ANCHOR, "centre_px")): box
        for box in SETTINGS.plan(pack_boxes.Size(H, W)).windows
    }
    seen = set()
    for x, window, regions in calls:
        frames = window.index_list
        for part, rows in zip(x.split(len(frames)), regions.split(len(frames)), strict=True):
            box = boxes[tuple(rows[0].tolist())]
            assert (part[:, :C] - box.crop(shared[frames])).abs().max() < 1e-5
            seen.add((tuple(frames), box))
    assert len(seen) == len(boxes) * len(SETTINGS.plan_frames(FRAMES))
    assert (shared - noise).abs().max() > 0.1


def test_noise_is_shared_when_denoising_starts_from_a_latent(model):
    sampling = model.get_model_object("model_sampling")
    noise, latent = random(FRAMES, C, H, W), random(FRAMES, C, H, W, seed=3)
    noisy = sampling.noise_scaling(torch.tensor([0.7]), noise.clone(), latent)
    assert (noisy - latent - 0.7 * share_noise(noise, sampling.noise_share)).abs().max() < 1e-5


def test_a_cell_with_any_hidden_pixel_is_hidden(model, clip):
    """However slightly, and wherever in the cell it lies."""
    mask = torch.zeros(1, H * 8, W * 8)
    mask[0, 8 * 2 + 7, 8 * 5 + 3] = 0.2
    mask[0, 8 * 4, 8 * 6] = 1.0
    expected = torch.zeros(H, W)
    expected[2, 5] = expected[4, 6] = 1
    recorded, calls = record_inputs(time_adapter.apply_time_windows(model, SETTINGS))
    sample(recorded, clip, random(FRAMES, C, H, W), steps=1, mask=mask)
    assert len(calls) == len(SETTINGS.plan_frames(FRAMES))
    assert all((x[:, C] == expected).all() for x, _, _ in calls)


def core_vae():
    return core_nodes.VAELoader().load_vae(built_in.VAE.name)[0]


def test_loaders_find_the_files():
    for path in FILES:
        assert path.name in folder_paths.get_filename_list(path.parent.name)
        assert folder_paths.get_full_path(path.parent.name, path.name) == str(path)


def test_core_s_vae_equals_the_headless_one():
    core, ours = core_vae(), load_autoencoder(built_in.VAE)
    frames = drawn_frames(2)
    latents = encode(ours, frames, torch.zeros(2, C, H, W))
    assert (core.encode(frames) - latents).abs().max() < 1e-4
    assert (core.decode(latents) - decode(ours, latents)).abs().max() < 1e-4
    assert (decode(ours, latents) - frames).abs().mean() < 0.1


def test_previews_have_the_frame_s_colours(model, monkeypatch):
    monkeypatch.setattr(args, "preview_method", LatentPreviewMethod.Auto)
    previewer = latent_preview.get_previewer(models.CPU, model.model.latent_format)
    assert isinstance(previewer, latent_preview.Latent2RGBPreviewer)
    frames = drawn_frames(1)
    latents = model.model.process_latent_in(core_vae().encode(frames))
    picture = previewer.decode_latent_to_preview(latents)
    assert picture.size == (W, H)
    shown = torch.from_numpy(np.array(picture)) / 255
    small = torch.nn.functional.avg_pool2d(frames.movedim(-1, 1), 8)[0].movedim(0, -1)
    for side in (slice(0, W // 2), slice(W // 2 + 1, W)):
        assert (shown[:, side].mean((0, 1)) - small[:, side].mean((0, 1))).abs().max() < 0.2
