"""The pictures that M3DDM is told of, before a VAE encodes them. Frames are [F, H, W, 3] 0..1, masks [F, H, W], 1 = generate."""

import torch

from ...pixels.eight_bit import from_levels, to_levels
from ...pixels.fill import fill_hidden
from ...progress import Watch, unwatched
from .global_frames import global_frames, stretch


def start_pixels(frames: torch.Tensor, mask: torch.Tensor, watch: Watch = unwatched) -> torch.Tensor:
    """The canvas that denoising starts from: hidden area filled by Telea. Raises GeometryError, see `fill_hidden`."""
    return fill_hidden(frames, mask, "telea", watch)


def known_pixels(frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The canvas with all that is hidden black, however slightly, as M3DDM was trained."""
    return frames * (mask == 0)[..., None]


def global_pixels(video: torch.Tensor) -> torch.Tensor:
    """16 frames of a whole video [N, h, w, 3], spread over it and stretched to squares, [16, 256, 256, 3]."""
    chosen = video[list(global_frames(len(video)))].cpu()
    return torch.cat([stretch(frame) for frame in from_levels(to_levels(chosen))])
