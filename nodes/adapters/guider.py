"""Guidance with more than two branches as a core GUIDER."""

from typing import Any

import comfy.samplers
import torch
from node_helpers import conditioning_set_values

from ...canvas_core.errors import ConditioningError
from ...canvas_core.guidance import text_layout_guidance

Conditioning = list[list[Any]]


def _with_null_layout(conditioning: Conditioning) -> Conditioning:
    out = []
    for cond in conditioning:
        if "canvas" not in cond[1]:
            raise ConditioningError(
                "this conditioning has no layout, which text + layout guidance needs; put Canvas Encode Layout before Canvas Guider"
            )
        out += conditioning_set_values([cond], {"canvas": cond[1]["canvas"].nulled()})
    return out


class TextLayoutGuider(comfy.samplers.CFGGuider):
    """Text and layout with a scale each; the null layout's tokens are put in here."""

    def __init__(
        self, model: Any, positive: Conditioning, negative: Conditioning, text_scale: float, layout_scale: float
    ):
        super().__init__(model)
        self.text_scale, self.layout_scale = text_scale, layout_scale
        self.inner_set_conds(
            {"null": _with_null_layout(negative), "text": _with_null_layout(positive), "layout": negative}
        )

    def predict_noise(
        self, x: torch.Tensor, timestep: torch.Tensor, model_options: dict | None = None, seed: int | None = None
    ) -> torch.Tensor:
        options = model_options or {}
        text = self.conds["text"] if self.text_scale else None
        layout = self.conds["layout"] if self.layout_scale else None
        null, told, seen = comfy.samplers.calc_cond_batch(
            self.inner_model, [self.conds["null"], text, layout], x, timestep, options
        )
        denoised = text_layout_guidance(null, told, seen, self.text_scale, self.layout_scale)
        for patch in options.get("sampler_post_cfg_function", []):
            denoised = patch(
                {
                    "denoised": denoised,
                    "cond": text,
                    "uncond": self.conds["null"],
                    "cond_scale": self.text_scale,
                    "model": self.inner_model,
                    "uncond_denoised": null,
                    "cond_denoised": told,
                    "sigma": timestep,
                    "model_options": options,
                    "input": x,
                }
            )
        return denoised
