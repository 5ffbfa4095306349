"""Where the built-in model's files lie: in the pack's `models` folder, arranged as ComfyUI's is."""

from pathlib import Path

from ..errors import CheckpointError
from .system import Files

FOLDER = Path(__file__).resolve().parents[2] / "models"

MODEL = FOLDER / "diffusion_models" / "canvas_small.safetensors"
SAM = FOLDER / "sams" / "canvas_small_sam.safetensors"
VAE = FOLDER / "vae" / "canvas_small_vae.safetensors"


def require(path: Path) -> Path:
    """The path, if the file is there. Raises CheckpointError when the pack was installed without its models."""
    if not path.is_file():
        raise CheckpointError(
            f"the built-in model's {path.name} is not in {path.parent}; run from a checkout of the pack, or give --model, --sam and --vae"
        )
    return path


def complete(files: Files) -> Files:
    """The files given, and the built-in model's own where there are none."""
    vae = files.vae or (None if files.base else require(VAE))
    return files._replace(vae=vae, sam=files.sam or require(SAM))
