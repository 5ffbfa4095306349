"""The files a training leaves behind: half-precision safetensors that say what they are and where they come from."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from ..atomic_write import write_whole
from ..errors import TrainingError

LARGEST = 15 * 2**20
"""Bytes of the largest file that is shipped inside a repository."""


@dataclass(frozen=True)
class About:
    """What a released file says of itself."""

    title: str = "untitled"
    licence: str = "unknown"
    data: str = "unknown"
    """What it was trained on"""
    recipe: str = "unknown"
    """The configuration file"""
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Recommended settings by name; see `systems.presets`"""

    def metadata(self, facts: Mapping[str, Any]) -> dict[str, str]:
        """Metadata of a safetensors file; `facts` are those of the training, such as its steps."""
        return {
            "modelspec.sai_model_spec": "1.0.0",
            "modelspec.title": self.title,
            "modelspec.license": self.licence,
            "modelspec.date": date.today().isoformat(),
            "canvas.data": self.data,
            "canvas.recipe": self.recipe,
            "canvas.training": json.dumps(dict(facts)),
        }


def write_release(target: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> Path:
    """Write tensors in half precision. Raises TrainingError when the file would be larger than LARGEST."""
    halves = {name: value.half().contiguous() for name, value in tensors.items()}
    size = sum(2 * value.numel() for value in halves.values())
    if size > LARGEST:
        raise TrainingError(
            f"{target.name} would take {size / 2**20:.1f} MiB, but at most {LARGEST // 2**20} are shipped; make the network narrower"
        )
    write_whole(target, lambda path: save_file(halves, path, dict(metadata)), TrainingError)
    return target
