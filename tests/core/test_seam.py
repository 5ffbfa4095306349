"""Drawing a result to the known pixels: errors at the border go, known pixels stay, nothing else changes."""

import pytest
import torch

from canvas_core.errors import GeometryError
from canvas_core.pixels.border_match import match_border
from canvas_core.pixels.placing import generation_mask
from canvas_core.plan.boxes import Box, Size

SIZE, KNOWN = Size(37, 53), Box(0, 17, 37, 19)
MASK = generation_mask(SIZE, KNOWN).expand(2, -1, -1)


def frames(seed=0):
    return 0.3 + 0.4 * torch.rand(2, *SIZE, 3, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("reach", [0.5, 5, 1000])
def test_a_result_without_error_and_known_pixels_stay(reach):
    assert torch.equal(match_border(frames(), frames(), MASK, reach), frames())
    changed = match_border(frames(1), frames(), MASK, reach)
    assert torch.equal(changed[MASK == 0], frames(1)[MASK == 0])
    assert not torch.equal(changed, frames(1)) and changed.min() >= 0 and changed.max() <= 1


def test_a_plain_error_is_taken_back_and_fades_with_the_distance():
    error = torch.tensor([0.1, -0.1, 0.05])
    matched = match_border(frames() + error, frames(), MASK, 9) - frames()
    distance = torch.arange(1, SIZE.w - KNOWN.right + 1)
    left = error * (1 - torch.exp(-(distance - 1) / 9.0))[:, None]
    assert torch.allclose(matched[:, :, KNOWN.right :], left.expand(2, 37, -1, 3), atol=2e-3)


def test_a_large_reach_takes_a_plain_error_back_everywhere():
    matched = match_border(frames() + 0.1, frames(), MASK, 1e6)
    assert torch.allclose(matched[MASK == 1], frames()[MASK == 1], atol=2e-3)


@pytest.mark.parametrize("mask", [torch.zeros(2, *SIZE), torch.ones(2, *SIZE)], ids=["known", "hidden"])
def test_frames_without_a_border_stay(mask):
    mixed = torch.cat([mask[:1], MASK[:1]])
    assert torch.equal(match_border(frames(1), frames(), mixed, 9)[0], frames(1)[0])


def test_no_reach_changes_nothing_and_a_negative_one_is_refused():
    assert torch.equal(match_border(frames(1), frames(), MASK, 0), frames(1))
    with pytest.raises(GeometryError, match="reach of the border match is -1 px"):
        match_border(frames(1), frames(), MASK, -1)
