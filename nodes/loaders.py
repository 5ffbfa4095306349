"""The node that loads a model of any family."""

import folder_paths
from comfy_api.latest import io

from . import sockets
from .adapters.model import WEIGHT_DTYPES, load_canvas_model
from .inputs import MODEL_FOLDER


class CanvasLoadModel(io.ComfyNode):
    """Loads the canvas UNet as a plain core MODEL."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CanvasLoadModel",
            display_name="Canvas Load Model",
            category=sockets.CATEGORY,
            description="Loads the UNet of a canvas checkpoint, Follow-Your-Canvas or M3DDM, as a MODEL that any sampler and LoRA node takes.",
            search_aliases=["follow your canvas", "m3ddm", "load outpainting model", "video outpaint checkpoint"],
            inputs=[
                io.Combo.Input(
                    "file",
                    options=folder_paths.get_filename_list(MODEL_FOLDER),
                    tooltip="In models/diffusion_models: a Follow-Your-Canvas checkpoint (.ckpt or .safetensors), or M3DDM's diffusion_pytorch_model.bin in a folder of its own with its config.json.",
                ),
                io.Combo.Input(
                    "weight_dtype",
                    options=list(WEIGHT_DTYPES),
                    default="default",
                    tooltip="8-bit weights need half the memory and cost some quality.",
                    advanced=True,
                ),
            ],
            outputs=[io.Model.Output(display_name="model")],
        )

    @classmethod
    def execute(cls, file: str, weight_dtype: str = "default") -> io.NodeOutput:
        return io.NodeOutput(load_canvas_model(folder_paths.get_full_path_or_raise(MODEL_FOLDER, file), weight_dtype))
