"""What Canvas Expand gives, and what core's own nodes make of it."""

import comfy_pack
import pytest
import torch

comfy_pack.load_pack()

from comfy_extras.nodes_wan import WanVaceToVideo  # noqa: E402

from nodes import InpaintModelConditioning  # noqa: E402

CanvasExpand = comfy_pack.part("nodes.canvas").CanvasExpand
CanvasFill = comfy_pack.part("nodes.fill").CanvasFill
generation_mask = comfy_pack.part("canvas_core.pixels.placing").generation_mask

FRAMES = 9
PADS = {"how": "pads", "left": 32, "top": 16, "right": 16, "bottom": 0}


def expanded(frames=FRAMES):
    """Canvas, placed frames and mask of a source of 48 x 64."""
    source = torch.rand(frames, 48, 64, 3, generator=torch.Generator().manual_seed(1))
    return CanvasExpand.execute(source, PADS, multiple=16).args


class VideoVae:
    """Latents [1, 16, T, h, w] of every fourth frame: the first pixel of each cell."""

    def encode(self, frames):
        return frames[::4, ::8, ::8, :1].movedim(-1, 0)[None].expand(-1, 16, -1, -1, -1)


class ImageVae:
    """Latents [F, 3, h, w]: the first pixel of each cell."""

    def encode(self, frames):
        return frames.movedim(-1, 1)[..., ::8, ::8]


@pytest.mark.parametrize("frames", [1, FRAMES])
def test_every_frame_has_a_mask_and_they_take_the_memory_of_one(frames):
    canvas, placed, mask = expanded(frames)
    assert torch.equal(mask, generation_mask(canvas.size, canvas.source).repeat(frames, 1, 1))
    assert mask.shape == placed.shape[:3]
    assert mask.untyped_storage().nbytes() == mask[0].nbytes


def test_vace_keeps_the_source_in_every_frame():
    canvas, placed, mask = expanded()
    given = ([[torch.zeros(1, 1, 8), {}]] for _ in range(2))
    positive = WanVaceToVideo.execute(*given, VideoVae(), canvas.size.w, canvas.size.h, FRAMES, 1, 1.0, placed, mask)[0]
    (told,), (control,) = positive[0][1]["vace_mask"], positive[0][1]["vace_frames"]
    assert torch.equal(told, mask[0, ::8, ::8].expand_as(told))
    assert 0 < told.mean() < 1
    known = control[0, 0, :, 2:, 4:12]
    assert torch.allclose(known, placed[::4, 16:64:8, 32:96:8, 0], atol=1e-6)


def test_one_mask_and_one_a_frame_mean_the_same_to_other_nodes():
    _, placed, mask = expanded()
    one = mask[:1].clone()
    for how, propagated in (("cone", True), ("grey", False)):
        filled = [CanvasFill.execute(placed, given, how, propagated).args for given in (mask, one)]
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(*filled, strict=True))
    prompt = [[torch.zeros(1, 1, 8), {}]]
    told = [
        InpaintModelConditioning().encode(prompt, prompt, placed, ImageVae(), given, False) for given in (mask, one)
    ]
    (ours, theirs) = (positive[0][1] for positive, *_ in told)
    assert torch.equal(ours["concat_latent_image"], theirs["concat_latent_image"])
    assert torch.equal(ours["concat_mask"], theirs["concat_mask"].expand(FRAMES, -1, -1, -1))
