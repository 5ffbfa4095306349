"""Boxes, and canvases made from sizes, aspects and pads: placing, snapping and trimming back."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from canvas_core.errors import CanvasError, GeometryError
from canvas_core.pixels.placing import GREY, cell_mask, generation_mask, place_source, trim_frames
from canvas_core.plan.boxes import Box, Size
from canvas_core.plan.canvas import (
    ANCHORS,
    ASPECTS,
    Canvas,
    Pads,
    canvas_of_aspect,
    canvas_of_pads,
    canvas_of_size,
    require_cells,
)
from canvas_core.systems.follow_your_canvas.official import official_known_box

sides = st.integers(1, 90)
sizes = st.builds(Size, sides, sides)
boxes = st.builds(Box, st.integers(0, 20), st.integers(0, 20), st.integers(1, 20), st.integers(1, 20))
multiples = st.sampled_from([2, 6, 8, 64])


def points(box):
    return {(y, x) for y in range(box.y, box.bottom) for x in range(box.x, box.right)}


def numbered_frames(size, frames=2):
    """Frames [F, h, w, 3] in which every value is another one."""
    return torch.arange(frames * size.h * size.w * 3, dtype=torch.float32).view(frames, *size, 3) / 1e6 + 1


def even_at_least(length):
    return next(side for side in (length, length + 1) if side % 2 == 0)


def assert_canvas(canvas, source, asked, multiple):
    """A canvas is the asked size rounded up, is trimmed back to it exactly, and returns the source untouched."""
    assert canvas.trim == Box(0, 0, *asked)
    assert all(
        side % multiple == 0 and 0 <= side - want < multiple for side, want in zip(canvas.size, asked, strict=True)
    )
    frames = numbered_frames(source)
    placed = place_source(frames, canvas.size, canvas.source)
    trimmed = trim_frames(placed, canvas)
    assert trimmed.shape[1:3] == tuple(asked)
    assert torch.equal(canvas.source.crop(trimmed.movedim(-1, 1)).movedim(1, -1), frames)
    assert (placed == GREY).sum() == 2 * 3 * (canvas.size.h * canvas.size.w - source.h * source.w)


@given(boxes, boxes)
def test_boxes_are_sets_of_points(one, other):
    common = one.intersect(other)
    assert (points(common) if common else set()) == points(one) & points(other)
    assert one.inside(other) == (points(one) <= points(other))


@given(boxes, sizes)
def test_a_box_is_inside_a_size_as_inside_its_box(box, size):
    assert box.inside(size) == box.inside(Box(0, 0, *size))


@given(boxes, st.integers(-9, 9), st.integers(-9, 9), st.integers(1, 5))
def test_moving_and_scaling_a_box(box, y, x, factor):
    assert points(box.moved(y, x)) == {(row + y, column + x) for row, column in points(box)}
    assert {(row // factor, column // factor) for row, column in points(box.scaled(factor))} == points(box)


def test_crop_is_a_view_of_the_last_two_axes():
    frames = torch.zeros(2, 13, 17)
    Box(3, 5, 4, 7).crop(frames).add_(1)
    assert {tuple(point) for point in frames[1].nonzero().tolist()} == points(Box(3, 5, 4, 7))


def test_sizes_and_boxes_are_written_width_first():
    assert (str(Size(9, 16)), str(Box(3, 5, 9, 16))) == ("16x9", "16x9+5+3")


@given(sizes, st.builds(Size, st.integers(1, 60), st.integers(1, 60)), st.sampled_from(list(ANCHORS)), multiples)
def test_exact_sizes_come_back_exactly(source, extra, anchor, multiple):
    asked = Size(even_at_least(source.h + extra.h), even_at_least(source.w + extra.w))
    assert_canvas(canvas_of_size(source, asked, anchor, multiple=multiple), source, asked, multiple)


@given(sizes, st.builds(Pads, *[st.integers(0, 40)] * 4), multiples)
def test_pads_come_back_exactly(source, pads, multiple):
    total = Size(source.h + pads.top + pads.bottom, source.w + pads.left + pads.right)
    asked = Size(even_at_least(total.h), even_at_least(total.w))
    assume(asked != source)
    canvas = canvas_of_pads(source, pads, multiple)
    assert (canvas.source.x, canvas.source.y) == (pads.left, pads.top)
    assert_canvas(canvas, source, asked, multiple)
    snapped = [canvas.size.w - total.w, canvas.size.h - total.h]
    assert canvas.pads == Pads(pads.left, pads.top, pads.right + snapped[0], pads.bottom + snapped[1])


@given(sizes, st.sampled_from(list(ASPECTS)), st.sampled_from(list(ANCHORS)), multiples)
def test_aspects_come_back_exactly(source, aspect, anchor, multiple):
    try:
        canvas = canvas_of_aspect(source, aspect, anchor, multiple=multiple)
    except GeometryError as error:
        assert "nothing to generate" in str(error)
        return
    asked, ratio = canvas.trim.size, float(ASPECTS[aspect])
    assert_canvas(canvas, source, asked, multiple)
    assert asked.h % 2 == asked.w % 2 == 0
    # One side is the source's, the other within rounding to whole, even pixels.
    fits = [asked.w == even_at_least(source.w), asked.h == even_at_least(source.h)]
    exact = [abs(asked.h - asked.w / ratio) <= 1.5, abs(asked.w - asked.h * ratio) <= 1.5]
    assert any(fit and close for fit, close in zip(fits, exact, strict=True))


@pytest.mark.parametrize(
    ("aspect", "expected"),
    [
        ("16:9", "1920x1080"),
        ("9:16", "1440x2560"),
        ("1:1", "1440x1440"),
        ("21:9", "2520x1080"),
        ("2.39:1", "2582x1080"),
    ],
)
def test_aspects_of_a_full_hd_source(aspect, expected):
    assert str(canvas_of_aspect(Size(1080, 1440), aspect).trim.size) == expected


@pytest.mark.parametrize("anchor", ANCHORS)
def test_anchors_put_the_source_where_they_say(anchor):
    box = canvas_of_size(Size(13, 17), Size(40, 50), anchor).source
    words = anchor.split()
    vertical = next((word for word in words if word in ("top", "bottom")), "middle")
    horizontal = next((word for word in words if word in ("left", "right")), "middle")
    assert box.y == {"top": 0, "middle": 13, "bottom": 27}[vertical]
    assert box.x == {"left": 0, "middle": 16, "right": 33}[horizontal]


@given(sizes, sizes, st.sampled_from(list(ANCHORS)), st.tuples(st.integers(-90, 90), st.integers(-90, 90)))
def test_offsets_move_the_source_or_are_refused(source, extra, anchor, offset):
    asked = Size(even_at_least(source.h + extra.h), even_at_least(source.w + extra.w))
    start = canvas_of_size(source, asked, anchor).source
    moved = start.moved(offset[1], offset[0])
    if moved.inside(asked):
        assert canvas_of_size(source, asked, anchor, offset).source == moved
    else:
        with pytest.raises(GeometryError, match="off the canvas"):
            canvas_of_size(source, asked, anchor, offset)


def test_a_refused_offset_names_the_ones_that_fit():
    with pytest.raises(GeometryError, match="offset y is 100, .* use -13 to 14 with"):
        canvas_of_size(Size(13, 17), Size(40, 50), offset=(0, 100))
    boxes = [canvas_of_size(Size(13, 17), Size(40, 50), offset=(0, y)).source for y in (-13, 14)]
    assert [(box.y, box.bottom) for box in boxes] == [(0, 13), (27, 40)]


SOURCE = Size(13, 17)
REFUSED = {
    "smaller": (lambda: canvas_of_size(SOURCE, Size(12, 40)), "smaller than the source"),
    "odd height": (lambda: canvas_of_size(SOURCE, Size(31, 40)), "must be even .* use 40x32"),
    "odd width": (lambda: canvas_of_size(SOURCE, Size(32, 41)), "must be even .* use 42x32"),
    "anchor": (lambda: canvas_of_size(SOURCE, Size(32, 40), "middle"), "anchor is 'middle'"),
    "aspect": (lambda: canvas_of_aspect(SOURCE, "5:4"), "aspect is '5:4'"),
    "equal size": (lambda: canvas_of_size(Size(24, 32), Size(24, 32)), "nothing to generate"),
    "equal aspect": (lambda: canvas_of_aspect(Size(24, 32), "4:3"), "nothing to generate"),
    "no pads": (lambda: canvas_of_pads(Size(24, 32), Pads(0, 0, 0, 0)), "nothing to generate"),
    "negative pads": (lambda: canvas_of_pads(SOURCE, Pads(8, 8, -1, 8)), "none may be negative"),
    "odd multiple": (lambda: canvas_of_size(SOURCE, Size(32, 40), multiple=7), "multiple is 7"),
    "no multiple": (lambda: canvas_of_size(SOURCE, Size(32, 40), multiple=0), "multiple is 0"),
    "source outside": (lambda: Canvas(Size(24, 24), Box(8, 8, 13, 17), Box(0, 0, 24, 24)), "the source is"),
    "empty source": (lambda: Canvas(Size(24, 24), Box(8, 8, 0, 9), Box(0, 0, 24, 24)), "the source is"),
    "trim outside": (lambda: Canvas(Size(24, 24), Box(0, 0, 13, 17), Box(0, 0, 24, 25)), "the asked area is"),
    "other frames": (
        lambda: place_source(torch.zeros(2, 17, 13, 3), Size(32, 40), Box(0, 0, *SOURCE)),
        "frames are 13x17",
    ),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_refusals(make, message):
    with pytest.raises(GeometryError, match=message) as caught:
        make()
    assert isinstance(caught.value, CanvasError)


def test_latents_need_whole_cells():
    require_cells(canvas_of_size(SOURCE, Size(30, 42)))
    with pytest.raises(GeometryError, match="the canvas is 42x30, .* snap it to 48x32"):
        require_cells(canvas_of_size(SOURCE, Size(30, 42), multiple=2))


@given(sizes, boxes)
def test_the_mask_is_one_outside_the_known_box(size, box):
    mask = generation_mask(size, box)
    assert mask.dtype == torch.float32
    known = {(y, x) for y, x in points(box) if y < size.h and x < size.w}
    assert {tuple(point) for point in (mask == 0).nonzero().tolist()} == known
    assert mask.sum() == size.h * size.w - len(known)


def test_without_a_known_box_everything_is_generated():
    assert generation_mask(Size(13, 17), None).eq(1).all()


@given(sizes, boxes, st.integers(1, 9))
def test_a_cell_takes_its_first_pixel(size, box, cell):
    mask = generation_mask(size, box)
    slow = [[mask[y, x].item() for x in range(0, size.w, cell)] for y in range(0, size.h, cell)]
    assert cell_mask(mask[None], cell)[0].tolist() == slow


@pytest.mark.parametrize("cell", [2, 8])
def test_a_cell_is_hidden_when_any_of_its_pixels_is(cell):
    size, draw = Size(5 * cell, 3 * cell), torch.Generator().manual_seed(0)
    mask = (torch.rand(4, *size, generator=draw) < 1 / cell**2).float()
    cells = cell_mask(mask, cell, "any")
    assert cells.shape == (4, 5, 3) and 0 < cells.mean() < 1
    for frame, y, x in cells.new_ones(cells.shape).nonzero().tolist():
        pixels = mask[frame, y * cell : (y + 1) * cell, x * cell : (x + 1) * cell]
        assert cells[frame, y, x] == pixels.max()
    assert (cells >= cell_mask(mask, cell)).all()


@given(sizes, st.builds(Size, st.integers(0, 4), st.integers(0, 4)))
def test_the_official_box_has_equal_pads(source, extra):
    canvas = Size(source.h + extra.h, source.w + extra.w)
    box = official_known_box(canvas, source)
    if box is None:
        assert max(extra) <= 1
        return
    assert max(extra) > 1
    assert (box.y, box.x) == (canvas.h - box.bottom, canvas.w - box.right)
    assert all(0 <= side - true <= 1 for side, true in zip(box.size, source, strict=True))


@given(sizes, st.builds(Pads, *[st.integers(0, 9)] * 4))
def test_placed_frames_hold_the_source_and_the_fill(source, pads):
    box = Box(pads.top, pads.left, *source)
    size = Size(box.bottom + pads.bottom, box.right + pads.right)
    frames = numbered_frames(source)
    placed = place_source(frames, size, box, fill=0.25)
    known = generation_mask(size, box) == 0
    assert torch.equal(placed[:, known], frames.flatten(1, 2))
    assert placed[:, ~known].eq(0.25).all()
    assert placed.dtype == frames.dtype


def test_placing_keeps_the_frames_apart():
    frames = torch.rand(1, 13, 17, 3)
    place_source(frames, Size(16, 24), Box(1, 2, 13, 17))[:] = 0
    assert frames.max() > 0
