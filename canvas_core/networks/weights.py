"""Weights files: opened without executing anything in them, and checked against the network they are for."""

import pickle
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from ..errors import CheckpointError

Shapes = Mapping[str, tuple[int, ...]]
"""Key to shape of every tensor of a checkpoint."""


Tensors = dict[str, torch.Tensor]

DIFFUSERS_FILES = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
"""What the weights in a diffusers folder are called, in the order they are looked for."""


@dataclass(frozen=True)
class TensorFile:
    """A weights file whose tensors are read when asked for."""

    path: Path
    shapes: Shapes
    metadata: Mapping[str, str]
    load: Callable[[Callable[[str], bool]], Tensors]
    """load(wanted) -> the tensors whose keys are wanted."""

    def renamed(self, rename: Callable[[str], str]) -> "TensorFile":
        """The same file with its keys under other names."""
        old = {rename(key): key for key in self.shapes}

        def load(wanted: Callable[[str], bool]) -> Tensors:
            found = self.load(lambda key: wanted(rename(key)))
            return {rename(key): value for key, value in found.items()}

        return replace(self, shapes={key: self.shapes[before] for key, before in old.items()}, load=load)


def open_tensors(path: str | Path) -> TensorFile:
    """Open a .safetensors file, or a PyTorch file of plain tensors. Raises CheckpointError when it cannot be trusted or read."""
    path = file_in(Path(path))
    if not path.is_file():
        raise CheckpointError(f"there is no file at {path}; check the name and the folder")
    return _open_safetensors(path) if path.suffix in (".safetensors", ".sft") else _open_pickle(path)


def file_in(path: Path) -> Path:
    """The weights file of a diffusers folder; a file as it is."""
    return next((path / name for name in DIFFUSERS_FILES if (path / name).is_file()), path)


def _open_safetensors(path: Path) -> TensorFile:
    try:
        with safe_open(path, framework="pt") as file:
            shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118 - not a dict
            metadata = dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path.name} is damaged or not a safetensors file ({error}); download or convert it again"
        ) from None

    def load(wanted: Callable[[str], bool]) -> Tensors:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in shapes if wanted(key)}

    return TensorFile(path, shapes, metadata, load)


def _open_pickle(path: Path) -> TensorFile:
    content = _load_pickle(path)
    if isinstance(content, dict):
        content = content.get("state_dict", content)
    named = content.items() if isinstance(content, dict) else ()
    tensors = {str(key): value for key, value in named if isinstance(value, torch.Tensor)}
    if not tensors or not all(isinstance(key, str) for key, _ in named):
        raise CheckpointError(f"{path.name} holds no tensors by name; pick a model checkpoint")
    shapes = {key: tuple(value.shape) for key, value in tensors.items()}
    return TensorFile(path, shapes, {}, lambda wanted: {key: value for key, value in tensors.items() if wanted(key)})


def _load_pickle(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch talks of pickle protocols, which help nobody here
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path) or None)
    except pickle.UnpicklingError as error:
        if _asks_for_code(str(error), path):
            raise CheckpointError(
                f"{path.name} was refused: it contains code, not only tensors; ask its author for a safetensors file"
            ) from None
        raise CheckpointError(f"{path.name} is damaged or not a PyTorch file; download it again") from None
    except Exception:  # damaged bytes trip torch's reader in many ways: IndexError, AssertionError, BadZipFile ...
        raise CheckpointError(f"{path.name} is damaged or cut short; download it again") from None


def _asks_for_code(message: str, path: Path) -> bool:
    """Whether torch's safe reader stopped at something that would run code, and not at a file of another kind."""
    if any(word in message for word in ("GLOBAL", "unsupported class", "unrecognized function")):
        return True
    with path.open("rb") as file:
        return file.read(1) == pickle.PROTO and "Unsupported operand" in message


def check_fits(network: torch.nn.Module, tensors: Mapping[str, torch.Tensor], name: str) -> None:
    """Raise CheckpointError when `tensors` lack a key of the network, have it in another shape, or have parts it lacks.

    A missing key can make the network look smaller than it was trained, which the tensors left over give away.
    """
    own = network.state_dict()
    for key, value in own.items():
        if key not in tensors:
            raise CheckpointError(f"{name} is incomplete: it has no '{key}'; download it again")
        if tensors[key].shape != value.shape:
            raise CheckpointError(
                f"in {name} '{key}' is {list(tensors[key].shape)}, but the other tensors call for {list(value.shape)}; download it again"
            )
    parts = {key.split(".")[0] for key in own}
    for key in tensors:
        if key not in own and key.split(".")[0] in parts:
            raise CheckpointError(
                f"{name} is incomplete: '{key}' belongs to a layer whose other tensors are missing; download it again"
            )


def cast(value: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
    """The tensor in another precision; counters stay whole numbers."""
    return value.to(dtype or value.dtype) if value.is_floating_point() else value
