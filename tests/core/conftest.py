"""What every core test shares: a fixed set of hypothesis examples, one thread, and one set of tiny model files."""

from types import SimpleNamespace

import pytest
import tiny
from hypothesis import settings
from threads import one_thread  # noqa: F401 - a fixture

settings.register_profile("core", derandomize=True, database=None, deadline=None, max_examples=60)
settings.load_profile("core")


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Paths of a checkpoint in both formats, a Stable Diffusion folder and a SAM file."""
    folder = tmp_path_factory.mktemp("models")
    return SimpleNamespace(
        model=tiny.write_checkpoint(folder / "canvas.safetensors"),
        ckpt=tiny.write_checkpoint(folder / "canvas.ckpt"),
        base=tiny.write_base(folder / "base"),
        sam=tiny.write_sam(folder / "sam.pth"),
    )
