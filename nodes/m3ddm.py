"""The node of M3DDM: what it is told of the known pixels and the whole video."""

import math
from typing import Any

import torch
from comfy_api.latest import io

from ..canvas_core.errors import ConditioningError, GeometryError
from ..canvas_core.plan.boxes import CELL, Size
from . import sockets
from .adapters.m3ddm.known import know_video


class CanvasGlobalFrames(io.ComfyNode):
    """Makes M3DDM's conditioning and start latent."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CanvasGlobalFrames",
            display_name="Canvas Global Frames",
            category=sockets.CATEGORY,
            description="Tells M3DDM what is known of a clip and shows it 16 frames of the whole video. Takes the place of prompts and InpaintModelConditioning.",
            search_aliases=["m3ddm", "global frames conditioning", "context latents", "video outpaint conditioning"],
            inputs=[
                io.Image.Input("images", tooltip="The canvas from Canvas Expand or Canvas Fill."),
                io.Mask.Input("mask", tooltip="The mask from the same node, 1 = generate."),
                io.Image.Input(
                    "global_images", tooltip="All frames of the source video, at their own size and not placed."
                ),
                io.Vae.Input("vae", tooltip="The VAE of Stable Diffusion 1.5."),
                io.Float.Input(
                    "fps",
                    default=24.0,
                    min=0.1,
                    max=1000.0,
                    step=0.01,
                    tooltip="Frames a second of the source, from Get Video Components.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(display_name="positive", tooltip="Known pixels and global frames."),
                io.Conditioning.Output(display_name="negative", tooltip="Neither."),
                io.Latent.Output(display_name="latent", tooltip="A rough fill of the canvas, to start from."),
            ],
        )

    @classmethod
    def execute(cls, images: Any, mask: Any, global_images: Any, vae: Any, fps: float = 24.0) -> io.NodeOutput:
        frames, hidden = images[..., :3].cpu(), (mask.cpu().reshape(-1, *mask.shape[-2:]) > 0).float()
        _check_canvas(frames, hidden)
        _check_video(global_images, fps)
        known = know_video(vae, frames, hidden.expand(len(frames), -1, -1), global_images, float(fps))
        return io.NodeOutput(known.positive, known.negative, {"samples": known.start})


def _check_canvas(frames: torch.Tensor, hidden: torch.Tensor) -> None:
    """frames [F, H, W, 3], hidden [1 or F, H, W]. Raises GeometryError."""
    size = Size(*frames.shape[1:3])
    if size.h % CELL or size.w % CELL:
        raise GeometryError(
            f"the images are {size}, but the latents need multiples of {CELL}; set 'multiple' of Canvas Expand to {CELL}"
        )
    if len(hidden) not in (1, len(frames)) or tuple(hidden.shape[1:]) != size:
        raise GeometryError(
            f"the mask is {len(hidden)} frames of {Size(*hidden.shape[1:])} and the images are {len(frames)} of {size}, but they must agree (one mask "
            "for all frames is enough); take both from the same Canvas Expand or Canvas Fill"
        )
    if not hidden.any():
        raise GeometryError(
            "the mask is empty, so there is nothing to generate; connect the mask of Canvas Expand or Canvas Fill (1 = generate), or save the images "
            "of Canvas Fill if it borrowed everything"
        )


def _check_video(images: torch.Tensor, fps: float) -> None:
    """images [N, h, w, C]. Raises ConditioningError."""
    if not images.numel():
        raise ConditioningError(
            f"the global images are {list(images.shape)}, but at least one frame is needed; connect the frames of the source video"
        )
    if not math.isfinite(fps) or fps <= 0:
        raise ConditioningError(
            f"fps is {fps}, but must be a number above 0; connect fps of Get Video Components, or type the source's frame rate"
        )
