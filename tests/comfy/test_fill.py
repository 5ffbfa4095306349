"""Canvas Fill and what Canvas Composite makes of it, in a real ComfyUI."""

import comfy_pack
import pytest
import torch

comfy_pack.load_pack()

from canvas_core.pixels.fill import fill_hidden  # noqa: E402
from canvas_core.pixels.propagation import propagate  # noqa: E402

CanvasFill = comfy_pack.part("nodes.fill").CanvasFill
CanvasComposite = comfy_pack.part("nodes.compositing").CanvasComposite
boxes = comfy_pack.part("canvas_core.plan.boxes")
placing = comfy_pack.part("canvas_core.pixels.placing")
pack_canvas = comfy_pack.part("canvas_core.plan.canvas")
errors = comfy_pack.part("canvas_core.errors")

CANVAS = pack_canvas.canvas_of_size(boxes.Size(88, 104), boxes.Size(88, 168))


def panned(frames=4):
    """A camera that pans 9 pixels a frame over a fixed picture, placed on the canvas; and its source."""
    noise = torch.rand(1, 3, 22, 48, generator=torch.Generator().manual_seed(2))
    picture = torch.nn.functional.interpolate(noise, scale_factor=4, mode="bicubic")[0].movedim(0, -1).clamp(0, 1)
    source = torch.stack([picture[:, 9 * i : 9 * i + CANVAS.source.w] for i in range(frames)])
    return placing.place_source(source, CANVAS.size, CANVAS.source), source


def expanded_mask():
    """One for all frames."""
    return placing.generation_mask(CANVAS.size, CANVAS.source)[None]


@pytest.mark.parametrize("propagated", [True, False])
def test_fill_equals_the_headless_functions(propagated):
    placed, _ = panned()
    frames, hidden = placed, expanded_mask().expand(len(placed), -1, -1)
    if propagated:
        frames, hidden = propagate(frames, hidden)
        assert hidden.sum() < len(placed) * expanded_mask().sum()  # the pan shows something
    filled, mask = CanvasFill.execute(placed, expanded_mask(), "cone", propagated).args
    assert torch.equal(filled, fill_hidden(frames, hidden, "cone"))
    assert torch.equal(mask, hidden)


@pytest.mark.parametrize("shape", ["one", "each", "flat"])
def test_a_slightly_hidden_pixel_is_hidden(shape):
    placed, _ = panned(3)
    soft = expanded_mask()
    soft[:, 40, 80] = 0.2
    masks = {"one": soft, "each": soft.repeat(3, 1, 1), "flat": soft[0]}
    filled, mask = CanvasFill.execute(placed, masks[shape], "grey", False).args
    assert torch.equal(mask, soft.ceil().expand(3, -1, -1))
    assert (filled[:, 40, 80] == 0.5).all()


def test_masks_of_another_clip_are_refused():
    placed, _ = panned(3)
    with pytest.raises(errors.GeometryError, match="give one mask per frame"):
        CanvasFill.execute(placed, expanded_mask().repeat(2, 1, 1))


@pytest.mark.parametrize("feather", [0, 4])
def test_composite_puts_borrowed_pixels_back(feather):
    placed, source = panned()
    filled, mask = CanvasFill.execute(placed, expanded_mask()).args
    made = torch.rand(placed.shape, generator=torch.Generator().manual_seed(4))
    (out,) = CanvasComposite.execute(made, source, CANVAS, feather, "feather", filled, mask).args
    assert torch.equal(out[mask > 0], made[mask > 0])
    deep = torch.nn.functional.max_pool2d(mask[:, None], 2 * feather + 3, 1, feather + 1)[:, 0] == 0
    assert torch.allclose(out[deep], filled[deep], atol=1e-6)
    assert (mask == 0).sum() > (expanded_mask() == 0).sum() * len(placed)  # something was borrowed
    if feather == 0:
        assert torch.equal(out[mask == 0], filled[mask == 0])


@pytest.mark.parametrize("given", [{"filled": torch.zeros(4, 88, 168, 3)}, {"mask": torch.zeros(4, 88, 168)}])
def test_filled_and_mask_go_together(given):
    placed, source = panned()
    with pytest.raises(errors.GeometryError, match="only one of 'filled' and 'mask'"):
        CanvasComposite.execute(placed, source, CANVAS, 0, **given)
