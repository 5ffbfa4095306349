"""M3DDM beyond its published canvas: windows, clips that borrow noise from one draw, and one-frame videos."""

from dataclasses import replace

import pytest
import tiny
import torch

from canvas_core.engine import outpaint, seeded_draw
from canvas_core.errors import SamplingError
from canvas_core.pixels.eight_bit import FromLevels, to_levels
from canvas_core.pixels.placed import Video
from canvas_core.plan.boxes import Box, Size
from canvas_core.plan.canvas import Pads, canvas_of_pads
from canvas_core.plan.keyframes import plan_levels
from canvas_core.plan.windows import WindowSettings
from canvas_core.sampling import tiling
from canvas_core.sampling.denoise import Start
from canvas_core.sampling.tiling import Window, predict_canvas
from canvas_core.systems.m3ddm.conditions import M3DDMClip, Scales, tell
from canvas_core.systems.m3ddm.files import M3DDM
from canvas_core.systems.m3ddm.known import Networks
from canvas_core.systems.m3ddm.model import M3DDMModel
from canvas_core.systems.m3ddm.plan import m3ddm_strides
from canvas_core.systems.m3ddm.settings import Settings
from canvas_core.systems.system import Place

TIME = torch.tensor(500)
CANVAS = canvas_of_pads(Size(48, 64), Pads(16, 8, 16, 8))


@pytest.fixture(scope="module")
def unet():
    return tiny.m3ddm()


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def clip_of(unet, frames=5, h=11, w=14, dtype=torch.float32):
    seen = random(1, 3, 4, 32, 32, seed=4).to(dtype)
    context, mask, black = random(frames, 4, h, w, seed=1), random(frames, 1, h, w, seed=2) > 0, random(4, h, w, seed=3)
    guides = {2: random(4, h, w, seed=5)}
    return M3DDMClip(
        unet,
        Start(random(frames, 4, h, w, seed=6), 1.0),
        nothing=tell(black.expand_as(context), torch.ones_like(mask), guides).to(dtype),
        context=tell(context, mask, guides).to(dtype),
        keys=unet.encode_global(seen),
        null_keys=unet.encode_global(torch.zeros_like(seen)),
        fps=8.0,
        scales=Scales(2.0, 4.0),
        place=Place("cpu", dtype),
    )


def predict_whole(clip, x):
    """The guided noise [F, 4, h, w] of a clip as the published code predicts it: one window."""
    whole = Window(range(len(x)), Box(0, 0, *x.shape[-2:]))
    return clip.combine(clip.predict(x[None], TIME, [whole]))[0]


def test_guides_are_all_that_is_known_of_them():
    latents, mask, guide = random(3, 4, 5, 7, seed=1), torch.ones(3, 1, 5, 7), random(4, 5, 7, seed=2)
    told = tell(latents, mask, {1: guide})
    assert torch.equal(told[1], torch.cat([guide, torch.zeros(1, 5, 7)]))
    assert torch.equal(told[[0, 2]], torch.cat([latents, mask], dim=1)[[0, 2]])
    assert mask.all()


@torch.inference_mode()
def test_a_canvas_of_one_window_is_predicted_as_published(unet):
    clip, x = clip_of(unet), random(5, 4, 11, 14)
    assert torch.equal(predict_canvas(clip, WindowSettings(256, 64), x, TIME), predict_whole(clip, x))


@torch.inference_mode()
def test_branches_are_guided_by_context_and_global_frames(unet):
    """In the order of the published formula, each by its own scale."""
    clip, x = clip_of(unet), random(5, 4, 11, 14)
    apart = [
        unet(torch.cat([x, told], dim=1), TIME.expand(1), keys, torch.tensor([clip.fps]))
        for told, keys in (
            (clip.nothing, clip.null_keys),
            (clip.context, clip.null_keys),
            (clip.context, clip.keys),
        )
    ]
    expected = apart[0] + 2.0 * (apart[1] - apart[0]) + 4.0 * (apart[2] - apart[1])
    assert torch.equal(predict_whole(clip, x), expected)
    assert not torch.allclose(predict_whole(replace(clip, scales=Scales(4.0, 2.0)), x), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@torch.inference_mode()
def test_windows_are_predicted_apart_and_fused_in_float32(dtype):
    unet = tiny.m3ddm().to(dtype)
    clip, x = clip_of(unet, dtype=dtype), random(5, 4, 11, 14)
    settings = WindowSettings(64, 24)
    total, norm = torch.zeros_like(x), torch.zeros(11, 14)
    boxes = settings.plan(Size(11, 14)).windows
    assert len(boxes) > 2
    for box in boxes:
        cut = (slice(None), slice(None), slice(box.y, box.bottom), slice(box.x, box.right))
        part = replace(clip, nothing=clip.nothing[cut], context=clip.context[cut])
        weights = settings.weigh(box.size)
        total[cut] += predict_whole(part, x[cut]) * weights
        norm[cut[2:]] += weights
    for at_once in (1, 3):
        found = predict_canvas(clip, settings, x, TIME, at_once)
        assert found.dtype == torch.float32
        assert torch.allclose(found, total / norm, atol=1e-5)


@torch.inference_mode()
def test_a_video_in_half_precision_is_fused_in_float32(monkeypatch):
    """From end to end; corners, where weights are least, included."""
    seen, fuse = [], tiling.fuse_windows

    def noting(*given):
        fused = fuse(*given)
        seen.append(fused.dtype)
        return fused

    monkeypatch.setattr(tiling, "fuse_windows", noting)
    unet = tiny.m3ddm().bfloat16()
    result, _, _ = outpainted(unet, pixels(3), (1,), dtype=torch.bfloat16)
    assert torch.isfinite(result).all()
    assert set(seen) == {torch.float32}


def model_of(unet, dtype=torch.float32, **options):
    settings = Settings(**{"steps": 2, "window": 64, "overlap": 16, "feather": 0, **options})
    return M3DDMModel(Networks(unet, tiny.vae(), Place("cpu", dtype)), settings, M3DDM)


def outpainted(unet, frames, strides, canvas=CANVAS, seed=1, dtype=torch.float32, **options):
    """The result [F, H, W, 3] of frames [F, h, w, 3] uint8, the plan, and what the watch was told."""
    plan, told = plan_levels(len(frames), strides, clip=4), []
    video = Video(FromLevels(frames), 8.0)
    result = outpaint(
        model_of(unet, dtype, **options),
        video,
        canvas,
        plan,
        seeded_draw(seed),
        watch=lambda *report: told.append(report),
    )
    return torch.stack(list(result)), plan, told


def pixels(frames):
    draw = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (frames, 48, 64, 3), dtype=torch.uint8, generator=draw)


@pytest.mark.parametrize("strides", [(1,), (3, 1)])
def test_the_source_is_exact_and_every_unit_is_reported(unet, strides):
    result, plan, told = outpainted(unet, pixels(9), strides)
    assert torch.equal(to_levels(result[:, 8:56, 16:80]), pixels(9))
    last = {stage: (done, total) for stage, done, total in told}
    assert all(done == total for done, total in last.values())
    assert sum(total for _, total in last.values()) == 2 * 9 + 2 * len(plan.clips)
    assert torch.isfinite(result).all() and result.shape == (9, 64, 96, 3)


def test_a_video_of_one_frame_is_outpainted(unet):
    result, _, _ = outpainted(unet, pixels(1), m3ddm_strides(1))
    assert torch.equal(to_levels(result[:, 8:56, 16:80]), pixels(1))


def test_the_source_may_lie_anywhere_on_a_canvas_of_any_size(unet):
    canvas = canvas_of_pads(Size(48, 64), Pads(3, 0, 50, 13))
    assert canvas.source == Box(0, 3, 48, 64)
    result, _, _ = outpainted(unet, pixels(2), (1,), canvas)
    assert result.shape[1:3] == tuple(canvas.trim.size)
    assert torch.equal(to_levels(result[:, :48, 3:67]), pixels(2))


@pytest.mark.parametrize(
    ("planned", "message"), [(4, "made for 4 frames, but the video has 3"), (2, "made for 2 frames, .* has more")]
)
def test_a_plan_for_another_length_is_refused(unet, planned, message):
    plan, video = plan_levels(planned, (1,)), Video(FromLevels(pixels(3)), 8.0)
    with pytest.raises(SamplingError, match=message):
        list(outpaint(model_of(unet), video, CANVAS, plan, seeded_draw(0)))


@pytest.mark.parametrize("steps", [1, 0, 1000])
def test_the_published_solver_needs_two_steps(steps):
    with pytest.raises(SamplingError, match=f"the number of steps is {steps}, but must be 2 to 999"):
        Settings(steps=steps)
