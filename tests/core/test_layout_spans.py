"""Layout tokens of frames that lie apart."""

import pytest
import tiny
import torch

from canvas_core.systems.follow_your_canvas.layout_encoder import layout_tokens


@pytest.mark.parametrize("span", [range(2, 9), range(1, 18, 4), (0, 3, 3, 17), (16,)])
def test_tokens_are_those_of_the_frames_alone(span):
    encoder = tiny.layout_encoder()
    features = torch.randn(18, 16, 8, generator=torch.Generator().manual_seed(6))
    tokens = layout_tokens(encoder, features, [range(18), span], "cpu", torch.float32)
    picked = torch.stack([features[frame] for frame in span])
    with torch.inference_mode():
        assert (tokens["real", span] - encoder(picked[None])).abs().max() < 1e-5
        assert (tokens["null", span] - encoder(torch.zeros_like(picked)[None])).abs().max() < 1e-5
    assert (tokens["real", span] - tokens["real", range(18)]).abs().max() > 1e-3
