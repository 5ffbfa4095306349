"""M3DDM beyond its published canvas: windows, clips that borrow noise from one draw, and one-frame videos."""

from dataclasses import replace

import pytest
import tiny
import torch

from canvas_core import m3ddm
from canvas_core.errors import SamplingError
from canvas_core.m3ddm import M3DDMClip, M3DDMPredictor, TiledM3DDMPredictor
from canvas_core.m3ddm_video import M3DDMNetworks, M3DDMSettings, outpaint_m3ddm
from canvas_core.pixels.finishing import Finishing
from canvas_core.plan.boxes import Box, Size
from canvas_core.plan.canvas import Pads, canvas_of_pads
from canvas_core.plan.keyframes import plan_levels
from canvas_core.plan.windows import WindowSettings
from canvas_core.sampling import fusion
from canvas_core.systems.m3ddm.plan import m3ddm_strides

TIME = torch.tensor(500)
CANVAS = canvas_of_pads(Size(48, 64), Pads(16, 8, 16, 8))


@pytest.fixture(scope="module")
def unet():
    return tiny.m3ddm()


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def clip_of(unet, frames=5, h=11, w=14, dtype=torch.float32):
    seen = random(1, 3, 4, 32, 32, seed=4).to(dtype)
    return M3DDMClip(
        context=random(frames, 4, h, w, seed=1).to(dtype),
        mask=(random(frames, 1, h, w, seed=2) > 0).to(dtype),
        black=random(1, 4, h, w, seed=3).to(dtype),
        guides={2: random(4, h, w, seed=5).to(dtype)},
        keys=unet.encode_global(seen),
        null_keys=unet.encode_global(torch.zeros_like(seen)),
        fps=8.0,
    )


@torch.inference_mode()
def test_a_canvas_of_one_window_is_predicted_as_published(unet):
    whole, x = M3DDMPredictor(unet, clip_of(unet)), random(5, 4, 11, 14)
    assert torch.equal(TiledM3DDMPredictor(whole, WindowSettings(256, 64))(x, TIME), whole(x, TIME))


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
        part = replace(
            clip,
            context=clip.context[cut],
            mask=clip.mask[cut],
            black=clip.black[cut],
            guides={2: clip.guides[2][cut[1:]]},
        )
        weights = settings.weigh(box.size)
        total[cut] += M3DDMPredictor(unet, part)(x[cut].to(dtype), TIME).float() * weights
        norm[cut[2:]] += weights
    for given in (x, x.to(dtype)):
        found = TiledM3DDMPredictor(M3DDMPredictor(unet, clip), settings)(given, TIME)
        assert found.dtype == torch.float32
        assert torch.allclose(found, total / norm, atol=1e-5)


@torch.inference_mode()
def test_a_video_in_half_precision_is_fused_in_float32(monkeypatch):
    """From end to end; corners, where weights are least, included."""
    seen, fuse = [], fusion.fuse_windows
    monkeypatch.setattr(m3ddm, "fuse_windows", lambda *given: (seen.append(given[2].dtype), fuse(*given))[1])
    unet = tiny.m3ddm().bfloat16()
    result, _, _ = outpainted(unet, pixels(3), (1,), dtype=torch.bfloat16)
    assert torch.isfinite(result).all()
    assert set(seen) == {torch.float32}


def outpainted(unet, frames, strides, canvas=CANVAS, seed=1, dtype=torch.float32, **options):
    settings = M3DDMSettings(steps=2, windows=WindowSettings(64, 16), **options)
    networks = M3DDMNetworks(unet, tiny.vae(), dtype=dtype)
    plan, told = plan_levels(len(frames), strides, clip=4), []
    result = outpaint_m3ddm(
        networks, settings, frames, 8.0, canvas, plan, seed, Finishing(), lambda *done: told.append(done)
    )
    return torch.stack(list(result)), plan, told


def pixels(frames):
    draw = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (frames, 48, 64, 3), dtype=torch.uint8, generator=draw)


@pytest.mark.parametrize("strides", [(1,), (3, 1)])
def test_the_source_is_exact_and_every_unit_is_reported(unet, strides):
    result, plan, told = outpainted(unet, pixels(9), strides)
    assert torch.equal((result[:, 8:56, 16:80] * 255).round().byte(), pixels(9))
    assert sum(units for _, units in told) == 2 * 9 + 2 * len(plan.clips)
    assert torch.isfinite(result).all() and result.shape == (9, 64, 96, 3)


def test_a_video_of_one_frame_is_outpainted(unet):
    result, _, _ = outpainted(unet, pixels(1), m3ddm_strides(1))
    assert torch.equal((result[:, 8:56, 16:80] * 255).round().byte(), pixels(1))


def test_the_source_may_lie_anywhere_on_a_canvas_of_any_size(unet):
    canvas = canvas_of_pads(Size(48, 64), Pads(3, 0, 50, 13))
    assert canvas.source == Box(0, 3, 48, 64)
    result, _, _ = outpainted(unet, pixels(2), (1,), canvas)
    assert result.shape[1:3] == tuple(canvas.trim.size)
    assert torch.equal((result[:, :48, 3:67] * 255).round().byte(), pixels(2))


@pytest.mark.parametrize(("planned", "message"), [(4, "3 frames, but the plan was made for 4"), (2, "more than the 2")])
def test_a_plan_for_another_length_is_refused(unet, planned, message):
    networks, plan = M3DDMNetworks(unet, tiny.vae()), plan_levels(planned, (1,))
    with pytest.raises(SamplingError, match=message):
        list(outpaint_m3ddm(networks, M3DDMSettings(steps=2), pixels(3), 8.0, CANVAS, plan, 0, Finishing()))
