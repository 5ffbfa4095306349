"""The canvas UNet as a plain core MODEL."""

from functools import partial
from typing import Any

import comfy.latent_formats
import comfy.model_management
import comfy.model_patcher
import comfy.patcher_extension
import comfy.supported_models_base
import comfy.utils
import torch
from comfy.ldm.modules.attention import optimized_attention
from comfy.model_base import BaseModel, ModelType
from comfy.model_sampling import V_PREDICTION, X0, ModelSamplingDiscrete
from comfy.patcher_extension import WrapperExecutor, WrappersMP

from ...canvas_core.canvas import CELL, Size, cell_mask
from ...canvas_core.checkpoints import check_fits, open_checkpoint
from ...canvas_core.errors import ConditioningError
from ...canvas_core.models.follow_your_canvas import FollowYourCanvasUNet
from ...canvas_core.models.unet_config import UNetConfig
from ...canvas_core.schedule import share_noise
from .conds import CONDExpanded, CONDLayout, CONDRelativeRegion, Layout

WEIGHT_DTYPES = {
    "default": None,
    "fp8_e4m3fn": torch.float8_e4m3fn,
    "fp8_e5m2": torch.float8_e5m2,
}
"""How weights are held in memory; core chooses the default for the device."""


class CanvasDiffusionModel(FollowYourCanvasUNet):
    """The UNet under the arguments by which core calls a diffusion model."""

    def forward(
        self,
        x: torch.Tensor,
        timesteps: torch.Tensor,
        context: torch.Tensor,
        control: Any = None,
        transformer_options: Any = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        options = transformer_options or {}
        wrappers = comfy.patcher_extension.get_all_wrappers(WrappersMP.DIFFUSION_MODEL, options)
        executor = WrapperExecutor.new_class_executor(self._forward, self, wrappers)
        return executor.execute(x, timesteps, context, control, options, **kwargs)

    def _forward(
        self,
        x: torch.Tensor,
        timesteps: torch.Tensor,
        context: torch.Tensor,
        control: Any,
        transformer_options: dict,
        layout: torch.Tensor,
        relative_region: torch.Tensor,
        fps: torch.Tensor,
        **kwargs: Any,
    ) -> torch.Tensor:
        # Time windows change the number of frames, so it is counted here and not taken from any conditioning.
        frames = x.shape[0] // len(transformer_options.get("cond_or_uncond", [0]))
        per_clip = [rows[::frames] for rows in (timesteps, context, layout, fps, relative_region)]
        attend = partial(optimized_attention, attn_precision=torch.float32, transformer_options=transformer_options)
        return super().forward(x, *per_clip, attend=attend, control=control)


class SharedNoise:
    """Start noise with a common part in all frames, where the network was trained with it."""

    noise_share = 0.0

    def noise_scaling(self, sigma: Any, noise: torch.Tensor, latent_image: Any, max_denoise: bool = False) -> Any:
        return super().noise_scaling(sigma, share_noise(noise, self.noise_share), latent_image, max_denoise)  # type: ignore[misc]


class VelocitySampling(SharedNoise, ModelSamplingDiscrete, V_PREDICTION):
    """For networks that predict v."""


class CleanSampling(SharedNoise, ModelSamplingDiscrete, X0):
    """For networks that predict the clean latent."""


class CanvasModel(BaseModel):
    """Follow-Your-Canvas in core's terms: frames are the batch, mask and masked latent are concatenated."""

    def __init__(self, config: "CanvasConfig", device: Any = None):
        super().__init__(config, ModelType.V_PREDICTION, device=device, unet_model=CanvasDiffusionModel)
        network = config.network
        self.model_sampling = (CleanSampling if network.prediction == "x0" else VelocitySampling)(config)
        self.model_sampling.noise_share = network.noise_share
        self.set_inpaint()
        if network.out_channels != comfy.latent_formats.SD15.latent_channels:
            self.blank_inpaint_image_like = torch.zeros_like  # core's grey is Stable Diffusion's; 0 is ours

    def concat_cond(self, **kwargs: Any) -> torch.Tensor:
        noise, image, mask = kwargs["noise"], kwargs.get("concat_latent_image"), kwargs.get("concat_mask")
        if image is None and kwargs.get("denoise_mask") is None:
            raise ConditioningError(
                "the canvas model was given no known pixels; put InpaintModelConditioning (noise_mask off) between Canvas Encode Layout and the sampler"
            )
        for name, latent in (("latent", noise), ("masked latent", image)):
            if latent is not None and latent.shape[1] != self.latent_format.latent_channels:
                raise ConditioningError(
                    f"the {name} has {latent.shape[1]} channels, but the canvas model takes {self.latent_format.latent_channels}; use the VAE it was trained with"
                )
        if mask is not None and not mask.any():
            raise ConditioningError(
                "the mask is empty, so there is nothing to generate; connect the mask of Canvas Expand or Canvas Fill (1 = generate), or save the images of Canvas Fill if it borrowed everything"
            )
        if mask is not None and tuple(mask.shape[-2:]) == tuple(CELL * side for side in noise.shape[-2:]):
            hidden = self.model_config.network.hidden_cells
            # Core would interpolate between the pixels of a cell, and round a slightly hidden one to known.
            kwargs["concat_mask"] = cell_mask(mask.ceil() if hidden == "any" else mask, hidden=hidden)
        return super().concat_cond(**kwargs)

    def extra_conds(self, **kwargs: Any) -> dict[str, Any]:
        layout: Layout | None = kwargs.get("canvas")
        if layout is None:
            raise ConditioningError(
                "the canvas model was given no layout; put Canvas Encode Layout between the prompt and the sampler, for positive and negative"
            )
        prompts = kwargs["cross_attn"].shape[0]
        if prompts > 1:
            raise ConditioningError(f"the prompt is a batch of {prompts}, but a clip has one; connect a single prompt")
        out = super().extra_conds(**kwargs)
        h, w = kwargs["noise"].shape[-2:]
        device = kwargs["device"]
        out["layout"] = CONDLayout({span: tokens.to(device) for span, tokens in layout.tokens.items()})
        out["relative_region"] = CONDRelativeRegion(layout.anchor, layout.rre, Size(h * CELL, w * CELL))
        out["fps"] = CONDExpanded(torch.tensor([layout.fps]))
        return out

    def resize_cond_for_context_window(
        self, cond_key: str, cond_value: Any, window: Any, x_in: torch.Tensor, device: Any, **kwargs: Any
    ) -> Any:
        if isinstance(cond_value, CONDLayout):
            frames = window.index_list
            return cond_value.to_window(range(frames[0], frames[-1] + 1))
        return cond_value if isinstance(cond_value, CONDExpanded) else None


class CanvasLatent(comfy.latent_formats.LatentFormat):
    """Latents of another VAE than Stable Diffusion's."""

    def __init__(self, network: UNetConfig):
        self.latent_channels = network.out_channels
        self.scale_factor = network.latent_scale
        shown = [list(network.colours[i : i + 3]) for i in range(0, len(network.colours), 3)]
        if shown:
            self.latent_rgb_factors = shown + [[0.0] * 3] * (network.out_channels - len(shown))


class CanvasConfig(comfy.supported_models_base.BASE):
    """What core's BaseModel wants to know of a model family."""

    unet_extra_config: dict[str, Any] = {}
    latent_format = comfy.latent_formats.SD15
    # Core's "linear" is Stable Diffusion's scaled linear; plain linear betas are called "sqrt_linear" there.
    sampling_settings = {"beta_schedule": "sqrt_linear", "linear_start": 0.00085, "linear_end": 0.012, "zsnr": True}
    # Core's factor for SD 2.x is 1.0; motion modules add attention over the same tokens. Not yet measured on a GPU.
    memory_usage_factor = 1.5
    supported_inference_dtypes = [torch.float16, torch.bfloat16, torch.float32]

    def __init__(self, config: UNetConfig):
        super().__init__({"config": config})
        self.network = config
        if config.out_channels != self.latent_format.latent_channels:
            self.latent_format = CanvasLatent(config)


def load_canvas_model(path: str, weight_dtype: str = "default", disable_dynamic: bool = False) -> Any:
    """A core ModelPatcher of the UNet in a canvas checkpoint, RRE included. Raises CheckpointError."""
    checkpoint = open_checkpoint(path)
    tensors = checkpoint.unet_tensors()
    management, device = comfy.model_management, comfy.model_management.get_torch_device()
    supported = CanvasConfig.supported_inference_dtypes
    dtype = WEIGHT_DTYPES[weight_dtype] or management.unet_dtype(
        model_params=comfy.utils.calculate_parameters(tensors),
        supported_dtypes=supported,
        weight_dtype=comfy.utils.weight_dtype(tensors),
    )
    config = CanvasConfig(checkpoint.config)
    config.set_inference_dtype(dtype, management.unet_manual_cast(dtype, device, supported))
    model = CanvasModel(config)
    check_fits(model.diffusion_model, tensors, checkpoint.file.path.name)
    patcher_type = comfy.model_patcher.ModelPatcher if disable_dynamic else comfy.model_patcher.CoreModelPatcher
    patcher = patcher_type(model, load_device=device, offload_device=management.unet_offload_device())
    model.load_model_weights(tensors, "", assign=patcher.is_dynamic())
    patcher.cached_patcher_init = (load_canvas_model, (path, weight_dtype))
    return patcher
