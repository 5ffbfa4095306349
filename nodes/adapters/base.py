"""What the canvas models have in common under core: how their network is called, and what core wants to know of them."""

from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import comfy.latent_formats
import comfy.patcher_extension
import comfy.supported_models_base
import torch
from comfy.conds import CONDRegular
from comfy.ldm.modules.attention import optimized_attention
from comfy.model_base import BaseModel
from comfy.patcher_extension import WrapperExecutor, WrappersMP

from ...canvas_core.errors import ConditioningError
from ...canvas_core.plan.keyframes import ClipPlan
from ...canvas_core.systems.system import System

Kind = TypeVar("Kind")
Value = TypeVar("Value")


@runtime_checkable
class ClipValue(Protocol):
    """What a system puts into a conditioning under the key `canvas`: it says itself what it is for a clip, and for a branch without it."""

    def of_clip(self: Value, clip: ClipPlan, latents: torch.Tensor) -> Value:
        """The same for one clip of a plan. latents [n, C, H, W] are where the clip starts; those of its guides are finished."""

    def nulled(self: Value) -> Value:
        """The same without what guidance leaves out."""


class CoreNetwork:
    """A network under the arguments by which core calls a diffusion model. Frames are the batch."""

    def forward(
        self,
        x: torch.Tensor,
        timesteps: torch.Tensor,
        context: torch.Tensor | None = None,
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
        context: torch.Tensor | None,
        control: Any,
        transformer_options: dict,
        **kwargs: Any,
    ) -> torch.Tensor:
        raise NotImplementedError

    def forget(self) -> None:
        """Drop what was kept for one sampling run; called at its end, also after an error."""


def frames_of(x: torch.Tensor, options: dict) -> int:
    """Frames of each clip in a batch [(B F), ...]. Time windows change their number, so no conditioning can tell it."""
    return x.shape[0] // len(options.get("cond_or_uncond", [0]))


def attend_by_core(options: dict) -> Any:
    """The attention that the user has chosen, with the patches that others have put on it."""
    return partial(optimized_attention, attn_precision=torch.float32, transformer_options=options)


class Family(NamedTuple):
    """What core runs the model of a published system by."""

    system: System
    config: type["CanvasConfig"]
    model: type[BaseModel]


class CanvasConfig(comfy.supported_models_base.BASE):
    """What core's BaseModel wants to know of a model family."""

    unet_extra_config: dict[str, Any] = {}
    latent_format = comfy.latent_formats.SD15
    supported_inference_dtypes = [torch.float16, torch.bfloat16, torch.float32]

    def __init__(self, config: Any):
        super().__init__({"config": config})
        self.network = config


class CONDExpanded(CONDRegular):
    """One row [1, ...] for the whole clip, seen once per frame without being copied."""

    def process_cond(self, batch_size: int, **kwargs: object) -> CONDRegular:
        return CONDRegular(self.cond.expand(batch_size, *self.cond.shape[1:]))


def require_kind(value: Any, kind: type[Kind], lacks: str, fix: str) -> Kind:
    """The value under `canvas` of a conditioning. Raises ConditioningError when there is none, or one for another model."""
    if isinstance(value, kind):
        return value
    got = "" if value is None else " (but what another canvas model reads)"
    raise ConditioningError(f"{lacks}{got}; {fix}")


def require_channels(name: str, latent: torch.Tensor, wanted: int) -> None:
    """Raise ConditioningError unless latents [F, C, h, w] have as many channels as the model."""
    if latent.shape[1] != wanted:
        raise ConditioningError(
            f"the {name} has {latent.shape[1]} channels, but the canvas model takes {wanted}; use the VAE it was trained with"
        )
