"""The layout encoder under core's model management gives what the headless engine gives."""

import comfy_pack
import torch

comfy_pack.load_pack()

import tiny  # noqa: E402

from canvas_core.pixels.eight_bit import to_levels  # noqa: E402
from canvas_core.systems.checkpoint import open_checkpoint  # noqa: E402
from canvas_core.systems.follow_your_canvas.layout_encoder import layout_tokens  # noqa: E402
from canvas_core.systems.follow_your_canvas.sam import encode_frames, load_sam  # noqa: E402
from canvas_core.systems.system import load_network  # noqa: E402


def test_tokens_equal_the_headless_ones(tmp_path):
    canvas, sam = tiny.write_checkpoint(tmp_path / "canvas.safetensors"), tiny.write_sam(tmp_path / "sam.pth")
    frames = torch.rand(5, 40, 56, 3, generator=torch.Generator().manual_seed(1))
    spans = [range(3), range(2, 5)]
    reader = comfy_pack.part("nodes.adapters.follow_your_canvas.layout").load_layout_reader(str(canvas), str(sam))
    real, null = reader.read(frames, spans)
    encoder = load_network(open_checkpoint(canvas), "layout")
    expected = layout_tokens(encoder, encode_frames(load_sam(sam), to_levels(frames)), spans, "cpu", torch.float32)
    for span in spans:
        assert (real[span] - expected["real", span]).abs().max() < 1e-5
        assert (null[span] - expected["null", span]).abs().max() < 1e-5
    assert reader.rre == "centre_px"
