"""Small networks under core's BaseModel and ModelPatcher: everything around the network is the real thing."""

import torch
from comfy_pack import load_comfyui, part
from tiny import LAYOUT, seeded, write_checkpoint

load_comfyui()

import comfy.latent_formats  # noqa: E402
import comfy.model_base  # noqa: E402
import comfy.model_patcher  # noqa: E402
import comfy.samplers  # noqa: E402
import comfy.supported_models_base  # noqa: E402

CPU = torch.device("cpu")
WIDTH = 12
"""Width of the text tokens of these networks."""


class Net(torch.nn.Module):
    """A convolution, the mean of the text tokens and a non-linearity; the same for images and videos."""

    def __init__(self, channels, dims, kernel=3, device=None, operations=None, **kwargs):
        super().__init__()
        conv = torch.nn.Conv3d if dims == 3 else torch.nn.Conv2d
        self.dtype = torch.float32
        self.first = conv(channels, 16, kernel, padding=kernel // 2)
        self.text = torch.nn.Linear(WIDTH, 16)
        self.last = conv(16, channels, kernel, padding=kernel // 2)

    def forward(self, x, timesteps, context=None, control=None, transformer_options=None, **kwargs):
        h = self.first(x) + timesteps.view(-1, *[1] * (x.ndim - 1)) / 1000
        h = h + self.text(context.mean(1)).view(len(context), -1, *[1] * (x.ndim - 2))
        h = torch.tanh(h)
        for residual in (control or {}).get("middle", []):
            h = h + residual
        return self.last(h)


class ImageConfig(comfy.supported_models_base.BASE):
    unet_extra_config = {}
    latent_format = comfy.latent_formats.SD15


class VideoConfig(comfy.supported_models_base.BASE):
    unet_extra_config = {}
    latent_format = comfy.latent_formats.Wan21


def core_model(dims=2, kernel=3):
    """A MODEL on 4-D latents [F, 4, h, w] or, with dims 3, on 5-D latents [B, 16, T, h, w]; kernel 1 sees single cells."""
    config = (VideoConfig if dims == 3 else ImageConfig)(
        {"channels": 16 if dims == 3 else 4, "dims": dims, "kernel": kernel}
    )
    config.set_inference_dtype(torch.float32, None)
    model = seeded(lambda: comfy.model_base.BaseModel(config, device=CPU, unet_model=Net), 11)
    return comfy.model_patcher.ModelPatcher(model, CPU, CPU)


def conditioning(seed, **values):
    tokens = torch.randn(1, 7, WIDTH, generator=torch.Generator().manual_seed(seed))
    return [[tokens, values]]


def canvas_model(folder):
    """The tiny Follow-Your-Canvas checkpoint as a MODEL."""
    path = write_checkpoint(folder / "canvas.safetensors")
    return part("nodes.adapters.model").load_canvas_model(str(path))


def canvas_conditioning(seed, spans, anchor, rre="centre_px", known=None):
    """A conditioning for `canvas_model` with random tokens; known: (masked latents, mask in pixels)."""
    generator = torch.Generator().manual_seed(seed)
    layouts = part("nodes.adapters.follow_your_canvas.conds")
    tokens, null = (
        {span: torch.randn(1, LAYOUT.tokens, LAYOUT.output, generator=generator) for span in spans} for _ in range(2)
    )
    values = {"canvas": layouts.Layout(tokens, null, anchor, rre, 8)}
    if known:
        values |= {"concat_latent_image": known[0], "concat_mask": known[1]}
    return [[torch.randn(1, 7, 32, generator=generator), values]]


def sample(model, noise, positive, negative, sampler="euler", scheduler="normal", steps=3, cfg=3.0, guider=None):
    """Core's samplers from pure noise, by a guider of the test's choice."""
    if guider is None:
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(positive, negative)
        guider.set_cfg(cfg)
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), scheduler, steps)
    return guider.sample(
        noise, torch.zeros_like(noise), comfy.samplers.sampler_object(sampler), sigmas, seed=5, disable_pbar=True
    )
