"""Guidance with more than two branches as a core GUIDER."""

from collections.abc import Callable, Iterable
from typing import Any

import comfy.samplers
import torch
from node_helpers import conditioning_set_values

from ...canvas_core.sampling.guidance import context_global_guidance, text_layout_guidance
from .base import require_kind
from .conds import Layout
from .m3ddm import GlobalContext

Conditioning = list[list[Any]]


LAYOUT = (
    Layout,
    "this conditioning has no layout, which text + layout guidance needs",
    "put Canvas Encode Layout before Canvas Guider",
)
GLOBAL = (
    GlobalContext,
    "this conditioning has no global frames, which context + global guidance needs",
    "connect positive and negative of Canvas Global Frames to Canvas Guider",
)


def _require(conditioning: Conditioning, kind: type, lacks: str, fix: str) -> Conditioning:
    for cond in conditioning:
        require_kind(cond[1].get("canvas"), kind, lacks, fix)
    return conditioning


def _nulled(conditioning: Conditioning) -> Conditioning:
    """The same, without what it says of the canvas."""
    return [
        part
        for cond in conditioning
        for part in conditioning_set_values([cond], {"canvas": cond[1]["canvas"].nulled()})
    ]


class BranchGuider(comfy.samplers.CFGGuider):
    """Branches that are evaluated together and combined.

    Patches of others take the first branch for the unconditional one and the second, with its scale, for the conditional one.
    """

    def __init__(
        self,
        model: Any,
        branches: dict[str, Conditioning],
        idle: Iterable[str],
        combine: Callable[..., torch.Tensor],
        scales: tuple[float, float],
    ):
        """combine(*predictions, *scales); `idle` branches are not run, their predictions are zeros."""
        super().__init__(model)
        self.running = {name: name not in idle for name in branches}
        self.combine, self.scales = combine, scales
        self.inner_set_conds(branches)

    def predict_noise(
        self, x: torch.Tensor, timestep: torch.Tensor, model_options: dict | None = None, seed: int | None = None
    ) -> torch.Tensor:
        options = model_options or {}
        conds = [self.conds[name] if runs else None for name, runs in self.running.items()]
        parts = comfy.samplers.calc_cond_batch(self.inner_model, conds, x, timestep, options)
        denoised = self.combine(*parts, *self.scales)
        for patch in options.get("sampler_post_cfg_function", []):
            denoised = patch(
                {
                    "denoised": denoised,
                    "cond": conds[1],
                    "uncond": conds[0],
                    "cond_scale": self.scales[0],
                    "model": self.inner_model,
                    "uncond_denoised": parts[0],
                    "cond_denoised": parts[1],
                    "sigma": timestep,
                    "model_options": options,
                    "input": x,
                }
            )
        return denoised


class TextLayoutGuider(BranchGuider):
    """Text and layout with a scale each; the null layout's tokens are put in here. A scale of 0 saves its branch."""

    def __init__(
        self, model: Any, positive: Conditioning, negative: Conditioning, text_scale: float, layout_scale: float
    ):
        null, text = (_nulled(_require(cond, *LAYOUT)) for cond in (negative, positive))
        branches = {"null": null, "text": text, "layout": negative}
        scales = {"text": text_scale, "layout": layout_scale}
        idle = [name for name, scale in scales.items() if not scale]
        super().__init__(model, branches, idle, text_layout_guidance, (text_scale, layout_scale))


class ContextGlobalGuider(BranchGuider):
    """Known pixels and global frames with a scale each, as M3DDM is guided. A global scale of 0 saves its branch.

    The fourth branch of the published code, global frames without context, has no say there and is never run.
    """

    def __init__(
        self, model: Any, positive: Conditioning, negative: Conditioning, context_scale: float, global_scale: float
    ):
        null, both = _require(negative, *GLOBAL), _require(positive, *GLOBAL)
        branches = {"null": null, "context": _nulled(both), "both": both}
        idle = [] if global_scale else ["both"]
        super().__init__(model, branches, idle, context_global_guidance, (context_scale, global_scale))
