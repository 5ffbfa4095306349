"""The quality protocol on methods whose figures are known."""

import math
from fractions import Fraction

import cv2
import numpy as np
import pytest
import torch

from canvas_core.errors import CanvasError, GeometryError, SamplingError, VideoError
from canvas_core.evaluation.bars import bars
from canvas_core.evaluation.camera import (
    CameraGain,
    CameraRow,
    camera_gain,
    camera_means,
    camera_rows,
    pan,
    shown_elsewhere,
)
from canvas_core.evaluation.protocol import (
    BASELINES,
    TRUTH,
    cuts,
    evaluate,
    filling,
    geometric_mean,
    hide_sides,
    load_cut,
    means,
    run_hidden,
    square,
)
from canvas_core.evaluation.report import contact_sheet, evaluate_files
from canvas_core.media.pictures import read_picture
from canvas_core.media.video import write_clip
from canvas_core.pixels.fill import FILLS
from canvas_core.pixels.placing import GREY, generation_mask, place_source
from canvas_core.plan.boxes import Box, Size

SIZE = Size(48, 88)
FRAMES = 5


def noise(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def landscape(size, seed=0):
    """A picture [H, W, 3] with detail of all scales."""
    total = np.zeros((*size, 3), np.float32)
    for step in range(5):
        coarse = noise((-(-size.h // 2**step), -(-size.w // 2**step), 3), seed + step).numpy()
        total += cv2.resize(coarse, (size.w, size.h)) * 0.02 * 1.5**step
    return torch.from_numpy(total + 0.5).clamp(0, 1)


def moving(seed=0):
    """A landscape that passes by, [FRAMES, *SIZE, 3]."""
    picture = landscape(Size(SIZE.h, SIZE.w + 3 * FRAMES), seed)
    return torch.stack([picture[:, 3 * t : 3 * t + SIZE.w] for t in range(FRAMES)])


CLIPS = {"one": moving(), "other": moving(50)}


def changed(change):
    """A method that knows the clips: the truth with change(frames) in the hidden area."""

    def outpaint(source, canvas):
        x, right = canvas.source.x, canvas.source.right
        truth = next(clip for clip in CLIPS.values() if torch.equal(clip[:, :, x:right], source))
        return torch.where(generation_mask(canvas.size, canvas.source)[..., None] > 0, change(truth), truth)

    return outpaint


def blurred(frames):
    return torch.from_numpy(np.stack([cv2.GaussianBlur(one, (0, 0), 2) for one in frames.numpy()]))


METHODS = {
    "perfect": changed(lambda frames: frames),
    "blurred": changed(blurred),
    "speckle": changed(lambda frames: frames + 0.1 * noise(frames.shape)),
    "leaky": lambda source, canvas: changed(lambda frames: frames)(source, canvas) + 0.01,
    "like the cone": BASELINES["cone"],
}


@pytest.fixture(scope="module")
def rows():
    return evaluate(METHODS, CLIPS)


def failed(found, method):
    return {bar.name for bar in found if bar.method == method and not bar.passed}


def test_a_row_for_each_combination(rows):
    keys = {(row.clip, row.share, row.method) for row in rows}
    assert len(keys) == len(rows) == 2 * 2 * (len(BASELINES) + len(METHODS) + 1)


def test_every_run_is_reported_and_may_be_stopped():
    methods, clips, told, kept = {"perfect": METHODS["perfect"]}, {"one": CLIPS["one"]}, [], []
    rows = evaluate(methods, clips, [0.25], lambda *kind: kept.append(kind[:3]), lambda *how: told.append(how))
    total = len(BASELINES) + 2
    assert told == [("evaluate", count, total) for count in range(total + 1)]
    assert kept == [(row.clip, row.share, row.method) for row in rows] and len(rows) == total

    def stop(stage, done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(methods, clips, [0.25], watch=stop)


def test_pans_are_reported():
    told = []
    methods = {name: BASELINES[name] for name in ("grey", "edge")}
    rows = camera_rows(methods, {"land": landscape(Size(70, 150))}, [0.25], 64, lambda *how: told.append(how))
    assert told == [("evaluate the camera", count, 2) for count in (1, 2)] and len(rows) == 2


def test_a_perfect_method_reaches_every_bar(rows):
    found = [bar for bar in bars(rows, drafts={"like the cone"}) if bar.method == "perfect"]
    assert len(found) == 2 * 10 and all(bar.passed for bar in found)
    perfect = next(row for row in rows if row.method == "perfect")
    truth = next(row for row in rows if row.method == TRUTH)
    assert perfect.measures == truth.measures and perfect.measures.psnr == math.inf
    assert perfect.bands.luma == pytest.approx([1.0] * 4)


def test_each_fault_fails_its_bar(rows):
    found = bars(rows)
    assert "luma 1, energy" in failed(found, "blurred")
    assert {"chroma 1 (speckle), energy", "luma 1, energy", "flicker"} <= failed(found, "speckle")
    assert failed(found, "leaky") == {"largest error on known pixels"}


def test_a_draft_must_beat_the_best_baseline(rows):
    draft = [
        bar for bar in bars(rows, drafts=["like the cone", "blurred"]) if bar.method in ("like the cone", "blurred")
    ]
    averages = [row for row in means(rows) if row.share == 0.25 and row.method in BASELINES]
    best = max(row.measures.psnr for row in averages)
    cone = next(row.measures.psnr for row in averages if row.method == "cone")
    found = next(bar for bar in draft if bar.method == "like the cone" and "PSNR" in bar.name)
    assert found.figure == pytest.approx(cone - best) and not found.passed
    assert failed(draft, "blurred") == set()


def test_bars_are_met_on_their_limits_and_never_by_nan(rows):
    bar = bars(rows)[0]
    assert bar._replace(figure=bar.low).passed and bar._replace(figure=bar.high).passed
    assert not bar._replace(figure=math.nan).passed


def test_bars_need_the_baselines(rows):
    with pytest.raises(GeometryError, match="no telea, but bars"):
        bars([row for row in rows if row.method != "telea"])


def test_baselines_are_the_fills(rows):
    clip, canvas = CLIPS["one"], hide_sides(SIZE, 0.5)
    known = clip[:, :, canvas.source.x : canvas.source.right]
    mask = generation_mask(SIZE, canvas.source).expand(FRAMES, -1, -1)
    expected = FILLS["cone"](place_source(known, SIZE, canvas.source), mask)
    assert torch.equal(run_hidden(BASELINES["cone"], clip, canvas), expected)


def test_the_grey_baseline_by_hand(rows):
    found = next(row for row in rows if (row.clip, row.share, row.method) == ("one", 0.25, "grey"))
    hidden = torch.cat([CLIPS["one"][:, :, :11], CLIPS["one"][:, :, -11:]], dim=2)
    assert found.measures.psnr == pytest.approx(-10 * math.log10((hidden - GREY).square().mean().item()), abs=1e-4)


def test_means(rows):
    found = next(row for row in means(rows) if (row.share, row.method) == (0.5, "telea"))
    each = [row for row in rows if (row.share, row.method) == (0.5, "telea")]
    assert found.measures.psnr == pytest.approx(np.mean([row.measures.psnr for row in each]))
    assert found.bands.chroma == pytest.approx(math.sqrt(each[0].bands.chroma * each[1].bands.chroma))
    assert geometric_mean([4.0, 0.25]) == pytest.approx(1)


@pytest.mark.parametrize(("share", "side"), [(0.25, 11), (0.5, 22), (0.1, 4)])
def test_half_the_share_on_either_side(share, side):
    canvas = hide_sides(SIZE, share)
    assert canvas.source == Box(0, side, 48, 88 - 2 * side) and canvas.trim.size == SIZE


def gradient(frames, h, w):
    return (
        (torch.arange(h * w, dtype=torch.float).reshape(h, w) / (h * w) * 255)
        .to(torch.uint8)[None, ..., None]
        .expand(frames, h, w, 3)
    )


@pytest.mark.parametrize(("h", "w"), [(31, 47), (47, 31), (16, 16), (9, 13)])
def test_cuts_are_the_centre(h, w):
    found = square(gradient(2, h, w), 16)
    assert found.shape == (2, 16, 16, 3) and found.min() >= 0 and found.max() <= 1
    assert found.mean().item() == pytest.approx(0.5, abs=0.02)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A clip of 40 frames and one of 17, lossless; frame t is about as bright as t."""
    folder = tmp_path_factory.mktemp("videos")
    for name, frames in (("long", 40), ("short", 17)):
        detail = (landscape(Size(64, 72)) * 100).to(torch.uint8)
        write_clip(folder / f"{name}.mkv", (detail + 2 * t for t in range(frames)), Fraction(8))
    return folder


def test_cuts_are_spread_over_the_clip(videos):
    found = cuts(videos / "long.mkv", count=3, size=32)
    assert list(found) == ["long@0", "long@24"]
    assert torch.equal(found["long@0"], load_cut(videos / "long.mkv", 32))
    assert (found["long@24"] - found["long@0"]).mean().item() == pytest.approx(48 / 255, abs=1e-3)
    assert list(cuts(videos / "long.mkv", count=3, frames=12)) == ["long@0", "long@14", "long@28"]
    assert list(cuts(videos / "short.mkv")) == ["short"]


def test_everything_is_written(videos, tmp_path):
    picture = tmp_path / "land.png"
    cv2.imwrite(str(picture), (landscape(Size(70, 140)).numpy() * 255).round())
    found = evaluate_files(
        {"mine": BASELINES["edge"]}, [videos / "long.mkv"], [picture], tmp_path, shares=[0.5], size=64
    )
    text = (tmp_path / "evaluation.md").read_text(encoding="utf-8")
    assert len(found) == 11 and all(bar.name in text for bar in found)
    assert "| long@24 | 0.5 | mine |" in text and "## Moving camera" in text
    sheet = cv2.imread(str(tmp_path / "clips_0.5.png"))
    assert sheet.shape == (40 + 2 * 70, 40 + 6 * 70, 3)  # source, telea, cone, cone + detail, mine, truth
    assert cv2.imread(str(tmp_path / "time_0.5.png")).shape == (40 + 4 * 70, 40 + 6 * 70, 3)


def test_the_sheet_shows_the_pictures():
    pictures = [np.full((20, 30, 3), value, np.uint8) for value in (50, 90)]
    sheet = contact_sheet({"a": pictures, "b": pictures[::-1]}, ["up", "down"])
    assert sheet.shape == (40 + 2 * 26, 40 + 2 * 36, 3)
    assert sheet[45, 50].tolist() == [50] * 3 and sheet[45, 90].tolist() == [90] * 3


def stitched(source, canvas, step=4):
    """A method that knows the pan: hidden pixels from the frame that shows them, else grey."""
    place, out = canvas.source, place_source(source, canvas.size, canvas.source)
    for t in range(len(source)):
        for other in range(len(source)):
            for column in range(canvas.size.w):
                there = column + (t - other) * step - place.x
                if not place.x <= column < place.right and 0 <= there < place.w:
                    out[t, :, column] = source[other][:, there]
    return out


def test_a_method_that_looks_at_other_frames_gains():
    found = camera_gain(stitched, landscape(Size(70, 150)), 0.25, size=64)
    assert found.seen == found.seen_plain == found.gain == math.inf
    rough = camera_gain(lambda *given: stitched(*given) + 0.02, landscape(Size(70, 150)), 0.25, size=64)
    assert rough.seen == pytest.approx(-20 * math.log10(0.02), abs=0.01) and rough.gain > 6


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_a_fill_of_single_frames_gains_nothing(share):
    picture = (noise((200, 260, 3)) * 0.1 + 0.5).clamp(0, 1)
    assert camera_gain(filling(FILLS["grey"]), picture, share, size=200).gain == pytest.approx(0, abs=0.2)


@pytest.mark.parametrize(("frames", "step"), [(5, 3), (16, 4)])
def test_what_other_frames_show(frames, step):
    canvas = hide_sides(Size(20, 33), 0.5)
    found = shown_elsewhere(canvas, frames, step)
    known = range(canvas.source.x, canvas.source.right)
    for t in range(frames):
        for column in range(33):
            assert found[t, column] == any(column + (t - other) * step in known for other in range(frames))


@pytest.mark.parametrize(("h", "w"), [(70, 140), (300, 100), (40, 50)])
def test_the_pan_moves_by_whole_pixels(h, w):
    found = pan(landscape(Size(h, w)), size=33, frames=6, step=3)
    assert found.shape == (6, 33, 33, 3)
    assert torch.equal(found[1:, :, :-3], found[:-1, :, 3:])


def test_camera_means():
    rows = [CameraRow(name, 0.25, "mine", CameraGain(10.0 + i, 8.0, 9.0, 7.0)) for i, name in enumerate("ab")]
    (found,) = camera_means(rows)
    assert found.gain == CameraGain(10.5, 8.0, 9.0, 7.0) and found.gain.gain == 2.5


def test_a_camera_bar_is_found(rows):
    gains = [CameraRow("land", 0.25, "perfect", CameraGain(20.0, 16.9, 0.0, 0.0))]
    assert [bar.passed for bar in bars(rows, gains) if "camera" in bar.name] == [True]


REFUSED = {
    "share": (GeometryError, lambda videos: hide_sides(SIZE, 1.0), "share is 1"),
    "no share": (GeometryError, lambda videos: hide_sides(SIZE, 0.001), "share is 0.001"),
    "short": (VideoError, lambda videos: load_cut(videos / "short.mkv", frames=18), "17 frames.*needs 18"),
    "shape": (
        SamplingError,
        lambda videos: evaluate({"mine": lambda source, canvas: source}, CLIPS),
        r"'mine' gave frames of \[5, 48, 66, 3\]",
    ),
    "name": (SamplingError, lambda videos: evaluate({"cone": BASELINES["cone"]}, CLIPS), "called 'cone'"),
    "pan": (GeometryError, lambda videos: pan(landscape(SIZE), frames=1), "1 frames of 4"),
    "picture": (VideoError, lambda videos: read_picture(videos / "long.mkv"), "long.mkv cannot be read as a picture"),
    "no picture": (VideoError, lambda videos: read_picture(videos / "none.png"), "none.png cannot be read"),
    "folder": (CanvasError, lambda videos: evaluate_files({}, [], [], videos / "none"), "no folder"),
    "no videos": (VideoError, lambda videos: evaluate_files({}, [], [], videos), "no videos"),
    "twice": (VideoError, lambda videos: evaluate_files({}, [videos / "long.mkv"] * 2, [], videos), "called long@0"),
}


@pytest.mark.parametrize(("error", "call", "message"), REFUSED.values(), ids=REFUSED)
def test_refusals(videos, error, call, message):
    with pytest.raises(error, match=message):
        call(videos)
