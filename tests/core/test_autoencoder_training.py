"""The block transform as a TAESD encoder, the tiny autoencoder against diffusers', and its training."""

import pytest
import tiny_training as tiny
import torch
from diffusers import AutoencoderTiny
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny import seeded

from canvas_core.errors import CheckpointError, TrainingError
from canvas_core.networks.autoencoder import decode, encode, load_autoencoder
from canvas_core.systems.follow_your_canvas.block_latent import decode_blocks, encode_blocks
from canvas_core.training.block_transform import as_encoder, learn_blocks, read_blocks
from canvas_core.training.data.pictures import read_pictures
from canvas_core.training.tiny_autoencoder import TinyDecoder, TinyEncoder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return list(read_pictures(tiny.write_pictures(tmp_path_factory.mktemp("pictures"))).values())


@pytest.fixture(scope="module")
def kernel(pictures):
    return learn_blocks(pictures, 7)


def frames(*size, count=2, seed=0):
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(seed))


def slow_encode(kernel, picture):
    """Block by block: every latent is the sum of a block times its kernel."""
    h, w = (side // 8 for side in picture.shape[1:])
    out = torch.zeros(len(kernel), h, w)
    for y in range(h):
        for x in range(w):
            block = picture[:, 8 * y : 8 * y + 8, 8 * x : 8 * x + 8] - 0.5
            out[:, y, x] = (kernel * block).sum((1, 2, 3))
    return out


@pytest.mark.parametrize("size", [(8, 8), (24, 40), (56, 8)])
def test_blocks_are_encoded_one_by_one(kernel, size):
    given = frames(*size)
    expected = torch.stack([slow_encode(kernel, picture) for picture in given])
    assert torch.allclose(encode_blocks(kernel, given), expected, atol=1e-4)


@pytest.mark.parametrize("size", [(8, 8), (24, 40), (56, 8)])
def test_the_encoder_computes_the_blocks(kernel, size):
    given = frames(*size)
    given[0, :, ::3], given[1, ..., ::2] = 0, 1
    assert torch.allclose(as_encoder(kernel)(given), encode_blocks(kernel, given), atol=1e-4)


def test_the_kernel_is_read_back_even_from_half_precision(kernel):
    encoder = as_encoder(kernel)
    assert torch.allclose(read_blocks(encoder), kernel, atol=1e-5)
    rounded = read_blocks(encoder.half().float())
    assert torch.allclose(rounded, kernel.half().float(), atol=1e-4)


def test_an_encoder_of_another_kind_is_refused():
    with pytest.raises(CheckpointError, match=r"not a transform of 8x8 blocks \(it differs by"):
        read_blocks(seeded(lambda: TinyEncoder(5)))


def test_decoding_finds_frames_with_the_same_latents(kernel):
    latents = encode_blocks(kernel, frames(24, 40))
    again = decode_blocks(kernel, latents)
    assert again.shape == (2, 3, 24, 40)
    assert torch.allclose(encode_blocks(kernel, again), latents, atol=1e-4)
    assert again.sub(0.5).norm() < frames(24, 40).sub(0.5).norm()


def test_every_block_that_fits_comes_back_when_all_components_are_kept(pictures):
    whole = learn_blocks(pictures, 192)
    assert torch.allclose(decode_blocks(whole, encode_blocks(whole, frames(16, 24))), frames(16, 24), atol=1e-2)


def test_the_first_channels_are_the_colour_means(kernel):
    given = frames(24, 40)
    means = torch.nn.functional.avg_pool2d(given - 0.5, 8)
    red, green, blue = means.unbind(1)
    for channel, plane in enumerate((red + green + blue, red - blue, red - 2 * green + blue)):
        found = torch.corrcoef(torch.stack([encode_blocks(kernel, given)[:, channel].flatten(), plane.flatten()]))
        assert found[0, 1].abs() > 0.9999


@pytest.mark.parametrize("channels", [4, 32])
@torch.inference_mode()
def test_the_tiny_autoencoder_is_that_of_diffusers_under_cores_keys(tmp_path, channels):
    parts = {"taesd_encoder": TinyEncoder(channels), "taesd_decoder": TinyDecoder(channels)}
    tensors = {
        f"{part}.{name}": value for part, network in parts.items() for name, value in network.state_dict().items()
    }
    save_file(tensors | {"vae_scale": torch.ones(()), "vae_shift": torch.zeros(())}, tmp_path / "vae.safetensors")
    vae = load_autoencoder(tmp_path / "vae.safetensors")
    assert isinstance(vae, AutoencoderTiny)
    given = frames(24, 40)
    latents = encode(vae, given.permute(0, 2, 3, 1), torch.zeros(2, channels, 3, 5))
    assert torch.allclose(latents, parts["taesd_encoder"](given), atol=1e-5)
    wild = 4 * torch.randn(2, channels, 3, 5, generator=torch.Generator().manual_seed(1))
    pictures = parts["taesd_decoder"](wild).clamp(0, 1).permute(0, 2, 3, 1)
    assert torch.allclose(decode(vae, wild), pictures, atol=1e-5)


def test_latents_of_another_width_name_the_right_vae(tmp_path, pictures):
    path = tiny.write_encoder(tmp_path / "encoder.safetensors", tiny.write_pictures(tmp_path / "pictures"), 5)
    decoder = {f"taesd_decoder.{name}": value.half() for name, value in TinyDecoder(5).state_dict().items()}
    save_file(load_file(path) | decoder, tmp_path / "vae.safetensors")
    with pytest.raises(CheckpointError, match="latents of 5 channels .* takes 4 .*; use the VAE it was trained with"):
        encode(load_autoencoder(tmp_path / "vae.safetensors"), torch.rand(1, 16, 24, 3), torch.zeros(1, 4, 2, 3))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A decoder after two steps: (trainer, its folder)."""
    folder = tiny.prepare(tmp_path_factory.mktemp("autoencoder"))
    made = tiny.trainer(folder / "run", tiny.recipe(folder, tiny.AUTOENCODER))
    assert made.run(report=lambda line: None)
    return made, folder / "run"


def test_training_changes_the_decoder_and_writes_a_sheet(trained):
    made, folder = trained
    first = tiny.trainer(folder.parent / "again", tiny.recipe(folder.parent, tiny.AUTOENCODER)).task.networks
    assert not torch.equal(made.task.networks[1].weight, first[1].weight)
    assert [path.name for path in (folder / "sheets").iterdir()] == ["00000002.png"]


@torch.inference_mode()
def test_the_exported_vae_is_the_averaged_one(trained):
    made, folder = trained
    vae, given = load_autoencoder(folder / "autoencoder.safetensors"), frames(24, 40)
    latents = encode(vae, given.permute(0, 2, 3, 1), torch.zeros(2, 5, 3, 5))
    assert torch.allclose(latents, encode_blocks(made.task.kernel, given), atol=0.02)
    expected = made.averaged()(latents).clamp(0, 1).permute(0, 2, 3, 1)
    assert torch.allclose(decode(vae, latents), expected, atol=0.01)
    with safe_open(folder / "autoencoder.safetensors", "pt") as file:
        assert file.metadata()["modelspec.license"] == "CC0-1.0"


def test_training_without_pictures_is_refused(tmp_path):
    (tmp_path / "pictures").mkdir()
    with pytest.raises(TrainingError, match="no pictures to learn from"):
        tiny.trainer(tmp_path / "run", tiny.recipe(tmp_path, tiny.AUTOENCODER))
