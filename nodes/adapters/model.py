"""Canvas checkpoints as plain core MODELs, each by the family it is of."""

from typing import Any

import comfy.model_management
import comfy.model_patcher
import comfy.utils
import torch
from comfy.patcher_extension import CallbacksMP

from ...canvas_core.networks.weights import Tensors, check_fits
from ...canvas_core.systems.checkpoint import open_checkpoint
from .base import Family
from .follow_your_canvas.model import FAMILY as FOLLOW_YOUR_CANVAS
from .m3ddm.model import FAMILY as M3DDM

FAMILIES: dict[str, Family] = {family.system.name: family for family in (FOLLOW_YOUR_CANVAS, M3DDM)}
"""What core runs the model of each system by. The one list that a new system's is added to."""

WEIGHT_DTYPES = {
    "default": None,
    "fp8_e4m3fn": torch.float8_e4m3fn,
    "fp8_e5m2": torch.float8_e5m2,
}
"""How weights are held in memory; core chooses the default for the device."""

KEY = "canvas_model"


def load_canvas_model(path: str, weight_dtype: str = "default", disable_dynamic: bool = False) -> Any:
    """A core ModelPatcher of the UNet in a canvas checkpoint. Raises CheckpointError."""
    checkpoint = open_checkpoint(path)
    tensors = checkpoint.tensors()
    _, config_type, model_type = FAMILIES[checkpoint.system.name]
    management, device = comfy.model_management, comfy.model_management.get_torch_device()
    supported = config_type.supported_inference_dtypes
    dtype = WEIGHT_DTYPES[weight_dtype] or _default_dtype(tensors, supported)
    config = config_type(checkpoint.config)
    config.set_inference_dtype(dtype, management.unet_manual_cast(dtype, device, supported))
    model = model_type(config)
    check_fits(model.diffusion_model, tensors, checkpoint.name)
    patcher_type = comfy.model_patcher.ModelPatcher if disable_dynamic else comfy.model_patcher.CoreModelPatcher
    patcher = patcher_type(model, load_device=device, offload_device=management.unet_offload_device())
    model.load_model_weights(tensors, "", assign=patcher.is_dynamic())
    patcher.cached_patcher_init = (load_canvas_model, (path, weight_dtype))
    patcher.add_callback_with_key(CallbacksMP.ON_CLEANUP, KEY, _forget)
    return patcher


def _default_dtype(tensors: Tensors, supported: list[torch.dtype]) -> torch.dtype:
    return comfy.model_management.unet_dtype(
        model_params=comfy.utils.calculate_parameters(tensors),
        supported_dtypes=supported,
        weight_dtype=comfy.utils.weight_dtype(tensors),
    )


def _forget(patcher: Any) -> None:
    """Core's callback at the end of a sampling run, on each GPU."""
    patcher.model.diffusion_model.forget()
