"""Files of Zeros: one number, which scales what is predicted."""

from typing import Any

import torch
from torch import nn

from ..system import Checkpoint, Files, Place, System
from .settings import Settings


class ZerosNetwork(nn.Module):
    """The network: a number."""

    def __init__(self, config: None, operations: Any = nn, dtype: torch.dtype | None = None, device: Any = None):
        super().__init__()
        self.zeros_scale = nn.Parameter(torch.empty(1, dtype=dtype, device=device))

    def forward(self, x: torch.Tensor, level: float) -> torch.Tensor:
        """`level` for every value of x."""
        return torch.full_like(x, level) * self.zeros_scale


def _open(checkpoint: Checkpoint, files: Files, settings: Settings, place: Place) -> Any:
    from .model import open_model

    return open_model(checkpoint, files, settings, place)


ZEROS = System(
    name="zeros",
    title="Zeros",
    required=("zeros_scale",),
    read_config=lambda shapes, stored: None,
    build=ZerosNetwork,
    stored=(),
    settings=Settings,
    files=("base", "vae"),
    strides=lambda length: (1,),
    in_rounds=False,
    in_time_windows=False,
    open=_open,
)
