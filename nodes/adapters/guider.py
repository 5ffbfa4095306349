"""Guidance with more than two branches as a core GUIDER, for any model."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import comfy.samplers
import torch
from node_helpers import conditioning_set_values

from .base import require_kind

Conditioning = list[list[Any]]


def require_canvas(conditioning: Conditioning, kind: type, lacks: str, fix: str) -> Conditioning:
    """The same, when all of it says of the canvas what is of this kind. Raises ConditioningError otherwise, see `require_kind`."""
    for cond in conditioning:
        require_kind(cond[1].get("canvas"), kind, lacks, fix)
    return conditioning


def nulled(conditioning: Conditioning) -> Conditioning:
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


class Scale(NamedTuple):
    """The weight of one condition, as a widget shows it."""

    name: str
    default: float
    tooltip: str


@dataclass(frozen=True)
class Formula:
    """A way to guide, as Canvas Guider offers it."""

    name: str
    scales: tuple[Scale, ...]
    make: Callable[..., BranchGuider]
    """make(model, positive, negative, *scales). Raises ConditioningError when a conditioning is not its own"""

    def __str__(self) -> str:
        return f"'{self.name}' with {' and '.join(repr(f'formula.{scale.name}') for scale in self.scales)}"
