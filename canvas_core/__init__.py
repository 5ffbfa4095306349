"""Video outpainting to any size and length. Stands alone: nothing here imports ComfyUI.

    checkpoint = open_checkpoint("canvas.safetensors")
    settings = checkpoint.presets["default"]
    model = checkpoint.system.open(checkpoint, Files(base, vae, sam), settings, Place("cuda", torch.float16))
    canvas, plan = canvas_of_size(Size(480, 640), Size(480, 854)), checkpoint.system.plan(len(frames), settings)
    for frame in outpaint(model, Video(frames, 24.0), canvas, plan, seeded_draw(0)): ...

Frames are [h, w, 3] float 0..1, anything that can be iterated again.
"""

from .engine import outpaint, seeded_draw
from .errors import CanvasError
from .pixels.placed import Video
from .plan.boxes import Size
from .plan.canvas import canvas_of_size
from .plan.keyframes import plan_levels
from .systems.checkpoint import open_checkpoint
from .systems.system import Files, Place

__all__ = [
    "CanvasError",
    "Files",
    "Place",
    "Size",
    "Video",
    "canvas_of_size",
    "open_checkpoint",
    "outpaint",
    "plan_levels",
    "seeded_draw",
]
