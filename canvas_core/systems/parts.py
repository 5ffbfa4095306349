"""Parts that are not in a system's own files: the VAE."""

from typing import Any

from ..errors import ConditioningError
from ..networks.autoencoder import load_autoencoder
from .system import Files


def load_vae(files: Files) -> Any:
    """The VAE among the files, float32. Raises ConditioningError when there is none, CheckpointError when it cannot be used."""
    path = files.vae or (files.base and files.base / "vae")
    if not path:
        raise ConditioningError(
            "there is no VAE; give the Stable Diffusion folder that the model was trained with by --base, or a file with --vae"
        )
    return load_autoencoder(path)
