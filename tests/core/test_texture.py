"""Texture from the known area: what is known stays, like takes from like, few offsets, the same in all frames."""

import numpy as np
import pytest
import torch

from canvas_core.errors import GeometryError
from canvas_core.pixels.placing import generation_mask
from canvas_core.pixels.texture import add_texture
from canvas_core.plan.boxes import Box, Size

SIZE, KNOWN = Size(128, 160), Box(0, 40, 128, 80)
MASK = generation_mask(SIZE, KNOWN).expand(3, -1, -1)
LEFT, RIGHT = slice(0, 40), slice(120, 160)


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def smooth():
    """Green above, grey below, with nothing on it."""
    plain = torch.full((3, *SIZE, 3), 0.5)
    plain[:, :64] = torch.tensor([0.2, 0.6, 0.3])
    return plain


def rough(strength_above=0.0, strength_below=0.2):
    """The same with noise on it, another in every frame."""
    strength = torch.full((SIZE.h, 1, 1), strength_below)
    strength[:64] = strength_above
    return (smooth() + strength * (noise(3, *SIZE, 3) - 0.5)).clamp(0, 1)


def spread_of(frames, rows, columns):
    part = frames[:, rows, columns]
    return (part - part.mean((1, 2), keepdim=True)).std().item()


def test_known_pixels_stay():
    out = add_texture(noise(3, *SIZE, 3, seed=1), rough(), MASK, 1.0)
    assert torch.equal(out[MASK == 0], noise(3, *SIZE, 3, seed=1)[MASK == 0])
    assert out.min() >= 0 and out.max() <= 1


def test_like_takes_from_like():
    out, source = add_texture(smooth(), rough(), MASK, 1.0), rough()
    below, above = slice(80, 128), slice(0, 48)
    for side in (slice(0, 32), slice(128, 160)):
        assert spread_of(out, below, side) == pytest.approx(spread_of(source, below, slice(44, 116)), rel=0.15)
        assert spread_of(out, above, side) < 0.005


def test_the_place_is_the_same_in_all_frames():
    """Detail that sits still in the source sits still beside it, and what moves there moves alike."""
    still = rough()[:1].expand(3, -1, -1, -1)
    out = add_texture(smooth(), still, MASK, 1.0)
    assert torch.equal(out[0], out[2]) and not torch.equal(out[0], smooth()[0])
    moving = torch.stack([still[0].roll(5 * i, 0) for i in range(3)])
    plain = torch.full_like(moving, 0.5)
    out = add_texture(plain, torch.where(MASK[..., None] > 0, plain, moving), MASK, 1.0)
    rows = slice(40, 88)  # far from where the roll wraps
    shifted = out[1].roll(-5, 0)
    alike = torch.corrcoef(torch.stack([out[0][rows, :32].flatten(), shifted[rows, :32].flatten()]))[0, 1]
    assert alike > 0.5


def test_the_share_scales_what_is_added():
    whole, half = (add_texture(smooth(), rough(), MASK, share) - smooth() for share in (1.0, 0.5))
    assert torch.allclose(half, whole / 2, atol=1e-6)


def test_detail_comes_in_from_the_border_on():
    added = (add_texture(smooth(), rough(0.2), MASK, 1.0) - smooth()).abs().mean((0, 1, 3))
    assert added[39] < 0.5 * added[:24].mean() and added[120] < 0.5 * added[136:].mean()
    assert not added[40:120].any()


def test_no_place_is_used_over_and_over():
    """Detail of one known cell must not tile the hidden area."""
    marked = smooth()
    marked[:, 96:104, 60:68] += 0.4
    out = add_texture(smooth(), torch.where(MASK[..., None] > 0, smooth(), marked), MASK, 1.0)
    bright = ((out[0] - smooth()[0]).mean(-1) > 0.15).sum().item()
    assert bright <= 3 * 64


@pytest.mark.parametrize("case", ["nothing hidden", "nothing known", "no place known throughout", "no share"])
def test_what_cannot_be_textured_stays(case):
    mask = {"nothing hidden": torch.zeros(3, *SIZE), "nothing known": torch.ones(3, *SIZE)}.get(case, MASK)
    if case == "no place known throughout":
        mask = torch.stack([mask[0], 1 - mask[0], mask[0]])
    share = 0.0 if case == "no share" else 1.0
    assert torch.equal(add_texture(smooth(), rough(), mask, share), smooth())


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (37, 53), (200, 8)])
def test_any_size_works(size):
    frames, mask = noise(2, *size, 3), torch.zeros(2, *size)
    mask[:, : size[0] // 2] = 1
    out = add_texture(frames, frames, mask, 1.0)
    assert out.shape == frames.shape and out.isfinite().all()
    assert torch.equal(out[mask == 0], frames[mask == 0])


@pytest.mark.parametrize("share", [-0.1, 1.1, np.nan])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(GeometryError, match="the share of texture is .*, but must be 0 to 1"):
        add_texture(smooth(), rough(), MASK, share)


def test_wrong_shapes_are_refused():
    with pytest.raises(GeometryError, match="one mask per frame"):
        add_texture(smooth(), rough(), MASK[:2], 1.0)
