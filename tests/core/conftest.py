"""What every core test shares: a fixed set of hypothesis examples, one thread, and one set of tiny model files."""

from types import SimpleNamespace

import pytest
import tiny
import torch
from hypothesis import settings

settings.register_profile("core", derandomize=True, database=None, deadline=None, max_examples=60)
settings.load_profile("core")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Tiny networks lose more by waiting for other threads than they win."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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
