"""Opening, describing and converting checkpoints of any system."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from ..atomic_write import refuse_same, write_whole
from ..errors import CheckpointError, ConditioningError
from ..networks.weights import cast, check_fits, file_in, open_tensors
from .catalogue import recognise
from .presets import DEFAULT, read_presets, read_recorded
from .stored_values import read_json
from .system import Checkpoint, System, stored_config


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Recognise a checkpoint without reading its tensors. Raises CheckpointError."""
    file = open_tensors(path)
    system, file = recognise(file)
    try:
        stored = {**_options_beside(file.path, system), **stored_config(file.metadata)}
        config = system.read_config(file.shapes, stored)
        parts = {name: part.read_config(file.shapes) for name, part in system.parts.items()}
        presets = read_presets(file.metadata, read_recorded(file.metadata, system.settings, system.recorded))
    except CheckpointError as error:
        raise CheckpointError(f"{file.path.name} cannot be used: {error}") from None
    except (KeyError, IndexError, ValueError) as error:
        raise CheckpointError(
            f"{file.path.name} looks like {system.name}, but lacks {error}; download it again"
        ) from None
    return Checkpoint(file, system, config, parts, presets)


def _options_beside(path: Path, system: System) -> dict[str, Any]:
    """What the `config.json` beside a diffusers file tells of its network. Raises CheckpointError when it cannot be read."""
    beside = path.with_name("config.json")
    if not system.beside or not beside.is_file():
        return {}
    try:
        options = read_json(beside.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise CheckpointError(f"config.json beside it cannot be read ({error}); download it again") from None
    if not isinstance(options, dict):
        raise CheckpointError("config.json beside it is no JSON object; download it again")
    return {name: options[key] for name, key in system.beside.items() if key in options}


def describe(path: str | Path) -> str:
    """What a checkpoint is, over several lines."""
    checkpoint = open_checkpoint(path)
    shapes, system = checkpoint.file.shapes, checkpoint.system
    count = sum(torch.Size(shape).numel() for shape in shapes.values())
    told = {
        "file": checkpoint.name,
        "architecture": system.name,
        "tensors": f"{len(shapes)}, {count / 1e6:.1f} M values",
        "unet": checkpoint.config,
        **checkpoint.parts,
        **{name: getattr(checkpoint.presets[DEFAULT], name) for name in system.recorded},
    }
    lines = [*told.items(), *sorted(checkpoint.file.metadata.items())]
    return "\n".join(f"{key:13} {value}" for key, value in lines)


def convert(
    source: str | Path,
    target: str | Path,
    dtype: torch.dtype | None = None,
    record: Mapping[str, str] = {},  # noqa: B006 - never changed
) -> Path:
    """Write a checkpoint as one safetensors file with metadata. `record`: settings that belong to its weights.

    Raises CheckpointError, or ConditioningError on a setting that the system does not record; never leaves half a file.
    """
    target = Path(target)
    if target.suffix != ".safetensors":
        raise CheckpointError(f"the output is {target.name}, but must end in .safetensors; rename it")
    refuse_same(file_in(Path(source)), target, CheckpointError)
    checkpoint = open_checkpoint(source)
    for name in record:
        if name not in checkpoint.system.recorded:
            raise ConditioningError(f"--{name} means nothing to {checkpoint.system.title}; leave it out")
    tensors = {
        key: cast(value, dtype).contiguous().clone() for key, value in checkpoint.file.load(lambda key: True).items()
    }
    for part in (None, *checkpoint.parts):
        check_fits(checkpoint.empty(part), tensors, checkpoint.name)
    metadata = {
        **checkpoint.file.metadata,
        **checkpoint.system.metadata(checkpoint.config),
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.title": checkpoint.file.path.stem,
        "modelspec.date": date.today().isoformat(),
        **{f"canvas.{name}": value for name, value in record.items()},
    }

    def write(path: Path) -> None:
        try:
            save_file(tensors, path, metadata)
        except SafetensorError as error:  # how safetensors reports a full disk
            raise OSError(str(error)) from None

    write_whole(target, write, CheckpointError)
    return target
