"""Frames whose whole canvas is known from the start: guide images, and key frames that another system made."""

from dataclasses import replace

import pytest
import tiny
import torch

from canvas_core.engine import outpaint, plan_growth, seeded_draw
from canvas_core.errors import GeometryError, SamplingError
from canvas_core.pixels.placed import OnCanvas, Video, stack_placed
from canvas_core.pixels.store import IN_MEMORY, ON_DISK
from canvas_core.plan.boxes import Size
from canvas_core.plan.canvas import Pads, canvas_of_pads
from canvas_core.plan.keyframes import plan_levels
from canvas_core.systems.follow_your_canvas.files import FOLLOW_YOUR_CANVAS
from canvas_core.systems.follow_your_canvas.known import Networks
from canvas_core.systems.follow_your_canvas.model import FollowYourCanvas, no_prompts
from canvas_core.systems.follow_your_canvas.settings import Settings
from canvas_core.systems.m3ddm.files import M3DDM
from canvas_core.systems.m3ddm.known import Networks as M3DDMNetworks
from canvas_core.systems.m3ddm.model import M3DDMModel
from canvas_core.systems.m3ddm.settings import Settings as M3DDMSettings

SIZE, FRAMES = Size(40, 48), 7
CANVAS = canvas_of_pads(SIZE, Pads(16, 0, 16, 3))
SMALL = {"steps": 2, "window": 64, "overlap": 16, "feather": 2}


@pytest.fixture(scope="module")
def models():
    networks = Networks(tiny.unet(), tiny.layout_encoder(), tiny.sam(), tiny.vae())
    settings = Settings(frame_window=8, frame_overlap=2, cfg=1.0, **SMALL)
    return {
        "follow_your_canvas": FollowYourCanvas(networks, no_prompts(32), settings, FOLLOW_YOUR_CANVAS),
        "m3ddm": M3DDMModel(M3DDMNetworks(tiny.m3ddm(), tiny.vae()), M3DDMSettings(**SMALL), M3DDM),
    }


def pictures(size, count, seed=0):
    return torch.rand(count, *size, 3, generator=torch.Generator().manual_seed(seed))


def run(model, canvas, given, strides=(1,), store=IN_MEMORY, seed=3):
    plan = plan_levels(FRAMES, strides, 4, 1, given=given)
    video = Video(pictures(SIZE, FRAMES), 12.0, given)
    return torch.stack(list(outpaint(model, video, canvas, plan, seeded_draw(seed), store)))


def around(frames, canvas):
    """What lies around the source, [F, n, 3]."""
    hidden = torch.ones(*canvas.trim.size, dtype=torch.bool)
    box = canvas.source
    hidden[box.y : box.bottom, box.x : box.right] = False
    return frames[:, hidden]


@pytest.mark.parametrize("name", ["follow_your_canvas", "m3ddm"])
@pytest.mark.parametrize("strides", [(1,), (3, 1)], ids=["one level", "two levels"])
def test_given_frames_come_out_as_they_went_in_and_guide_the_others(models, name, strides):
    one, other = ({2: pictures(CANVAS.size, 1, seed)[0], 6: pictures(CANVAS.size, 1, 9)[0]} for seed in (1, 2))
    found, changed = (run(models[name], CANVAS, given, strides) for given in (one, other))
    shown = torch.stack([one[2], one[6]])[:, : CANVAS.trim.h, : CANVAS.trim.w]
    assert torch.equal(around(found[[2, 6]], CANVAS), around(shown, CANVAS))
    assert torch.equal(found[:, 2:38, 18:62], pictures(SIZE, FRAMES)[:, 2:38, 2:46])
    free = [0, 1, 3, 4, 5]
    assert (around(found[free], CANVAS) - around(changed[free], CANVAS)).abs().max() > 1e-3


def test_on_disk_they_are_the_same_but_for_8_bits(models):
    given = {0: pictures(CANVAS.size, 1, 1)[0]}
    held, kept = (run(models["follow_your_canvas"], CANVAS, given, (1,), store) for store in (IN_MEMORY, ON_DISK))
    assert torch.equal(held, kept)


def test_each_round_is_given_its_part(models):
    model = models["follow_your_canvas"]
    canvas = canvas_of_pads(SIZE, Pads(64, 0, 80, 0))
    assert len(plan_growth(model, canvas)) > 1
    given = {3: pictures(canvas.size, 1, 1)[0]}
    assert torch.equal(around(run(model, canvas, given)[[3]], canvas), around(given[3][None], canvas))


def test_nothing_of_them_is_hidden():
    given = {1: pictures(CANVAS.size, 1, 1)[0]}
    frames, masks = stack_placed(list(OnCanvas(pictures(SIZE, 3), CANVAS, given)))
    assert torch.equal(frames[1], given[1]) and not masks[1].any() and masks[[0, 2]].any(dim=(1, 2)).all()


def test_frames_that_the_plan_does_not_know_are_refused(models):
    plan, video = plan_levels(FRAMES, (1,), 4, 1), Video(pictures(SIZE, FRAMES), 12.0, {1: pictures(CANVAS.size, 1)[0]})
    with pytest.raises(SamplingError, match=r"given frames \[\], but those of the video are \[1\]"):
        next(outpaint(models["m3ddm"], video, CANVAS, plan, seeded_draw(0)))


def test_frames_of_another_size_are_refused(models):
    with pytest.raises(GeometryError, match="given frame 1 is 48x40, but the canvas is"):
        run(models["m3ddm"], CANVAS, {1: pictures(SIZE, 1)[0]})


def test_finishing_leaves_them_alone(models):
    model = models["follow_your_canvas"]
    how = replace(model.settings, match=6, texture=0.8, propagate=True)
    given = {2: pictures(CANVAS.size, 1, 1)[0]}
    found = run(model.with_settings(how), CANVAS, given)
    shown = given[2][None, : CANVAS.trim.h, : CANVAS.trim.w]
    assert torch.equal(around(found[[2]], CANVAS), around(shown, CANVAS))
