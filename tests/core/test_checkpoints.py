"""Checkpoint files: formats, metadata, conversion, and everything that can be wrong with a file."""

import io
import json
import pickle
import random
from contextlib import contextmanager
from dataclasses import replace
from functools import cache

import pytest
import tiny
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from canvas_core.errors import CheckpointError, ConditioningError
from canvas_core.networks.autoencoder import decode, encode, load_autoencoder
from canvas_core.networks.weights import open_tensors
from canvas_core.systems.catalogue import SYSTEMS, recognise
from canvas_core.systems.checkpoint import convert, describe, open_checkpoint
from canvas_core.systems.follow_your_canvas.files import FOLLOW_YOUR_CANVAS
from canvas_core.systems.follow_your_canvas.network import FollowYourCanvasUNet
from canvas_core.systems.follow_your_canvas.sam import load_sam
from canvas_core.systems.m3ddm.files import M3DDM
from canvas_core.systems.system import load_network, require_system

LEVELS = len(tiny.UNET.heads)
TWO_HEADS = [2] * LEVELS

by_system = pytest.mark.parametrize("system", SYSTEMS, ids=lambda one: one.name)


@torch.inference_mode()
def outputs(path):
    """What UNet and layout encoder of a file answer to seeded inputs."""
    checkpoint = open_checkpoint(path)
    unet, encoder = load_network(checkpoint), load_network(checkpoint, "layout")
    return answer(unet), encoder(torch.randn(1, 3, 16, 8, generator=torch.Generator().manual_seed(1)))


def answer(unet):
    """The UNet alone; large enough that its coarsest GroupNorm does not magnify rounding errors."""
    draw = torch.Generator().manual_seed(0)
    x, text, layout = (torch.randn(*shape, generator=draw) for shape in ((2, 9, 16, 24), (1, 7, 32), (1, 4, 32)))
    return unet(x, torch.tensor([500]), text, layout, torch.tensor([8]), torch.tensor([[8, -8, 64, 72, 40, 56]]))


def load_everything(path):
    """Open a file and build every network in it."""
    checkpoint = open_checkpoint(path)
    load_network(checkpoint)
    load_network(checkpoint, "layout")


@cache
def tiny_tensors(layout=tiny.LAYOUT):
    return tiny.checkpoint_tensors(layout=layout)


def rewritten(path, change, metadata=None, layout=tiny.LAYOUT):
    """The tiny checkpoint with its dictionary of tensors changed."""
    tensors = dict(tiny_tensors(layout))
    change(tensors)
    save_file(tensors, path, metadata)
    return path


def with_metadata(path, **metadata):
    return rewritten(path, lambda tensors: None, {key.replace("_", "."): value for key, value in metadata.items()})


@contextmanager
def full_disk(limit):
    """No file may grow beyond `limit` bytes."""
    resource = pytest.importorskip("resource")  # limits of a process, which Windows has not
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@torch.inference_mode()
def test_every_format_gives_the_same_networks(models, tmp_path):
    expected, tensors = answer(tiny.unet()), tiny_tensors()
    converted = convert(models.ckpt, tmp_path / "converted.safetensors")
    layouts = []
    for path in (models.ckpt, models.model, converted):
        checkpoint = open_checkpoint(path)
        found = {**load_network(checkpoint).state_dict(), **load_network(checkpoint, "layout").state_dict()}
        assert found.keys() == tensors.keys()
        assert all(torch.equal(found[key], value) for key, value in tensors.items())
        unet, layout = outputs(path)
        assert (unet - expected).abs().max() < 1e-5
        layouts.append(layout)
    assert max((layout - layouts[0]).abs().max() for layout in layouts) < 1e-5


def test_the_published_prefix_is_removed(models):
    file = open_checkpoint(models.ckpt).file
    assert dict(file.shapes) == {key: tuple(value.shape) for key, value in tiny_tensors().items()}
    some = file.load(lambda key: key.startswith("conv_in."))
    assert set(some) == {"conv_in.weight", "conv_in.bias"}


def test_a_file_keeps_its_own_keys_until_its_system_is_known(models):
    assert set(open_tensors(models.ckpt).shapes) == {f"module.{key}" for key in tiny_tensors()}


def prefixed(folder, system, suffix, prefix="module."):
    """A tiny file of a system whose keys have a prefix, and its tensors without."""
    if system is M3DDM:
        return tiny.write_m3ddm(folder, prefix=prefix, suffix=suffix), tiny.m3ddm().half().state_dict()
    tensors, path = tiny_tensors(), folder / f"canvas{suffix}"
    tiny.write_tensors(path, {f"{prefix}{key}": value for key, value in tensors.items()})
    return path, tensors


@by_system
@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_files_of_every_system_may_have_the_prefix_of_distributed_training(tmp_path, system, suffix):
    path, tensors = prefixed(tmp_path, system, suffix)
    checkpoint = open_checkpoint(path)
    assert checkpoint.system is system and checkpoint.file.shapes.keys() == tensors.keys()
    for part in (None, *system.parts):
        network = load_network(checkpoint, part)
        assert all(torch.equal(value, tensors[key].to(value)) for key, value in network.state_dict().items())
    converted = convert(path, tmp_path / "converted.safetensors")
    assert load_file(converted).keys() == tensors.keys()


INNER = ["_forward_module.x.weight", "x.module.weight", "submodule.x", "modules.x", "x.module."]


@by_system
@pytest.mark.parametrize("key", INNER)
def test_only_the_prefix_of_a_key_is_removed(system, key):
    assert system.clean_key(key) == key
    assert system.clean_key(f"module.{key}") == key
    assert system.clean_key("module.module.x") == "module.x"


@pytest.mark.parametrize("key", INNER)
def test_a_key_that_only_holds_the_word_keeps_its_name(tmp_path, key):
    tensors = {f"module.{name}": value for name, value in tiny_tensors().items()}
    path = tiny.write_tensors(tmp_path / "canvas.ckpt", tensors | {key: torch.tensor([3.0])})
    file = open_checkpoint(path).file
    assert file.shapes.keys() == {*tiny_tensors(), key}
    assert file.load(lambda name: name == key) == {key: torch.tensor([3.0])}


@by_system
def test_keys_behind_another_prefix_are_not_recognised(tmp_path, system):
    path, _ = prefixed(tmp_path, system, ".bin", "_forward_module.")
    with pytest.raises(
        CheckpointError, match=r"is not a canvas checkpoint: .* which Follow-Your-Canvas .* M3DDM needs"
    ):
        recognise(open_tensors(path))


@by_system
def test_another_system_is_asked_for_by_its_title(tmp_path, system):
    path, _ = prefixed(tmp_path, system, ".bin", "")
    checkpoint = open_checkpoint(path)
    for wanted in SYSTEMS:
        if wanted is system:
            require_system(checkpoint, wanted)
            continue
        told = f"is a checkpoint of {system.title}, but {wanted.title} is needed here; pick another file"
        with pytest.raises(CheckpointError, match=told):
            require_system(checkpoint, wanted)


def test_safetensors_may_be_called_sft(models, tmp_path):
    short = tmp_path / "canvas.sft"
    short.write_bytes(models.model.read_bytes())
    assert open_checkpoint(short).file.shapes == open_checkpoint(models.model).file.shapes


def test_sizes_come_from_the_shapes(models):
    for path in (models.model, models.ckpt):
        checkpoint = open_checkpoint(path)
        assert (checkpoint.system, checkpoint.config) == (FOLLOW_YOUR_CANVAS, tiny.UNET)
        assert checkpoint.parts == {"layout": tiny.LAYOUT}
        assert load_network(checkpoint, "layout").config == tiny.LAYOUT


@pytest.mark.parametrize(
    "stored", [{"heads": TWO_HEADS}, {"norm_groups": 16}, {"norm_eps": 0.5}], ids=lambda s: next(iter(s))
)
def test_the_stored_config_is_honoured(tmp_path, stored):
    path = with_metadata(tmp_path / "stored.safetensors", canvas_config=json.dumps(stored))
    config = replace(tiny.UNET, **{key: tuple(v) if isinstance(v, list) else v for key, v in stored.items()})
    expected = FollowYourCanvasUNet(config).eval()
    expected.load_state_dict(tiny.unet().state_dict())
    with torch.inference_mode():
        assert open_checkpoint(path).config == config
        assert (outputs(path)[0] - answer(expected)).abs().max() < 1e-5
        assert (answer(tiny.unet()) - answer(expected)).abs().max() > 1e-3


def test_the_stored_rre_is_honoured_and_survives_conversion(models, tmp_path):
    def recorded(path):
        return open_checkpoint(path).presets["default"].rre

    assert recorded(models.model) == "centre_px"
    once = convert(models.model, tmp_path / "once.safetensors", record={"rre": "official"})
    twice = convert(once, tmp_path / "twice.safetensors")
    assert [recorded(path) for path in (once, twice)] == ["official", "official"]


@pytest.mark.parametrize("name", ["steps", "cfg", "rate"])
def test_what_does_not_belong_to_the_weights_is_not_recorded(models, tmp_path, name):
    with pytest.raises(ConditioningError, match=f"--{name} means nothing to Follow-Your-Canvas; leave it out"):
        convert(models.model, tmp_path / "converted.safetensors", record={name: "3"})
    assert not list(tmp_path.iterdir())


def test_conversion_writes_metadata(models, tmp_path):
    target = convert(models.ckpt, tmp_path / "converted.safetensors", record={"rre": "official"})
    with safe_open(target, framework="pt") as file:
        metadata = file.metadata()
    stored = json.loads(metadata["canvas.config"])
    assert {"heads", "norm_groups", "norm_eps", "prediction", "spacing"} <= stored.keys()
    assert {name: tuple(v) if isinstance(v, list) else v for name, v in stored.items()}.items() <= vars(
        tiny.UNET
    ).items()
    assert (metadata["canvas.architecture"], metadata["canvas.rre"]) == ("follow_your_canvas", "official")
    assert metadata["modelspec.title"] == "canvas"


def test_conversion_keeps_what_the_file_said(tmp_path):
    stored = json.dumps({"heads": TWO_HEADS, "norm_groups": 16})
    source = with_metadata(tmp_path / "a.safetensors", canvas_config=stored, author="somebody")
    target = convert(source, tmp_path / "b.safetensors")
    assert open_checkpoint(target).config == open_checkpoint(source).config
    assert open_checkpoint(target).file.metadata["author"] == "somebody"
    assert all((a - b).abs().max() < 1e-5 for a, b in zip(outputs(source), outputs(target), strict=True))


def test_conversion_to_half_precision(models, tmp_path):
    target = convert(models.model, tmp_path / "half.safetensors", torch.float16)
    exact = load_file(models.model)
    assert all(torch.equal(value, exact[key].half()) for key, value in load_file(target).items())
    assert (outputs(target)[0] - outputs(models.model)[0]).abs().max() < 0.02


def test_conversion_refuses_other_suffixes_and_folders(models, tmp_path):
    with pytest.raises(CheckpointError, match=r"must end in \.safetensors"):
        convert(models.model, tmp_path / "converted.ckpt")
    with pytest.raises(CheckpointError, match="there is no folder"):
        convert(models.model, tmp_path / "missing" / "converted.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "key", ["conv_norm_out.weight", "temporal_proj.norm_temp.bias", "image_proj_model.layers.0.1.3.weight"]
)
def test_conversion_of_an_incomplete_file_writes_nothing(tmp_path, key):
    source = rewritten(tmp_path / "a.safetensors", lambda tensors: tensors.pop(key))
    with pytest.raises(CheckpointError, match=f"a.safetensors is incomplete: it has no '{key}'"):
        convert(source, tmp_path / "b.safetensors")
    assert list(tmp_path.iterdir()) == [source]


def test_conversion_on_a_full_disk_keeps_the_older_file(models, tmp_path):
    older = tmp_path / "converted.safetensors"
    older.write_bytes(b"older")
    with pytest.raises(CheckpointError, match=r"writing converted\.safetensors failed"), full_disk(100_000):
        convert(models.model, older)
    assert list(tmp_path.iterdir()) == [older]
    assert older.read_bytes() == b"older"


def test_a_description_names_what_matters(models, tmp_path):
    lines = describe(convert(models.ckpt, tmp_path / "converted.safetensors", record={"rre": "official"})).splitlines()
    table = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines}
    count = sum(value.numel() for value in tiny_tensors().values())
    assert list(table)[:6] == ["file", "architecture", "tensors", "unet", "layout", "rre"]
    assert list(table)[6:] == sorted(open_checkpoint(tmp_path / "converted.safetensors").file.metadata)
    assert table["architecture"] == "follow_your_canvas"
    assert table["tensors"] == f"{len(tiny_tensors())}, {count / 1e6:.1f} M values"
    assert (table["unet"], table["layout"]) == (str(tiny.UNET), str(tiny.LAYOUT))
    assert table["rre"] == "official"


STRANGE_CONFIGS = {
    "unknown key": ('{"groups": 8}', "names groups, which this version does not know"),
    "not JSON": ("heads: 8", "must be a JSON object"),
    "a list": ("[8, 8, 8, 8]", "must be a JSON object"),
    "a number": ("8", "must be a JSON object"),
    "no heads": (json.dumps({"heads": [0] * LEVELS}), "do not divide into heads"),
    "uneven heads": (json.dumps({"heads": [3] * LEVELS}), "do not divide into heads"),
    "uneven groups": ('{"norm_groups": 48}', "do not divide into 48 norm groups"),
    "too few heads": ('{"heads": [1]}', "heads"),
    "heads in one number": ('{"heads": 1}', "heads"),
    "deep": ("[" * 100_000 + "]" * 100_000, "must be a JSON object"),
    "deep value": ('{"heads": ' + "[" * 400 + "]" * 400 + "}", "heads is .*, but must be a list, each item a whole"),
    "text for a number": ('{"norm_eps": "small"}', "norm_eps is 'small', but must be a finite number"),
    "no number": ('{"norm_eps": NaN}', "norm_eps is nan, but must be a finite number"),
    "text among heads": ('{"heads": [1, "x"]}', "heads is .1, 'x'., but must be a list, each item a whole number"),
    "true heads": ('{"heads": [true, true]}', "heads is .*, but must be a list"),
    "half groups": ('{"norm_groups": 8.0}', "norm_groups is 8.0, but must be a whole number"),
    "a number for a list": ('{"spread": 5}', "spread is 5, but must be a list, each item a finite number"),
    "objects for colours": ('{"colours": [{}]}', "colours is .*, but must be a list, each item a finite number"),
    "a list for a text": ('{"prediction": ["v"]}', "prediction is .*, but must be a text"),
    "a number for a truth": ('{"reads_text": 1}', "reads_text is 1, but must be true or false"),
    "more layers than there are": (
        '{"layers_per_block": 1000000000}',
        "says layers_per_block 1000000000, but the tensors",
    ),
    "no frames": ('{"max_frames": -1}', "says max_frames -1, but the tensors say 64"),
    "more than all noise": ('{"noise_share": 1.5}', "says noise_share 1.5, but a share is 0 to 1"),
    "no groups": ('{"norm_groups": 0}', "norm_groups|norm groups"),
}


@pytest.mark.parametrize(("text", "message"), STRANGE_CONFIGS.values(), ids=STRANGE_CONFIGS)
def test_a_strange_stored_config_is_refused(tmp_path, text, message):
    path = with_metadata(tmp_path / "strange.safetensors", canvas_config=text)
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(path)


@pytest.mark.parametrize("name", ["model", "ckpt"])
@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_refused(models, tmp_path, name, share):
    whole = getattr(models, name)
    cut = tmp_path / whole.name
    cut.write_bytes(whole.read_bytes()[: int(share * whole.stat().st_size)])
    with pytest.raises(CheckpointError, match=f"{whole.stem}.* is damaged"):
        load_everything(cut)


class Code:
    """Writes a file when unpickled by a careless reader."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


PICKLES = {
    "plain": lambda content, path: path.write_bytes(pickle.dumps(content)),
    "zip": lambda content, path: torch.save(content, path),
    "legacy": lambda content, path: torch.save(content, path, _use_new_zipfile_serialization=False),
}


@pytest.mark.parametrize("suffix", ["ckpt", "pth", "pt"])
@pytest.mark.parametrize("save", PICKLES.values(), ids=PICKLES)
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path, save, suffix):
    marker, path = tmp_path / "marker", tmp_path / f"evil.{suffix}"
    save({"state_dict": tiny.sam().state_dict(), "extra": Code(marker)}, path)
    for load in (open_tensors, open_checkpoint, load_sam):
        with pytest.raises(CheckpointError, match="evil.* contains code"):
            load(path)
    assert not marker.exists()


def test_the_marker_would_appear_if_the_code_ran(tmp_path):
    pickle.loads(pickle.dumps(Code(tmp_path / "marker"))).close()
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize("content", [b"a text file that was renamed\n" * 20, b"<!DOCTYPE html><html>" * 20])
@pytest.mark.parametrize("suffix", ["ckpt", "safetensors"])
def test_a_file_of_another_kind_is_called_damaged(tmp_path, content, suffix):
    path = tmp_path / f"page.{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged") as caught:
        open_checkpoint(path)
    assert "code" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["ckpt", "safetensors"])
def test_no_bytes_get_past_the_reader(tmp_path, suffix):
    path = tmp_path / f"bytes.{suffix}"
    for content in [b"", *(bytes([byte]) * count for byte in range(256) for count in (1, 9))]:
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=path.name):
            open_tensors(path)


def changed_somewhere(content, seed):
    """The content with one to three bytes set to something else."""
    draw, changed = random.Random(seed), bytearray(content)
    for _ in range(draw.randint(1, 3)):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("save", ["zip", "legacy"])
def test_changed_bytes_are_read_or_refused(tmp_path, save):
    path, buffer, refused = tmp_path / "changed.ckpt", io.BytesIO(), 0
    torch.save({"weight": torch.arange(6.0)}, buffer, _use_new_zipfile_serialization=save == "zip")
    for seed in range(400):
        path.write_bytes(changed_somewhere(buffer.getvalue(), seed))
        try:
            open_tensors(path)
        except CheckpointError:
            refused += 1
    assert refused > 100


def small_vae():
    """An AutoencoderKL with the default 32 norm groups, which a single file cannot name."""
    blocks = ("DownEncoderBlock2D",) * 4, ("UpDecoderBlock2D",) * 4
    return AutoencoderKL(3, 3, *blocks, block_out_channels=(32,) * 4, scaling_factor=0.18215)


@pytest.mark.parametrize("prefix", ["", "first_stage_model."])
@pytest.mark.parametrize("make", [small_vae, AutoencoderTiny], ids=["kl", "tiny"])
@torch.inference_mode()
def test_a_vae_file_is_recognised(tmp_path, make, prefix):
    vae, path = tiny.seeded(make), tmp_path / "vae.safetensors"
    save_file({prefix + key: value.contiguous() for key, value in vae.state_dict().items()}, path)
    frames, noise = torch.rand(5, 40, 24, 3), torch.randn(5, 4, 5, 3)
    latents, again = encode(vae, frames, noise), encode(load_autoencoder(path), frames, noise)
    assert latents.shape == noise.shape and (latents - again).abs().max() < 1e-4
    pictures = decode(load_autoencoder(path), latents)
    assert pictures.shape == frames.shape and (pictures - decode(vae, latents)).abs().max() < 1e-4


@pytest.mark.parametrize("kind", ["sam", "model", "missing"])
def test_other_files_are_not_vaes(tmp_path, models, kind):
    path = getattr(models, kind, tmp_path / "vae.safetensors")
    with pytest.raises(CheckpointError, match="not a VAE|not a usable VAE|there is no file"):
        load_autoencoder(path)


def test_other_checkpoints_are_not_canvas_checkpoints(models, tmp_path):
    other = tmp_path / "other.safetensors"
    save_file({"conv_in.weight": torch.zeros(4, 4, 3, 3), "conv_out.weight": torch.zeros(4, 4, 3, 3)}, other)
    for path in (other, models.sam):
        with pytest.raises(CheckpointError, match=f"{path.stem}.* is not a canvas checkpoint: .* none is '") as caught:
            open_checkpoint(path)
        assert "add_cond_embedding" in str(caught.value) or "conv_in.weight" in str(caught.value)


NAMELESS = [{}, {"state_dict": {}}, {"state_dict": 3}, {"state_dict": torch.ones(2)}, {"epoch": 3}, {0: torch.ones(2)}]


@pytest.mark.parametrize("content", [*NAMELESS, [torch.ones(2)], torch.ones(2), "text", None], ids=str)
def test_a_file_without_named_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "empty.ckpt")
    with pytest.raises(CheckpointError, match=r"empty\.ckpt holds no tensors"):
        open_tensors(tmp_path / "empty.ckpt")


@pytest.mark.parametrize("name", ["missing.safetensors", "missing.ckpt", "."])
def test_a_missing_file_is_named(tmp_path, name):
    with pytest.raises(CheckpointError, match="there is no file at"):
        open_checkpoint(tmp_path / name)


MISSING = [
    "conv_in.weight",
    "conv_norm_out.bias",
    "down_blocks.0.resnets.0.conv1.weight",
    "down_blocks.1.resnets.0.conv1.weight",
    "down_blocks.0.attentions.0.proj_in.weight",
    "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight",
    "mid_block.motion_modules.0.temporal_transformer.transformer_blocks.0.attention_blocks.0.pos_encoder.pe",
    "up_blocks.1.motion_modules.1.temporal_transformer.norm.weight",
    "temporal_proj.patch_embed.weight",
    "temporal_proj.attn_temp.to_q.weight",
    "image_proj_model.layers.0.0.to_q.weight",
    "image_proj_model.layers.1.0.to_q.weight",
    "image_proj_model.proj_out.weight",
    "image_proj_model.norm_out.bias",
]


@pytest.mark.parametrize("key", MISSING)
def test_a_missing_tensor_is_reported(tmp_path, key):
    layout = replace(tiny.LAYOUT, depth=2)
    path = rewritten(tmp_path / "incomplete.safetensors", lambda tensors: tensors.pop(key), layout=layout)
    with pytest.raises(CheckpointError, match="incomplete.safetensors"):
        load_everything(path)


@pytest.mark.parametrize(
    "key", ["conv_norm_out.bias", "image_proj_model.norm_out.bias", "add_cond_embedding.linear_1.weight"]
)
def test_a_missing_tensor_is_named(tmp_path, key):
    path = rewritten(tmp_path / "incomplete.safetensors", lambda tensors: tensors.pop(key))
    with pytest.raises(CheckpointError, match=f"'{key}'"):
        load_everything(path)


RESHAPED = {
    "conv_out.bias": lambda x: x[:3],
    "conv_in.weight": lambda x: x[:, :8],
    "down_blocks.1.resnets.0.conv1.weight": lambda x: x[:32],
    "add_cond_embedding.linear_1.weight": lambda x: x[:, :-1],
    "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight": lambda x: x[:, :16],
    "up_blocks.0.resnets.0.conv2.weight": lambda x: x[..., 0],
    "temporal_proj.patch_embed.weight": lambda x: x.flatten(),
    "image_proj_model.latents": lambda x: x[0],
    "image_proj_model.proj_out.weight": lambda x: x[:16],
}


@pytest.mark.parametrize("key", RESHAPED)
def test_a_tensor_of_another_shape_is_reported(tmp_path, key):
    def change(tensors):
        tensors[key] = RESHAPED[key](tensors[key]).contiguous()

    with pytest.raises(CheckpointError, match=r"reshaped\.safetensors|widths"):
        load_everything(rewritten(tmp_path / "reshaped.safetensors", change))


def test_spare_tensors_are_ignored(tmp_path, models):
    path = rewritten(tmp_path / "spare.safetensors", lambda tensors: tensors.update(spare=torch.zeros(3)))
    assert (outputs(path)[0] - outputs(models.model)[0]).abs().max() < 1e-5


X0 = {"prediction": "x0", "spread": [1.0, 0.5, 0.25, 2.0]}
UNUSABLE = {
    "prediction": ({"prediction": "eps"}, "says prediction 'eps', but this version knows v, x0"),
    "cells": ({"hidden_cells": "some"}, "says hidden_cells 'some', but this version knows first, any"),
    "spacing": ({"spacing": "linspace"}, "says spacing 'linspace', but this version knows leading, trailing"),
    "no spread": ({"prediction": "x0"}, "has 0 numbers under 'spread', but x0 prediction of 4 channels needs as many"),
    "short spread": (X0 | {"spread": [1.0]}, "has 1 numbers under 'spread'"),
}


@pytest.mark.parametrize(("stored", "message"), UNUSABLE.values(), ids=UNUSABLE)
def test_a_config_that_cannot_be_run_is_refused(tmp_path, stored, message):
    path = with_metadata(tmp_path / "other.safetensors", canvas_config=json.dumps(stored))
    with pytest.raises(CheckpointError, match=f"other.safetensors cannot be used: .* {message}"):
        open_checkpoint(path)


def with_fill(tensors):
    tensors["smooth_fill.blocks"] = torch.zeros(4, 3, 8, 8)


def test_x0_prediction_needs_the_blocks_of_its_fill(tmp_path):
    metadata = {"canvas.config": json.dumps(X0)}
    whole = rewritten(tmp_path / "whole.safetensors", with_fill, metadata)
    assert load_network(open_checkpoint(whole)).smooth_fill.blocks.shape == (4, 3, 8, 8)
    partial = rewritten(tmp_path / "partial.safetensors", lambda tensors: None, metadata)
    with pytest.raises(CheckpointError, match=r"partial.safetensors is incomplete: it has no 'smooth_fill.blocks'"):
        load_network(open_checkpoint(partial))


def test_everything_that_shapes_do_not_tell_survives_conversion(tmp_path):
    stored = X0 | {"noise_share": 0.5, "latent_scale": 1.0, "colours": [0.5] * 9, "hidden_cells": "any"}
    stored |= {"reads_text": False, "spacing": "trailing"}
    metadata = {"canvas.config": json.dumps(stored), "canvas.presets": json.dumps({"default": {"steps": 3}})}
    path = rewritten(tmp_path / "a.safetensors", with_fill, metadata)
    for checkpoint in map(open_checkpoint, (path, convert(path, tmp_path / "b.safetensors"))):
        given = {name: getattr(checkpoint.config, name) for name in stored}
        assert given == {name: tuple(v) if isinstance(v, list) else v for name, v in stored.items()}
        assert checkpoint.presets["default"].steps == 3


def test_an_unknown_rre_convention_is_refused(tmp_path):
    path = tiny.write_checkpoint(tmp_path / "rre.safetensors", metadata={"canvas.rre": "centre"})
    told = "rre.safetensors cannot be used: in its metadata rre is 'centre', but must be one of centre_px, official"
    with pytest.raises(CheckpointError, match=told):
        open_checkpoint(path)
