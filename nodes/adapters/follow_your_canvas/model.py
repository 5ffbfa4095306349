"""Follow-Your-Canvas, and the built-in model, as a plain core MODEL."""

from typing import Any

import comfy.latent_formats
import torch
from comfy.model_base import BaseModel, ModelType
from comfy.model_sampling import V_PREDICTION, X0, ModelSamplingDiscrete

from ....canvas_core.errors import ConditioningError
from ....canvas_core.pixels.placing import cell_mask
from ....canvas_core.plan.boxes import CELL, Size
from ....canvas_core.sampling.noise import share_noise
from ....canvas_core.systems.follow_your_canvas.config import UNetConfig
from ....canvas_core.systems.follow_your_canvas.files import FOLLOW_YOUR_CANVAS
from ....canvas_core.systems.follow_your_canvas.network import FollowYourCanvasUNet
from ..base import (
    CanvasConfig,
    CONDExpanded,
    CoreNetwork,
    Family,
    attend_by_core,
    frames_of,
    require_channels,
    require_kind,
)
from .conds import CONDLayout, CONDRelativeRegion, Layout


class FollowYourCanvasNetwork(CoreNetwork, FollowYourCanvasUNet):
    """The UNet as core calls it."""

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
        frames = frames_of(x, transformer_options)
        per_clip = [rows[::frames] for rows in (timesteps, context, layout, fps, relative_region)]
        attend = attend_by_core(transformer_options)
        return FollowYourCanvasUNet.forward(self, x, *per_clip, attend=attend, control=control)


class SharedNoise:
    """Start noise with a common part in all frames, where the network was trained with it."""

    noise_share = 0.0

    def noise_scaling(self, sigma: Any, noise: torch.Tensor, latent_image: Any, max_denoise: bool = False) -> Any:
        return super().noise_scaling(sigma, share_noise(noise, self.noise_share), latent_image, max_denoise)  # type: ignore[misc]


class VelocitySampling(SharedNoise, ModelSamplingDiscrete, V_PREDICTION):
    """For networks that predict v."""


class CleanSampling(SharedNoise, ModelSamplingDiscrete, X0):
    """For networks that predict the clean latent."""


class FollowYourCanvasModel(BaseModel):
    """Follow-Your-Canvas in core's terms: frames are the batch, mask and masked latent are concatenated."""

    def __init__(self, config: "FollowYourCanvasConfig", device: Any = None):
        super().__init__(config, ModelType.V_PREDICTION, device=device, unet_model=FollowYourCanvasNetwork)
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
            if latent is not None:
                require_channels(name, latent, self.latent_format.latent_channels)
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
        layout = require_kind(
            kwargs.get("canvas"),
            Layout,
            "the canvas model was given no layout",
            "put Canvas Encode Layout between the prompt and the sampler, for positive and negative",
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


class FollowYourCanvasConfig(CanvasConfig):
    """Schedule, memory and latents of the family."""

    # Core's "linear" is Stable Diffusion's scaled linear; plain linear betas are called "sqrt_linear" there.
    sampling_settings = {"beta_schedule": "sqrt_linear", "linear_start": 0.00085, "linear_end": 0.012, "zsnr": True}
    # Core's factor for SD 2.x is 1.0; motion modules add attention over the same tokens. Not yet measured on a GPU.
    memory_usage_factor = 1.5

    def __init__(self, config: UNetConfig):
        super().__init__(config)
        if config.out_channels != self.latent_format.latent_channels:
            self.latent_format = CanvasLatent(config)


FAMILY = Family(FOLLOW_YOUR_CANVAS, FollowYourCanvasConfig, FollowYourCanvasModel)
