"""Measures on clips whose numbers are known."""

import math

import pytest
import torch
from torch.nn.functional import pad

from canvas_core.errors import GeometryError
from canvas_core.evaluation.measure import measure, ssim
from canvas_core.pixels.placing import generation_mask
from canvas_core.plan.boxes import Box, Size

KNOWN = Box(9, 11, 17, 21)
SIZE = Size(37, 53)
HIDDEN = generation_mask(SIZE, KNOWN) == 1


def moving(frames=5, size=SIZE):
    """Slow waves, values 0.2 to 0.8."""
    t, y, x = torch.meshgrid(torch.arange(frames), torch.arange(size.h), torch.arange(size.w), indexing="ij")
    waves = [torch.sin(x / 7 + t / 5), torch.cos(y / 6 + x / 13), torch.sin((x + y) / 9 - t / 4)]
    return torch.stack(waves, dim=-1) * 0.3 + 0.5


def noise_like(frames, seed=0):
    return torch.randn(frames.shape, generator=torch.Generator().manual_seed(seed))


def slow_ssim(one, other):
    """The SSIM map [h, w] of two planes, window by window, in float64 (Wang et al. 2004)."""
    offsets = torch.arange(-5, 6).double()
    line = torch.exp(-offsets.square() / (2 * 1.5**2))
    weights = torch.outer(line, line) / line.sum() ** 2
    a, b = (pad(plane.double()[None, None], [5] * 4, mode="reflect")[0, 0] for plane in (one, other))
    out = torch.zeros(one.shape, dtype=torch.float64)
    for y in range(one.shape[0]):
        for x in range(one.shape[1]):
            p, q = a[y : y + 11, x : x + 11], b[y : y + 11, x : x + 11]
            mp, mq = (weights * p).sum(), (weights * q).sum()
            vp, vq, vpq = ((weights * m).sum() for m in ((p - mp) ** 2, (q - mq) ** 2, (p - mp) * (q - mq)))
            out[y, x] = (2 * mp * mq + 1e-4) * (2 * vpq + 9e-4) / ((mp**2 + mq**2 + 1e-4) * (vp + vq + 9e-4))
    return out


def with_patch(frames, box, value):
    """The clip with a constant added inside a box."""
    changed = frames.clone()
    changed[:, box.y : box.bottom, box.x : box.right] += value
    return changed


def test_equal_clips():
    found = measure(moving(), moving(), KNOWN)
    assert found.psnr == math.inf
    assert found.ssim == pytest.approx(1)
    assert (found.known_error, found.colour_drift) == (0, 0)
    assert found.flicker == pytest.approx(1)


@pytest.mark.parametrize("spread", [0.01, 0.05])
def test_noise_gives_the_expected_psnr(spread):
    clip = moving()
    found = measure(clip + spread * noise_like(clip), clip, KNOWN)
    assert found.psnr == pytest.approx(-20 * math.log10(spread), abs=0.15)


@pytest.mark.parametrize("offset", [0.1, -0.02])
def test_a_constant_error_gives_an_exact_psnr(offset):
    assert measure(moving() + offset, moving(), KNOWN).psnr == pytest.approx(-20 * math.log10(abs(offset)), abs=1e-3)


def test_errors_count_only_where_they_belong():
    clip = moving()
    inside, outside = with_patch(clip, KNOWN, 0.25), with_patch(clip + 0.125, KNOWN, -0.125)
    assert measure(inside, clip, KNOWN).psnr > 100
    assert measure(inside, clip, KNOWN).known_error == pytest.approx(0.25, abs=1e-6)
    assert measure(outside, clip, KNOWN).psnr == pytest.approx(-20 * math.log10(0.125), abs=1e-3)
    assert measure(outside, clip, KNOWN).known_error == pytest.approx(0, abs=1e-6)


def test_ssim_is_the_published_formula():
    one = moving(2, Size(13, 17))
    other = one + 0.1 * noise_like(one)
    mask = generation_mask(Size(13, 17), Box(3, 4, 5, 6))
    maps = [slow_ssim(one[f, ..., c], other[f, ..., c])[mask == 1] for f in range(2) for c in range(3)]
    assert ssim(one, other, mask) == pytest.approx(torch.cat(maps).mean().item(), abs=1e-4)


def test_a_seam_is_found():
    plain = measure(moving(), moving(), KNOWN).seam
    seams = [measure(with_patch(moving(), KNOWN, step), moving(), KNOWN).seam for step in (0.02, 0.1, 0.3)]
    assert plain == pytest.approx(1, abs=0.3)
    assert plain < seams[0] < seams[1] < seams[2] and seams[1] > 3 * plain


def test_the_seam_is_the_step_over_its_surroundings():
    ramp = torch.arange(53.0).expand(3, 37, 53)[..., None].repeat(1, 1, 1, 3) / 100
    known = Box(0, 0, 37, 20)
    assert measure(ramp, ramp, known).seam == pytest.approx(1, abs=1e-4)
    assert measure(with_patch(ramp, known, -0.04), ramp, known).seam == pytest.approx(5, abs=1e-3)


@pytest.mark.parametrize("known", [Box(0, 0, 37, 20), Box(0, 11, 37, 42), Box(20, 0, 17, 53), Box(0, 0, 10, 53)])
def test_a_seam_elsewhere_does_not_count(known):
    plain = measure(moving(), moving(), known).seam
    assert measure(with_patch(moving(), known, 0.2), moving(), known).seam > 3 * plain
    far = with_patch(moving(), Box(known.y + known.h // 2, known.x + known.w // 2, 1, 1), 0.2)
    assert measure(far, moving(), known).seam == pytest.approx(plain, rel=0.2)


def test_a_frozen_clip_does_not_flicker():
    assert measure(moving()[:1].repeat(5, 1, 1, 1), moving(), KNOWN).flicker == 0


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_flicker_is_the_energy_of_the_hidden_frame_differences(factor):
    clip = moving()
    lively = torch.where(HIDDEN[..., None], clip[:1] + factor * (clip - clip[:1]), clip)
    assert measure(lively, clip, KNOWN).flicker == pytest.approx(factor**2, rel=1e-3)


def test_a_jump_between_chunks_is_found():
    steady = torch.arange(6.0)[:, None, None, None].expand(6, *SIZE, 3) / 100
    jump = steady + torch.tensor([0, 0, 0, 0.04, 0.04, 0.04])[:, None, None, None]
    assert measure(steady, steady, KNOWN).chunk_jump == pytest.approx(1, abs=1e-3)
    assert measure(jump, steady, KNOWN).chunk_jump == pytest.approx(5, abs=1e-2)


def test_a_drift_of_colour_is_found():
    clip = moving()
    drift = torch.linspace(0, 0.1, 5)[:, None, None, None] * torch.tensor([1.0, 0, 0])
    still = clip[:1].repeat(5, 1, 1, 1)
    assert measure(still + drift, still, KNOWN).colour_drift == pytest.approx(0.1, abs=1e-5)


def test_a_single_frame_has_no_flicker():
    found = measure(moving(1), moving(1), KNOWN)
    assert math.isnan(found.flicker) and math.isnan(found.chunk_jump)
    assert found.psnr == math.inf


REFUSED = {
    "frames": (lambda: measure(moving(4), moving(5), KNOWN), r"\[4, 37, 53, 3\].*\[5, 37, 53, 3\]"),
    "size": (lambda: measure(moving(), moving()[:, :-1], KNOWN), "one size and length"),
    "whole frame": (lambda: measure(moving(), moving(), Box(0, 0, *SIZE)), "nothing was generated"),
    "outside": (lambda: measure(moving(), moving(), Box(30, 0, 8, 10)), "leaves the frame"),
    "before": (lambda: measure(moving(), moving(), Box(-1, 0, 8, 10)), "leaves the frame"),
    "empty": (lambda: measure(moving(), moving(), Box(5, 5, 0, 10)), "leaves the frame"),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED)
def test_refusals(call, message):
    with pytest.raises(GeometryError, match=message):
        call()
