"""M3DDM as a plain core MODEL."""

from collections.abc import Sequence
from typing import Any

import torch
from comfy.model_base import BaseModel, ModelType

from ....canvas_core.errors import ConditioningError
from ....canvas_core.pixels.placing import cell_mask
from ....canvas_core.plan.boxes import CELL, Size
from ....canvas_core.systems.m3ddm.files import M3DDM
from ....canvas_core.systems.m3ddm.layers import GlobalKeys
from ....canvas_core.systems.m3ddm.network import M3DDMUNet
from ....canvas_core.systems.m3ddm.plan import clip_rate
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
from .known import CONDGlobalFrames, GlobalContext, SeenFrames

SAME_NODE = "connect latent, positive and negative of the same Canvas Global Frames"


class StackedKeys(Sequence[GlobalKeys]):
    """Keys of several clips as those of a batch, stacked when their layer runs: of all layers they would fill the memory."""

    def __init__(self, clips: Sequence[Sequence[GlobalKeys]]):
        self._clips = clips

    def __len__(self) -> int:
        return len(self._clips[0])

    def __getitem__(self, layer: int) -> GlobalKeys:
        keys, values = zip(*(clip[layer] for clip in self._clips), strict=True)
        return GlobalKeys(torch.cat(keys), torch.cat(values))


class M3DDMNetwork(CoreNetwork, M3DDMUNet):
    """The UNet as core calls it. The keys of the global frames are kept for one sampling run."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._kept: dict[SeenFrames, list[GlobalKeys]] = {}
        for module in self.global_img_encoder.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.float()  # 8-bit weights have no room for recorded variances

    def _forward(
        self,
        x: torch.Tensor,
        timesteps: torch.Tensor,
        context: torch.Tensor | None,
        control: Any,
        transformer_options: dict,
        seen: tuple[SeenFrames, ...],
        fps: torch.Tensor,
        **kwargs: Any,
    ) -> torch.Tensor:
        frames = frames_of(x, transformer_options)
        attend = attend_by_core(transformer_options)
        return M3DDMUNet.forward(self, x, timesteps[::frames], self._keys(seen, x), fps[::frames], attend)

    def _keys(self, seen: tuple[SeenFrames, ...], x: torch.Tensor) -> Sequence[GlobalKeys]:
        """Of each clip in the batch; one set serves all where they see the same."""
        keys = {one: self._keys_of(one, x) for one in dict.fromkeys(seen)}
        return keys[seen[0]] if len(keys) == 1 else StackedKeys([keys[one] for one in seen])

    def _keys_of(self, seen: SeenFrames, x: torch.Tensor) -> list[GlobalKeys]:
        if seen in self._kept:
            return self._kept[seen]
        keys = self.encode_global(seen.latents.to(x))
        if seen.lasting:
            self._kept[seen] = keys
        return keys

    def forget(self) -> None:
        self._kept.clear()


class M3DDMModel(BaseModel):
    """M3DDM in core's terms: frames are the batch; context latent and mask, in this order, are concatenated."""

    def __init__(self, config: "M3DDMModelConfig", device: Any = None):
        super().__init__(config, ModelType.EPS, device=device, unet_model=M3DDMNetwork)

    def concat_cond(self, **kwargs: Any) -> torch.Tensor:
        noise, latents, mask = kwargs["noise"], kwargs.get("concat_latent_image"), kwargs.get("concat_mask")
        if latents is None or mask is None:
            raise ConditioningError(
                "M3DDM was given no known pixels; put Canvas Global Frames in front of the sampler, and no other node for inpainting behind it"
            )
        for name, part in (("latent", noise), ("context latent", latents)):
            require_channels(name, part, self.latent_format.latent_channels)
        size = Size(*noise.shape[-2:])
        parts = (self.process_latent_in(latents), _cells(mask, size))
        return torch.cat([_of_frames(part, len(noise), size).to(noise) for part in parts], dim=1)

    def extra_conds(self, **kwargs: Any) -> dict[str, Any]:
        context = require_kind(
            kwargs.get("canvas"),
            GlobalContext,
            "M3DDM was given no global frames",
            "put Canvas Global Frames in front of the sampler, for positive and negative",
        )
        require_channels("latent of the global frames", context.latents, self.latent_format.latent_channels)
        if kwargs.get("control") is not None:
            raise ConditioningError(
                "M3DDM was given a ControlNet, but none fits it; take Apply ControlNet out of its conditioning"
            )
        out = super().extra_conds(**kwargs)
        latents = self.process_latent_in(context.latents)[None]
        # Hooks may change the weights from step to step, and with them the keys.
        lasting = kwargs.get("hooks") is None
        out["seen"] = CONDGlobalFrames(SeenFrames(torch.zeros_like(latents) if context.null else latents, lasting))
        # A whole number, as the network takes it: core would round floats to bfloat16.
        out["fps"] = CONDExpanded(torch.tensor([int(clip_rate(context.fps, 1))]))
        return out


def _cells(mask: torch.Tensor, size: Size) -> torch.Tensor:
    """A mask [F, (1,) H, W] of pixels or cells as [F, 1, h, w] of cells, 0 or 1."""
    mask = (mask.reshape(-1, 1, *mask.shape[-2:]) > 0).float()
    return mask if tuple(mask.shape[-2:]) == size else cell_mask(mask)


def _of_frames(part: torch.Tensor, frames: int, size: Size) -> torch.Tensor:
    """Context or mask [1 or F, C, h, w] with a row for each frame. Raises ConditioningError when it is of another clip."""
    if len(part) not in (1, frames) or tuple(part.shape[-2:]) != size:
        got, wanted = (Size(rows[-2] * CELL, rows[-1] * CELL) for rows in (part.shape, size))
        raise ConditioningError(
            f"the known pixels are {len(part)} frames of {got}, but the latent is {frames} of {wanted}; {SAME_NODE}"
        )
    return part.expand(frames, *part.shape[1:])


class M3DDMModelConfig(CanvasConfig):
    """What core wants to know of the family. Its schedule is Stable Diffusion's, which is core's default."""

    # A guess, not yet measured on a GPU: Stable Diffusion 1.5 counts as 1 in core, and each of its layers has one over time beside it here.
    memory_usage_factor = 2.0


FAMILY = Family(M3DDM, M3DDMModelConfig, M3DDMModel)
