"""Saving and finding the state of a training: safetensors shards of bounded size, written whole or not at all."""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from ..errors import TrainingError

SHARD_BYTES = 14 * 2**20
"""Small enough for a version control host or a slow link; a tensor larger than this is refused."""

KEPT = 2
"""States kept: the newest and one before it."""


def _shards(tensors: Mapping[str, torch.Tensor]) -> Iterator[dict[str, torch.Tensor]]:
    shard: dict[str, torch.Tensor] = {}
    size = 0
    for name, tensor in tensors.items():
        bytes_ = tensor.numel() * tensor.element_size()
        if bytes_ > SHARD_BYTES:
            raise TrainingError(
                f"the tensor {name} takes {bytes_ / 2**20:.0f} MiB, but a shard holds {SHARD_BYTES // 2**20}; make the network narrower"
            )
        if size + bytes_ > SHARD_BYTES:
            yield shard
            shard, size = {}, 0
        shard[name] = tensor.detach().cpu().contiguous().clone()
        size += bytes_
    yield shard


def save_state(folder: Path, step: int, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> Path:
    """Write `folder/step-NNNNNNNN`; older states beyond KEPT are deleted only once it is complete."""
    target, temporary = folder / f"step-{step:08d}", folder / f"writing-{step:08d}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for index, shard in enumerate(_shards(tensors)):
        save_file(shard, temporary / f"{index:03d}.safetensors")
    (temporary / "facts.json").write_text(json.dumps({"step": step, "shards": index + 1, **facts}))
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)
    for old in sorted(folder.glob("step-*"))[:-KEPT]:
        shutil.rmtree(old)
    return target


def newest_state(folder: Path) -> Path | None:
    """The newest complete state of a training folder."""
    states = sorted(folder.glob("step-*"))
    return states[-1] if states else None


def load_state(state: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and facts of a state folder. Raises TrainingError when a shard is damaged or missing."""
    try:
        facts = json.loads((state / "facts.json").read_text())
        paths = sorted(state.glob("*.safetensors"))
        shards = [load_file(state / f"{index:03d}.safetensors") for index in range(facts.get("shards", len(paths)))]
    except Exception as error:
        raise TrainingError(
            f"the state {state} cannot be read ({error}); delete it to go on from the one before"
        ) from None
    return {name: tensor for shard in shards for name, tensor in shard.items()}, facts
