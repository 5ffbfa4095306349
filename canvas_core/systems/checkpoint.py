"""Opening, describing and converting checkpoints of any system."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from ..atomic_write import refuse_same, write_whole
from ..errors import CheckpointError
from ..networks.weights import TensorFile, Tensors, _in_folder, cast, check_fits, open_tensors
from .catalogue import recognise
from .follow_your_canvas.config import LayoutEncoderConfig
from .follow_your_canvas.files import FOLLOW_YOUR_CANVAS, LAYOUT_PREFIXES, build_layout_encoder, read_layout_config
from .follow_your_canvas.layout_encoder import LayoutEncoder
from .follow_your_canvas.relative_region import CONVENTIONS
from .follow_your_canvas.sam import build_sam
from .presets import Preset, read_presets
from .stored_values import read_json
from .system import Architecture, stored_config

if TYPE_CHECKING:
    from segment_anything.modeling import ImageEncoderViT


@dataclass(frozen=True)
class Checkpoint:
    """A recognised canvas checkpoint."""

    file: TensorFile
    architecture: Architecture
    config: Any
    layout: LayoutEncoderConfig | None
    """Of the layout encoder in the same file, if its architecture has one"""
    rre: str
    """Convention of the relative region embedding: the file's `canvas.rre`, else centre_px."""
    presets: Mapping[str, Preset]
    """Recommended settings by name, `default` among them"""

    def unet_tensors(self) -> Tensors:
        """Everything but the layout encoder."""
        return self.file.load(lambda key: not key.startswith(LAYOUT_PREFIXES))

    def layout_tensors(self) -> Tensors:
        """The layout encoder alone."""
        return self.file.load(lambda key: key.startswith(LAYOUT_PREFIXES))


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Recognise a canvas checkpoint without reading its tensors. Raises CheckpointError."""
    file = open_tensors(path)
    architecture = recognise(file.shapes, file.path.name)
    try:
        stored = {**_options_beside(file.path, architecture), **stored_config(file.metadata)}
        config = architecture.read_config(file.shapes, stored)
        layout = read_layout_config(file.shapes) if architecture.has_layout else None
    except CheckpointError as error:
        raise CheckpointError(f"{file.path.name} cannot be used: {error}") from None
    except (KeyError, IndexError, ValueError) as error:
        raise CheckpointError(
            f"{file.path.name} looks like {architecture.name}, but lacks {error}; download it again"
        ) from None
    rre = file.metadata.get("canvas.rre", CONVENTIONS[0])
    if rre not in CONVENTIONS:
        raise CheckpointError(
            f"{file.path.name} names the RRE convention {rre!r}, but it must be one of {', '.join(CONVENTIONS)}; convert it again"
        )
    return Checkpoint(file, architecture, config, layout, rre, read_presets(file.metadata, architecture.preset))


def _options_beside(path: Path, architecture: Architecture) -> dict[str, Any]:
    """What the `config.json` beside a diffusers file tells of its network. Raises CheckpointError when it cannot be read."""
    beside = path.with_name("config.json")
    if not architecture.options or not beside.is_file():
        return {}
    try:
        options = read_json(beside.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise CheckpointError(f"config.json beside it cannot be read ({error}); download it again") from None
    if not isinstance(options, dict):
        raise CheckpointError("config.json beside it is no JSON object; download it again")
    return {name: options[key] for name, key in architecture.options.items() if key in options}


def _fill(network: Any, tensors: Tensors, name: str, dtype: torch.dtype | None, device: Any) -> Any:
    check_fits(network, tensors, name)
    network.load_state_dict(
        {key: cast(value, dtype).to(device) for key, value in tensors.items()},
        strict=False,
        assign=True,
    )
    return network.eval().requires_grad_(False)


def require_architecture(checkpoint: Checkpoint, wanted: Architecture) -> None:
    """Raise CheckpointError unless the checkpoint is of the architecture `wanted`."""
    if checkpoint.architecture is not wanted:
        raise CheckpointError(
            f"{checkpoint.file.path.name} is a checkpoint of {checkpoint.architecture.title}, but {wanted.title} is needed here; pick another file"
        )


def load_unet(checkpoint: Checkpoint, dtype: torch.dtype = torch.float32, device: Any = "cpu") -> Any:
    """The canvas UNet of a checkpoint, ready to run."""
    network = checkpoint.architecture.build(checkpoint.config, dtype=dtype, device="meta")
    return _fill(network, checkpoint.unet_tensors(), checkpoint.file.path.name, dtype, device)


def load_layout_encoder(
    checkpoint: Checkpoint, dtype: torch.dtype = torch.float32, device: Any = "cpu", operations: Any = torch.nn
) -> LayoutEncoder:
    """The layout encoder of the same checkpoint, its layers taken from `operations`. Raises CheckpointError when it has none."""
    require_architecture(checkpoint, FOLLOW_YOUR_CANVAS)
    network = build_layout_encoder(checkpoint.file.shapes, operations, dtype=dtype, device="meta")
    return _fill(network, checkpoint.layout_tensors(), checkpoint.file.path.name, dtype, device)


def load_sam(path: str | Path) -> "ImageEncoderViT":
    """The image encoder of a SAM file, float32 on the CPU."""
    return build_sam(open_tensors(path).load(lambda key: True))


def describe(path: str | Path) -> str:
    """What a canvas checkpoint is, over several lines."""
    checkpoint = open_checkpoint(path)
    shapes = checkpoint.file.shapes
    count = sum(torch.Size(shape).numel() for shape in shapes.values())
    lines = [
        f"file          {checkpoint.file.path.name}",
        f"architecture  {checkpoint.architecture.name}",
        f"tensors       {len(shapes)}, {count / 1e6:.1f} M values",
        f"unet          {checkpoint.config}",
    ]
    if checkpoint.layout:
        lines += [f"layout        {checkpoint.layout}", f"rre           {checkpoint.rre}"]
    return "\n".join(lines + [f"{key:13} {value}" for key, value in sorted(checkpoint.file.metadata.items())])


def _empty_networks(checkpoint: Checkpoint) -> list[torch.nn.Module]:
    """Every network of the file, on the meta device."""
    networks = [checkpoint.architecture.build(checkpoint.config, device="meta")]
    if checkpoint.layout:
        networks.append(build_layout_encoder(checkpoint.file.shapes, device="meta"))
    return networks


def convert(source: str | Path, target: str | Path, dtype: torch.dtype | None = None, rre: str | None = None) -> Path:
    """Write a checkpoint as one safetensors file with metadata. Raises CheckpointError; never leaves half a file."""
    target = Path(target)
    if target.suffix != ".safetensors":
        raise CheckpointError(f"the output is {target.name}, but must end in .safetensors; rename it")
    refuse_same(_in_folder(Path(source)), target, CheckpointError)
    checkpoint = open_checkpoint(source)
    tensors = {
        key: cast(value, dtype).contiguous().clone() for key, value in checkpoint.file.load(lambda key: True).items()
    }
    for network in _empty_networks(checkpoint):
        check_fits(network, tensors, checkpoint.file.path.name)
    metadata = {
        **checkpoint.file.metadata,
        **checkpoint.architecture.describe(checkpoint.config),
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.title": checkpoint.file.path.stem,
        "modelspec.date": date.today().isoformat(),
        **({"canvas.rre": rre} if rre else {}),
    }

    def write(path: Path) -> None:
        try:
            save_file(tensors, path, metadata)
        except SafetensorError as error:  # how safetensors reports a full disk
            raise OSError(str(error)) from None

    write_whole(target, write, CheckpointError)
    return target
