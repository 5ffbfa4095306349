"""Canvas Global Frames in a real ComfyUI: what it tells M3DDM is what the headless engine tells it."""

from types import SimpleNamespace

import comfy_pack
import pytest
import torch

comfy_pack.load_pack()

import comfy.model_management  # noqa: E402
import comfy.sd  # noqa: E402
import comfy.utils  # noqa: E402
import tiny  # noqa: E402

from canvas_core.networks.autoencoder import load_autoencoder  # noqa: E402
from canvas_core.pixels.eight_bit import FromLevels  # noqa: E402
from canvas_core.pixels.placed import OnCanvas, PlacedVideo  # noqa: E402
from canvas_core.pixels.placing import generation_mask, place_source  # noqa: E402
from canvas_core.plan.boxes import Size  # noqa: E402
from canvas_core.plan.canvas import canvas_of_size  # noqa: E402
from canvas_core.plan.keyframes import plan_levels  # noqa: E402
from canvas_core.progress import unwatched  # noqa: E402
from canvas_core.systems.m3ddm.conditions import Scales  # noqa: E402
from canvas_core.systems.m3ddm.global_frames import global_frames  # noqa: E402
from canvas_core.systems.m3ddm.known import Networks, read_known  # noqa: E402

CanvasGlobalFrames = comfy_pack.part("nodes.m3ddm").CanvasGlobalFrames
errors = comfy_pack.part("canvas_core.errors")

FRAMES = 5
SOURCE = Size(40, 56)
CANVAS = canvas_of_size(SOURCE, Size(48, 104))
SCALE = 0.18215


class BlockVae:
    """The mean colours of each cell, and the red of its first pixel."""

    def encode(self, frames):
        x = frames.movedim(-1, 1)
        return torch.cat([torch.nn.functional.avg_pool2d(x, 8), x[:, :1, ::8, ::8]], dim=1)


VAE = BlockVae()


@pytest.fixture(scope="module")
def vae_file(tmp_path_factory):
    return tiny.write_taesd(tmp_path_factory.mktemp("vae") / "vae.safetensors")


@pytest.fixture(scope="module")
def core_vae(vae_file):
    """As core's Load VAE makes it, with the scale of Stable Diffusion's latents."""
    scale = {"vae_scale": torch.tensor(SCALE), "vae_shift": torch.tensor(0.0)}
    return comfy.sd.VAE(sd=comfy.utils.load_torch_file(str(vae_file)) | scale)


def clip(frames=FRAMES):
    """[F, h, w, 3] uint8, rough enough that each pixel counts."""
    return torch.randint(256, (frames, *SOURCE, 3), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)


def placed(frames=FRAMES):
    """The images of Canvas Expand, whose hidden area is grey, and one mask for all."""
    images = place_source(clip(frames).float() / 255, CANVAS.size, CANVAS.source)
    return images, generation_mask(CANVAS.size, CANVAS.source)[None]


def run(vae, images, mask, video, fps=29.97):
    positive, negative, latent = CanvasGlobalFrames.execute(images, mask, video, vae, fps).args
    return positive[0], negative[0], latent


def headless_clip(vae_file):
    """The whole clip as the headless engine tells it, with the global frames' latents in place of their keys."""
    unet = SimpleNamespace(config=SimpleNamespace(out_channels=4), encode_global=lambda latents: latents[0])
    source = FromLevels(clip())
    video = PlacedVideo(source, OnCanvas(source, CANVAS), CANVAS, 29.97)
    known = read_known(Networks(unet, load_autoencoder(vae_file)), Scales(2.0, 4.0), video, FRAMES, unwatched)
    return known.clip(plan_levels(FRAMES, (1,)).clips[0], {})


def test_it_tells_what_the_headless_engine_tells(core_vae, vae_file):
    images, mask = placed()
    positive, negative, latent = run(core_vae, images, mask, clip().float() / 255)
    expected = headless_clip(vae_file)
    for ours, theirs in (
        (positive[1]["concat_latent_image"], expected.context[:, :4]),
        (negative[1]["concat_latent_image"], expected.nothing[:, :4]),
        (latent["samples"], expected.start.latents),
        (positive[1]["canvas"].latents, expected.keys),
    ):
        assert ours.shape == theirs.shape
        assert (ours * SCALE - theirs).abs().max() < 1e-5
    assert (expected.start.latents - expected.context[:, :4]).abs().max() > 1e-3
    assert torch.equal(positive[1]["concat_mask"], mask.expand(FRAMES, -1, -1)[:, None])
    for told, theirs in ((positive, expected.context), (negative, expected.nothing)):
        assert torch.equal(told[1]["concat_mask"][..., ::8, ::8], theirs[:, 4:])


def test_one_mask_for_all_frames_is_a_mask_for_each():
    images, mask = placed()
    one, each, flat = (run(VAE, images, given, images)[0][1] for given in (mask, mask.repeat(FRAMES, 1, 1), mask[0]))
    for key in ("concat_mask", "concat_latent_image"):
        assert torch.equal(one[key], each[key])
        assert torch.equal(one[key], flat[key])


def test_a_mask_of_its_own_for_each_frame():
    """As Canvas Fill gives it where a moving camera has shown more."""
    images, mask = placed()
    masks = mask.repeat(FRAMES, 1, 1)
    masks[3, :, :16] = 0
    told = run(VAE, images, masks, images)[0][1]
    assert torch.equal(told["concat_mask"][:, 0], masks)
    left = told["concat_latent_image"][:, :3, :, :2]
    assert (left[3] == 0.5).all()
    assert not left[[0, 1, 2, 4]].any()


def test_the_negative_knows_nothing():
    positive, negative, _ = run(VAE, *placed(), clip().float() / 255)
    assert (negative[1]["concat_mask"] == 1).all()
    assert negative[1]["concat_mask"].shape == positive[1]["concat_mask"].shape
    assert len(negative[1]["concat_latent_image"].unique(dim=0)) == 1
    contexts = [cond[1]["canvas"] for cond in (positive, negative)]
    assert [(context.null, context.fps) for context in contexts] == [(False, 29.97), (True, 29.97)]
    assert contexts[0].latents.shape == contexts[1].latents.shape == (16, 4, 32, 32)
    assert all(cond[0].shape == (1, 1, 1) for cond in (positive, negative))


def test_the_latent_has_no_mask():
    """Known cells are generated too; the model is told what is known."""
    assert set(run(VAE, *placed(), clip().float() / 255)[2]) == {"samples"}


def test_global_frames_are_spread_over_the_whole_video():
    video = (torch.arange(40.0) / 80)[:, None, None, None].expand(40, 9, 21, 3)
    positive, *_ = run(VAE, *placed(), video)
    levels = (video[list(global_frames(40))] * 255).round() / 255
    expected = VAE.encode(levels[:, :1, :1].expand(16, 256, 256, 3))
    assert (positive[1]["canvas"].latents - expected).abs().max() < 1e-3


def test_a_slightly_hidden_pixel_is_black():
    images, mask = placed()
    hidden = mask.clone()
    hidden[0, 20, 50] = 0.2
    told = run(VAE, images, hidden, images)[0][1]
    assert told["concat_mask"][0, 0, 20, 50] == 1
    black = images.clone()
    black[hidden.expand(FRAMES, -1, -1) > 0] = 0
    assert torch.equal(told["concat_latent_image"], VAE.encode(black))


def test_inputs_are_left_alone():
    images, mask = placed()
    before = images.clone(), mask.clone()
    run(VAE, images, mask, images)
    assert torch.equal(images, before[0])
    assert torch.equal(mask, before[1])


def test_it_can_be_cancelled():
    comfy.model_management.interrupt_current_processing()
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        run(VAE, *placed(), clip().float() / 255)


def without(**values):
    images, mask = placed()
    return {"images": images, "mask": mask, "global_images": images, "fps": 24.0} | values


class VideoVae:
    """Makes one latent of several frames."""

    def encode(self, frames):
        return torch.zeros(1, 16, 2, frames.shape[1] // 8, frames.shape[2] // 8)


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        (lambda: without(images=torch.zeros(FRAMES, 44, 104, 3)), "Geometry", "104x44, but.*multiples of 8; set"),
        (
            lambda: without(mask=torch.ones(1, 48, 96)),
            "Geometry",
            "mask is 1 frames of 96x48.*5 of 104x48.*same Canvas",
        ),
        (
            lambda: without(mask=torch.ones(3, 48, 104)),
            "Geometry",
            "mask is 3 frames of 104x48.*5 of 104x48.*same Canv",
        ),
        (lambda: without(mask=torch.zeros(1, 48, 104)), "Geometry", "mask is empty.*connect the mask"),
        (lambda: without(mask=torch.ones(1, 48, 104)), "Geometry", "hides every pixel of every frame"),
        (
            lambda: without(global_images=torch.zeros(0, 9, 9, 3)),
            "Conditioning",
            r"are \[0, 9, 9, 3\].*connect the fra",
        ),
        (lambda: without(fps=float("nan")), "Conditioning", "fps is nan, but.*Get Video Components"),
        (lambda: without(fps=float("inf")), "Conditioning", "fps is inf, but"),
        (lambda: without(vae=VideoVae()), "Conditioning", r"latents of \[1, 16, 2, 32, 32\].*Stable Diffusion 1.5"),
    ],
)
def test_bad_input_says_what_to_do(inputs, error, message):
    with pytest.raises(getattr(errors, f"{error}Error"), match=message):
        CanvasGlobalFrames.execute(**({"vae": VAE} | inputs()))
