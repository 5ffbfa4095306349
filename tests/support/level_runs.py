"""Hierarchical sampling in a real ComfyUI, next to core's own sampler, and a guider that keeps what it was asked."""

from types import SimpleNamespace

import torch
from comfy_pack import load_comfyui, part

load_comfyui()

import comfy.samplers  # noqa: E402
from comfy_extras.nodes_custom_sampler import Noise_RandomNoise, SamplerCustomAdvanced  # noqa: E402

SEED = 7


def random(*shape, seed=9):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Recorder(comfy.samplers.CFGGuider):
    """Core's guider with a list of its runs, which shallow copies share."""

    def __init__(self, model, positive, negative, cfg=3.0):
        super().__init__(model)
        self.set_conds(positive, negative)
        self.set_cfg(cfg)
        self.runs = []

    def sample(self, noise, latent_image, *args, callback=None, denoise_mask=None, seed=None, **kwargs):
        run = SimpleNamespace(noise=noise, latents=latent_image.clone(), mask=denoise_mask, seed=seed)
        run.conds, run.model = self.original_conds, self.model_patcher

        def keep(step, x0, x, total):
            run.x0 = x0.clone()
            callback(step, x0, x, total)

        run.result = super().sample(
            noise, latent_image, *args, callback=keep, denoise_mask=denoise_mask, seed=seed, **kwargs
        )
        self.runs.append(run)
        return run.result


def arguments(guider, latent, sampler, steps, noise=None, sigmas=None):
    """What both samplers are given."""
    if sigmas is None:
        model_sampling = guider.model_patcher.get_model_object("model_sampling")
        sigmas = comfy.samplers.calculate_sigmas(model_sampling, "normal", steps)
    return noise or Noise_RandomNoise(SEED), guider, comfy.samplers.sampler_object(sampler), sigmas, latent


def sample_by_levels(guider, plan, latent, sampler="euler", steps=3, **options):
    """Both outputs of Canvas Hierarchical Sampler."""
    node = part("nodes.levels").CanvasHierarchicalSampler
    return node.execute(*arguments(guider, latent, sampler, steps, **options), plan).args


def sample_plainly(guider, latent, sampler="euler", steps=3, **options):
    """Both outputs of core's SamplerCustomAdvanced."""
    return SamplerCustomAdvanced.execute(*arguments(guider, latent, sampler, steps, **options)).args
