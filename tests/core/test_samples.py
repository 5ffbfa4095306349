"""Training batches: the same for the same seed and index, masks that cover, regions that are true; and their material."""

from fractions import Fraction

import cv2
import numpy as np
import pytest
import torch
from tiny_training import write_pictures

from canvas_core.errors import TrainingError
from canvas_core.media.video import write_clip
from canvas_core.plan.boxes import Box, Size
from canvas_core.systems.follow_your_canvas.block_latent import encode_blocks
from canvas_core.systems.follow_your_canvas.relative_region import relative_region
from canvas_core.systems.follow_your_canvas.sam import prepare_frame
from canvas_core.training.block_transform import learn_blocks
from canvas_core.training.data.clips import STRIDES, cut_clip, find_videos
from canvas_core.training.data.masks import MaskSettings
from canvas_core.training.data.pictures import cut_view, read_pictures
from canvas_core.training.data.samples import BatchShape, Material, Samples, SampleSettings

SHAPE = BatchShape(frames=3, h=40, w=56, batch=2, chance=1)
STILL = BatchShape(frames=1, h=24, w=32, batch=5, chance=3)
EYE = 24


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return list(read_pictures(write_pictures(tmp_path_factory.mktemp("pictures"))).values())


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = cv2.getNumThreads()
    yield
    cv2.setNumThreads(before)


@pytest.fixture
def samples(pictures):
    def make(seed=0, **settings):
        kernel = learn_blocks(pictures, 5)
        chosen = SampleSettings(**{"shapes": (SHAPE, STILL), "scenes": 0, "anchor_target": 0.5, **settings})
        return Samples(chosen, Material(pictures), kernel, EYE, seed)

    return make


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_batches_have_the_shapes_of_the_settings(samples):
    made, seen = samples(), set()
    for index in range(12):
        batch = made[index]
        shape = STILL if len(batch["fps"]) == STILL.batch else SHAPE
        frames, cells = shape.batch * shape.frames, (shape.h // 8, shape.w // 8)
        seen.add(shape)
        assert batch["latents"].shape == (frames, 5, *cells) and batch["mask"].shape == (frames, 1, *cells)
        assert batch["eye"].shape == (frames, 3, EYE, EYE) and batch["region"].shape == (shape.batch, 6)
        assert batch["shown"].dtype == torch.bool and (batch["fps"] == 8).all()
        assert batch["mask"].unique().tolist() in ([0, 1], [1])
    assert seen == {SHAPE, STILL}


def test_a_batch_follows_from_seed_and_index(samples):
    first, order = samples(), [4, 0, 7, 2]
    batches = {index: first[index] for index in order}
    assert all(same(samples()[index], batches[index]) for index in sorted(order))
    assert not same(samples(seed=1)[0], batches[0]) and not same(batches[0], batches[2])


def test_cells_are_hidden_where_any_pixel_is(samples):
    made, draw = samples(masks=MaskSettings(sway=1)), np.random.default_rng(5)
    for _ in range(10):
        sample = made.draw(SHAPE, draw)
        cells = made.collate([sample])["mask"][:, 0]
        for frame, y, x in np.ndindex(*cells.shape):
            pixels = sample.mask[frame, 8 * y : 8 * y + 8, 8 * x : 8 * x + 8]
            assert cells[frame, y, x] == pixels.max()


def test_latents_and_eye_show_the_sample(samples):
    made = samples(anchor_target=1, drop_layout=0)
    sample = made.draw(SHAPE, np.random.default_rng(3))
    batch = made.collate([sample, sample])
    clip = torch.from_numpy(sample.clip).permute(0, 3, 1, 2) / 255
    assert torch.allclose(batch["latents"], encode_blocks(made.kernel, clip).repeat(2, 1, 1, 1), atol=1e-6)
    looks = [prepare_frame(torch.from_numpy(frame), EYE) for frame in sample.anchor]
    assert torch.equal(batch["eye"], torch.stack(looks * 2))


@pytest.mark.parametrize("anchor_target", [0, 1])
def test_what_is_not_shown_is_zero(samples, anchor_target):
    batch = samples(anchor_target=anchor_target, drop_layout=1)[0]
    assert not batch["shown"].any() and not batch["eye"].any()


def known_box(sample):
    """The box that the first frame's mask leaves open."""
    rows, columns = (np.flatnonzero((sample.mask[0] == 0).any(axis)) for axis in (1, 0))
    return Box(int(rows[0]), int(columns[0]), len(rows), len(columns))


def anchor_box(sample):
    """The anchor as seen from the target: the known box touches that end of the target which the anchor reaches over."""
    box, size = known_box(sample), Size(*sample.anchor.shape[1:3])
    return Box(box.y if box.y else box.h - size.h, box.x if box.x else box.w - size.w, *size)


def cut(clip, box):
    return clip[:, box.y : box.bottom, box.x : box.right]


def test_the_region_is_that_of_anchor_and_target(samples):
    made, draw, corners = samples(anchor_target=1, drop_layout=0, overlap=(0.5, 0.9)), np.random.default_rng(1), set()
    for _ in range(20):
        sample = made.draw(SHAPE, draw)
        anchor, known = anchor_box(sample), known_box(sample)
        assert sample.region == relative_region(Box(0, 0, SHAPE.h, SHAPE.w), anchor, "centre_px")
        inside = cut(sample.anchor, known.moved(-anchor.y, -anchor.x))
        assert np.array_equal(cut(sample.clip, known), inside)
        corners.add((anchor.y > 0, anchor.x > 0))
    assert len(corners) == 4


def test_the_region_of_hidden_sides_is_that_of_the_known_box(samples):
    made = samples(anchor_target=0, drop_layout=0, masks=MaskSettings(guides=(1, 0, 0)))
    draw, whole, shown = np.random.default_rng(2), Box(0, 0, SHAPE.h, SHAPE.w), 0
    for _ in range(20):
        sample = made.draw(SHAPE, draw)
        known = whole if sample.mask.all() else known_box(sample)
        assert sample.region == relative_region(whole, known, "centre_px")
        assert (sample.anchor is None) == bool(sample.mask.all())
        if sample.anchor is not None:
            assert np.array_equal(sample.anchor, cut(sample.clip, known))
            shown += 1
    assert 5 < shown < 20


def test_pictures_are_read_by_name_and_some_are_held_out(tmp_path):
    folder = write_pictures(tmp_path)
    (folder / "notes.txt").write_text("no picture")
    assert list(read_pictures(folder)) == ["0.png", "1.png", "2.png", "held_out.png"]
    kept = read_pictures(folder, ("held_out.png",))
    assert list(kept) == ["0.png", "1.png", "2.png"]
    assert np.array_equal(kept["1.png"], cv2.imread(str(folder / "1.png"))[..., ::-1])


@pytest.mark.parametrize("size", [Size(13, 29), Size(150, 31), Size(201, 203)])
def test_views_have_their_size_and_are_part_of_the_picture(pictures, size):
    draw = np.random.default_rng(0)
    plain = np.full((61, 87, 3), (200, 90, 10), np.uint8)
    for _ in range(10):
        assert cut_view(pictures[0], draw, size).shape == (*size, 3)
        assert (cut_view(plain, draw, size) == plain[0, 0]).all()


def counting_clip(path, frames):
    """Frame i is plain grey 5 i."""
    clip = torch.arange(0, 5 * frames, 5, dtype=torch.uint8)[:, None, None, None].expand(-1, 47, 61, 3)
    return write_clip(path, clip, Fraction(25))


@pytest.mark.parametrize(("length", "frames"), [(40, 5), (7, 5), (5, 5), (33, 1), (1, 1)])
def test_cuts_of_videos_are_even_and_inside(tmp_path, length, frames):
    path, strides = counting_clip(tmp_path / "count.mkv", length), set()
    for seed in range(12):
        clip, stride = cut_clip(path, np.random.default_rng(seed), frames, Size(31, 23))
        assert clip.shape == (frames, 31, 23, 3) and clip.dtype == np.uint8
        index = clip[:, 3, 5, 0].astype(int) / 5
        assert (clip == clip[:, :1, :1, :1]).all() and (np.diff(index) == stride).all()
        assert index[0] >= 0 and index[-1] < length and stride <= STRIDES[1]
        strides.add(stride)
    assert len(strides) > 1 or length < 2 * frames


def test_videos_that_are_too_short_or_no_videos_are_refused(tmp_path):
    draw = np.random.default_rng(0)
    with pytest.raises(TrainingError, match="has 4 readable frames, but a clip takes 5"):
        cut_clip(counting_clip(tmp_path / "short.mkv", 4), draw, 5, Size(8, 8))
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(TrainingError, match="text.mp4 has .* readable frames"):
        cut_clip(tmp_path / "text.mp4", draw, 5, Size(8, 8))


def test_videos_are_found_by_suffix(tmp_path):
    for name in ("b.MP4", "a.mkv", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in find_videos(tmp_path)] == ["a.mkv", "b.MP4"]
    with pytest.raises(TrainingError, match="there is no folder .* with videos"):
        find_videos(tmp_path / "missing")


def test_videos_are_drawn_as_often_as_asked(samples, tmp_path):
    path, made = counting_clip(tmp_path / "count.mkv", 40), samples(anchor_target=0, videos=0.5)
    made.material = Material(made.material.pictures, [path])
    draw = np.random.default_rng(4)
    plain = [np.ptp(made.draw(STILL, draw).clip) == 0 for _ in range(60)]
    assert 15 < sum(plain) < 45
