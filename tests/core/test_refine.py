"""What a model adds to the smooth fill, laid over another fill."""

import pytest
import torch

from canvas_core.errors import GeometryError
from canvas_core.pixels.fill import fill_hidden
from canvas_core.pixels.placing import generation_mask
from canvas_core.pixels.pull_push import fill_pixels
from canvas_core.pixels.refine import refine_fill
from canvas_core.plan.boxes import Box, Size

SIZE = Size(45, 61)
MASK = generation_mask(SIZE, Box(0, 17, 45, 24)).expand(2, -1, -1)


def frames(seed=0):
    return 0.3 + 0.4 * torch.rand(2, *SIZE, 3, generator=torch.Generator().manual_seed(seed))


def smooth(given):
    known = given * (MASK == 0)[..., None]
    return fill_pixels(known.permute(0, 3, 1, 2), MASK[:, None]).permute(0, 2, 3, 1)


@pytest.mark.parametrize("how", ["cone", "edge", "grey"])
def test_a_model_that_adds_nothing_gives_the_fill_back(how):
    filled = fill_hidden(frames(), MASK, how)
    assert torch.allclose(refine_fill(smooth(frames()), filled, MASK), filled, atol=1e-5)


def test_what_a_model_adds_is_laid_over_the_fill():
    filled, added = fill_hidden(frames(), MASK, "cone"), torch.tensor([0.05, -0.1, 0.02])
    refined = refine_fill(smooth(frames()) + added, filled, MASK)
    assert torch.allclose(refined[MASK > 0], (filled + added)[MASK > 0].clamp(0, 1), atol=1e-5)


def test_known_pixels_and_frames_without_any_are_the_results():
    mask = torch.cat([MASK[:1], torch.ones(1, *SIZE)])
    refined = refine_fill(frames(1), frames(), mask)
    assert torch.equal(refined[mask == 0], frames(1)[mask == 0]) and torch.equal(refined[1], frames(1)[1])


def test_wrong_shapes_are_refused():
    with pytest.raises(GeometryError, match="give both of the whole canvas"):
        refine_fill(frames()[:1], frames(), MASK)
    with pytest.raises(GeometryError, match="one mask per frame"):
        refine_fill(frames(), frames(), MASK[:1])
