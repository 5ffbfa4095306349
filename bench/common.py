"""Networks and clips the benchmarks share: random weights, sizes large enough for the network to dominate."""

from functools import partial

import torch

from canvas_core.plan.boxes import Box
from canvas_core.plan.windows import WindowSettings
from canvas_core.sampling.denoise import Predict
from canvas_core.sampling.tiling import predict_canvas
from canvas_core.systems.follow_your_canvas.conditions import CanvasClip
from canvas_core.systems.follow_your_canvas.config import UNetConfig
from canvas_core.systems.follow_your_canvas.guidance import guide_by_text
from canvas_core.systems.follow_your_canvas.network import FollowYourCanvasUNet
from canvas_core.systems.system import Place

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
FRAMES = 4
WINDOW = 32
"""Window side in cells."""
CONFIG = UNetConfig(
    block_out_channels=(128, 256),
    layers_per_block=1,
    heads=(2, 4),
    attention=(True, False),
    text_width=64,
    layout_width=64,
    region_features=64,
)
SETTINGS = WindowSettings(window=8 * WINDOW, overlap=2 * WINDOW)


def make_unet() -> FollowYourCanvasUNet:
    """A random UNet of `CONFIG`."""
    torch.manual_seed(0)
    return FollowYourCanvasUNet(CONFIG).to(DEVICE).eval().requires_grad_(False)


def make_predictor(unet: FollowYourCanvasUNet, h: int, w: int, windows_at_once: int = 1) -> Predict:
    """A predictor for a clip of `FRAMES` frames on h x w cells."""
    layout = {(kind, range(FRAMES)): torch.randn(1, 64, CONFIG.layout_width) for kind in ("real", "null")}
    text = {name: torch.randn(1, 77, CONFIG.text_width) for name in ("positive", "negative")}
    mask = torch.ones(FRAMES, 1, h, w)
    masked, anchor = torch.randn(FRAMES, 4, h, w), Box(8, 8, 128, 128)
    clip = CanvasClip(
        unet, guide_by_text(8.0), mask, masked, text, layout, anchor, "centre_px", place=Place(DEVICE, torch.float32)
    )
    return partial(predict_canvas, clip, SETTINGS, at_once=windows_at_once)


def latents(h: int, w: int) -> torch.Tensor:
    """Noise [FRAMES, 4, h, w]."""
    return torch.randn(FRAMES, 4, h, w, generator=torch.Generator().manual_seed(1))
