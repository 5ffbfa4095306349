"""Borrowing from other frames: a pan is recovered, a still or untrackable clip stays as it is, known pixels stay."""

import cv2
import numpy as np
import pytest
import torch

from canvas_core.errors import GeometryError
from canvas_core.evaluation.measure import psnr
from canvas_core.pixels.camera_motion import Camera
from canvas_core.pixels.fill import fill_hidden
from canvas_core.pixels.placing import generation_mask
from canvas_core.pixels.propagation import propagate
from canvas_core.plan.boxes import Box, Size

SIZE = Size(117, 163)
KNOWN = Box(0, 37, 117, 89)


def picture(seed=0):
    """Texture of several scales, values 0.1 to 0.9."""
    noise = np.random.default_rng(seed)
    total = np.zeros((197, 301, 3), np.float32)
    for sigma, share in ((1.5, 0.3), (4, 0.4), (12, 0.5)):
        layer = cv2.GaussianBlur(noise.standard_normal((197, 301, 3)).astype(np.float32), (0, 0), sigma)
        total += share * layer / layer.std()
    return (0.5 + 0.15 * total).clip(0.1, 0.9)


def seen_by(motions, seed=0):
    """Frames [F, H, W, 3] of the picture; a motion takes a frame's x, y to the picture's."""
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    frames = [cv2.warpPerspective(picture(seed), motion, SIZE[::-1], flags=flags) for motion in motions]
    return torch.from_numpy(np.stack(frames).clip(0, 1))


def motions(frames=6, step=3.3, zoom=0.004, turn=0.003):
    """A pan to the right with a slow zoom and turn."""
    out = []
    for index in range(frames):
        scale, angle = (1 + zoom) ** index, turn * index
        c, s = scale * np.cos(angle), scale * np.sin(angle)
        out.append(np.array([[c, -s, 50 + step * index], [s, c, 40 + 0.4 * index], [0, 0, 1]]))
    return out


def hide(frames, known=KNOWN):
    """The frames with grey around the known box, and their mask."""
    mask = generation_mask(SIZE, known).expand(len(frames), *SIZE).clone()
    return torch.where(mask[..., None] > 0, 0.5, frames), mask


def gained(frames, mask, kept):
    """Borrowed pixels per frame, as a mask."""
    assert ((kept == 0) | (kept == 1)).all() and (kept <= mask).all()
    return mask - kept


def test_the_camera_is_found_to_a_tenth_of_a_pixel():
    path = motions()
    source, mask = hide(seen_by(path))
    camera = Camera(source.numpy(), mask.numpy() > 0)
    corners = np.array([[[0, 0]], [[162, 0]], [[0, 116]], [[162, 116]]], np.float64)
    for one, other in ((0, 1), (0, 5), (4, 1)):
        true = cv2.perspectiveTransform(corners, np.linalg.inv(path[other]) @ path[one])
        assert np.abs(cv2.perspectiveTransform(corners, camera.motion(one, other)) - true).max() < 0.15


@pytest.mark.parametrize("known", [KNOWN, Box(11, 29, 83, 113)])
def test_a_pan_is_recovered(known):
    frames = seen_by(motions())
    source, mask = hide(frames, known)
    result, kept = propagate(source, mask)
    borrowed = gained(source, mask, kept)
    assert borrowed.sum() > 0.1 * mask.sum()
    error = (result - frames).square().mean(-1)[borrowed > 0].mean()
    assert -10 * torch.log10(error) > 32
    assert torch.equal(result[borrowed == 0], source[borrowed == 0])


def test_a_pan_beats_the_fill():
    frames = seen_by(motions())
    source, mask = hide(frames)
    filled = fill_hidden(source, mask, "cone")
    assert psnr(fill_hidden(*propagate(source, mask), "cone"), frames, mask[0]) > psnr(filled, frames, mask[0]) + 0.4


def test_a_change_of_exposure_is_matched():
    frames = seen_by(motions()) * torch.linspace(1, 0.85, 6)[:, None, None, None]
    source, mask = hide(frames)
    result, kept = propagate(source, mask)
    borrowed = gained(source, mask, kept)
    assert borrowed.any()
    for error, where in zip(result - frames, borrowed > 0, strict=True):
        assert not where.any() or error[where].mean().abs() < 0.005


@pytest.mark.parametrize("noise", [0, 0.02])
def test_a_still_camera_changes_nothing(noise):
    frames = seen_by(motions(step=0, zoom=0, turn=0)[:1] * 5)
    frames = frames + noise * torch.randn(frames.shape, generator=torch.Generator().manual_seed(0))
    source, mask = hide(frames)
    assert all(torch.equal(now, before) for now, before in zip(propagate(source, mask), (source, mask), strict=True))


@pytest.mark.parametrize("frames", [torch.full((4, *SIZE, 3), 0.3), None])
def test_nothing_to_track_changes_nothing(frames):
    clips = torch.cat([seen_by(motions(1), seed) for seed in range(4)]) if frames is None else frames
    source, mask = hide(clips)
    assert all(torch.equal(now, before) for now, before in zip(propagate(source, mask), (source, mask), strict=True))


def test_a_cut_borrows_only_within_its_shot():
    path, other = motions(8), motions(8)
    whole = torch.cat([seen_by(path[:4]), seen_by(other[4:], seed=7)])
    source, mask = hide(whole)
    result, kept = propagate(source, mask)
    parts = [propagate(source[part], mask[part]) for part in (slice(0, 4), slice(4, 8))]
    assert torch.equal(result, torch.cat([part[0] for part in parts]))
    assert torch.equal(kept, torch.cat([part[1] for part in parts]))


def test_what_moves_by_itself_leaves_no_ghost():
    frames, path = seen_by(motions(8)), range(8)
    for index in path:
        frames[index, 50:70, 40 + 11 * index : 52 + 11 * index] = torch.tensor([1.0, 0.0, 0.0])
    source, mask = hide(frames)
    result, kept = propagate(source, mask)
    borrowed = gained(source, mask, kept) > 0
    red = (result[..., 0] > 0.9) & (result[..., 1] < 0.1) & borrowed
    assert red.sum() < 0.02 * borrowed.sum()


def test_hidden_frames_and_short_clips_are_left_alone():
    source, mask = hide(seen_by(motions(5)))
    mask[2] = 1
    result, kept = propagate(source, mask)
    assert torch.equal(result[2], source[2]) and kept[2].all()
    alone = propagate(source[:1], mask[:1])
    assert torch.equal(alone[0], source[:1]) and torch.equal(alone[1], mask[:1])


def test_the_input_is_not_written_to():
    source, mask = hide(seen_by(motions()))
    before = source.clone(), mask.clone()
    propagate(source, mask)
    assert torch.equal(source, before[0]) and torch.equal(mask, before[1])


def test_wrong_shapes_are_refused():
    with pytest.raises(GeometryError, match="one mask per frame"):
        propagate(torch.zeros(3, 17, 13, 3), torch.zeros(3, 13, 17))
