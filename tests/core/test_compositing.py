"""The source goes back on the canvas bit by bit, but for a feather towards what was generated."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from canvas_core.errors import GeometryError
from canvas_core.pixels.compositing import inward_alpha, paste_borrowed, paste_source
from canvas_core.pixels.placing import place_source, trim_frames
from canvas_core.plan.boxes import Box, Size
from canvas_core.plan.canvas import Canvas, Pads, canvas_of_pads, canvas_of_size
from canvas_core.systems.follow_your_canvas.official import paste_official

sizes = st.builds(Size, st.integers(1, 40), st.integers(1, 40))
pads = st.builds(Pads, *[st.sampled_from([0, 0, 1, 7, 20])] * 4)
feathers = st.integers(0, 12)


def random_frames(size, seed, frames=2):
    return torch.rand(frames, *size, 3, generator=torch.Generator().manual_seed(seed))


def make(source, pads, feather, multiple=8):
    assume(2 * feather < min(source) and (any(pads) or source.h % 2 or source.w % 2))
    return canvas_of_pads(source, pads, multiple)


def slow_alpha(canvas, feather):
    """Weight of every source pixel from its distance to the nearest side with asked-for pixels beyond it."""
    box, asked = canvas.source, canvas.trim
    alpha = torch.ones(tuple(box.size))
    for y in range(box.h):
        for x in range(box.w):
            distances = [y] * (box.y > 0) + [x] * (box.x > 0)
            distances += [box.h - 1 - y] * (box.bottom < asked.h) + [box.w - 1 - x] * (box.right < asked.w)
            alpha[y, x] = min([1.0] + [(distance + 1) / (feather + 1) for distance in distances])
    return alpha


def known_part(frames, canvas):
    box = canvas.source
    return frames[:, box.y : box.bottom, box.x : box.right]


@given(sizes, pads, feathers)
def test_the_feather_falls_towards_generated_neighbours_only(source, pads, feather):
    canvas = make(source, pads, feather)
    assert torch.allclose(inward_alpha(canvas, feather), slow_alpha(canvas, feather), atol=1e-6)


@given(sizes, pads, feathers)
def test_pixels_outside_the_feather_are_bit_identical(source, pads, feather):
    canvas = make(source, pads, feather)
    frames, result = random_frames(source, 1), random_frames(canvas.size, 2)
    pasted = paste_source(result, frames, canvas, feather)
    untouched = slow_alpha(canvas, feather) == 1
    assert untouched.any()
    assert torch.equal(known_part(pasted, canvas)[:, untouched], frames[:, untouched])
    generated = place_source(torch.zeros_like(frames), canvas.size, canvas.source, 1.0) == 1
    assert torch.equal(pasted[generated], result[generated])


@given(sizes, pads, feathers)
def test_the_feather_blends_by_its_weight(source, pads, feather):
    canvas = make(source, pads, feather)
    frames, result = random_frames(source, 1), random_frames(canvas.size, 2)
    alpha = slow_alpha(canvas, feather)[..., None]
    blend = frames * alpha + known_part(result, canvas) * (1 - alpha)
    assert torch.allclose(known_part(paste_source(result, frames, canvas, feather), canvas), blend, atol=1e-6)


@given(sizes, pads, st.sampled_from([2, 8, 64]))
def test_without_a_feather_the_whole_source_survives_trimming(source, pads, multiple):
    canvas = make(source, pads, 0, multiple)
    frames = random_frames(source, 1)
    trimmed = trim_frames(paste_source(random_frames(canvas.size, 2), frames, canvas), canvas)
    assert torch.equal(known_part(trimmed, canvas), frames)


def test_inputs_are_not_changed():
    canvas = canvas_of_pads(Size(13, 17), Pads(3, 5, 8, 2))
    frames, result = random_frames(Size(13, 17), 1), random_frames(canvas.size, 2)
    kept = frames.clone(), result.clone()
    paste_source(result, frames, canvas, 3)
    assert torch.equal(frames, kept[0]) and torch.equal(result, kept[1])
    paste_official(result, place_source(frames, canvas.size, canvas.source), Size(13, 17))
    assert torch.equal(frames, kept[0]) and torch.equal(result, kept[1])


def test_sides_that_only_snapping_adds_get_no_feather():
    canvas = canvas_of_pads(Size(13, 18), Pads(0, 0, 0, 1))  # 14 x 18 asked, 16 x 24 generated
    alpha = inward_alpha(canvas, 4)
    assert alpha[:9].eq(1).all() and alpha[:, -1].tolist() == alpha[:, 0].tolist()
    assert torch.allclose(alpha[9:, 5], torch.tensor([4, 3, 2, 1]) / 5)


@pytest.mark.parametrize("anchor", ["top left", "bottom right", "left", "center"])
def test_the_edge_of_the_canvas_gets_no_feather(anchor):
    canvas = canvas_of_size(Size(16, 24), Size(32, 48), anchor)
    alpha = inward_alpha(canvas, 3)
    middles = [alpha[0, 12], alpha[8, 0], alpha[-1, 12], alpha[8, -1]]
    box = canvas.source
    open_sides = [box.y > 0, box.x > 0, box.bottom < 32, box.right < 48]
    assert [middle < 1 for middle in middles] == open_sides


def islands(frames=3, seed=0):
    """A mask of blobs, each frame another; about half is hidden."""
    noise = torch.rand(frames, 1, 29, 37, generator=torch.Generator().manual_seed(seed))
    return (torch.nn.functional.avg_pool2d(noise, 7, 1, 3)[:, 0] > 0.5).float()


def slow_depth(mask):
    """Distance of every pixel [H, W] to the nearest hidden one."""
    y, x = torch.meshgrid(*(torch.arange(side) for side in mask.shape), indexing="ij")
    places = torch.stack([y, x], dim=-1).flatten(0, 1).float()
    return torch.cdist(places, places[mask.flatten() > 0]).min(1).values.view(mask.shape)


@pytest.mark.parametrize("feather", [0, 1, 5])
def test_borrowed_pixels_fade_by_their_depth(feather):
    mask = islands()
    result, frames = random_frames(Size(29, 37), 1, 3), random_frames(Size(29, 37), 2, 3)
    pasted, depth = paste_borrowed(result, frames, mask, feather), torch.stack([slow_depth(one) for one in mask])
    alpha = (depth / (feather + 1)).clamp(max=1)[..., None]
    assert torch.allclose(pasted, frames * alpha + result * (1 - alpha), atol=0.03)  # OpenCV's distances are rounded
    assert torch.equal(pasted[mask == 1], result[mask == 1])
    assert torch.equal(pasted[depth > 1.03 * feather + 1], frames[depth > 1.03 * feather + 1])
    assert feather or torch.equal(pasted[mask == 0], frames[mask == 0])


def test_the_edge_of_the_frame_does_not_fade_and_inputs_stay():
    mask, (result, frames) = torch.ones(2, 13, 17), (random_frames(Size(13, 17), seed) for seed in (1, 2))
    mask[0, :, 9:], mask[1] = 0, 0
    kept = [value.clone() for value in (mask, result, frames)]
    pasted = paste_borrowed(result, frames, mask, 3)
    assert torch.equal(pasted[0, :, 13:], frames[0, :, 13:]) and torch.equal(pasted[1], frames[1])
    assert not torch.equal(pasted[0, :, 9:12], frames[0, :, 9:12])
    assert all(torch.equal(one, other) for one, other in zip(kept, (mask, result, frames), strict=True))


CANVAS = Canvas(Size(32, 40), Box(8, 8, 13, 17), Box(0, 0, 32, 40))
FRAMES, RESULT = random_frames(Size(13, 17), 1), random_frames(Size(32, 40), 2)
REFUSED = {
    "result": (lambda: paste_source(RESULT[:, :31], FRAMES, CANVAS), "the result is 40x31"),
    "source": (lambda: paste_source(RESULT, FRAMES[:, :, :16], CANVAS), "the source is 16x13"),
    "swapped": (lambda: paste_source(RESULT.transpose(1, 2), FRAMES, CANVAS), "the result is 32x40"),
    "fewer frames": (lambda: paste_source(RESULT, FRAMES[:1], CANVAS), "2 frames and the source 1"),
    "more frames": (lambda: paste_source(RESULT[:1], FRAMES, CANVAS), "1 frames and the source 2"),
    "negative feather": (lambda: paste_source(RESULT, FRAMES, CANVAS, -1), "feather is -1"),
    "wide feather": (lambda: paste_source(RESULT, FRAMES, CANVAS, 7), "feather is 7 px, but must be 0 to 6"),
    "borrowed, size": (lambda: paste_borrowed(RESULT, RESULT[:, 1:], RESULT[..., 0]), r"frames \[2, 31, 40, 3\]"),
    "borrowed, mask": (lambda: paste_borrowed(RESULT, RESULT, RESULT[:1, ..., 0]), r"mask \[1, 32, 40\]"),
    "official, no room": (lambda: paste_official(FRAMES, FRAMES, Size(13, 17)), "nothing to paste"),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED)
def test_refusals(call, message):
    with pytest.raises(GeometryError, match=message):
        call()


def test_the_widest_feather_still_leaves_a_source_pixel():
    alpha = inward_alpha(CANVAS, 6)
    assert alpha.eq(1).sum() == 1 * (17 - 2 * 6)
