"""M3DDM's files: the published folder, its conversion, and what can be wrong with either."""

import json

import pytest
import tiny
import torch

from canvas_core.errors import CheckpointError, ConditioningError
from canvas_core.systems.checkpoint import convert, describe, open_checkpoint
from canvas_core.systems.follow_your_canvas.files import FOLLOW_YOUR_CANVAS
from canvas_core.systems.m3ddm.files import M3DDM
from canvas_core.systems.system import Place, load_network, require_system


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return tiny.write_m3ddm(tmp_path_factory.mktemp("m3ddm") / "M3DDM")


def test_folder_file_and_conversion_give_the_same_network(published, tmp_path):
    expected = {key: value.float() for key, value in tiny.m3ddm().half().state_dict().items()}
    converted = convert(published, tmp_path / "m3ddm.safetensors")
    for path in (published, published / "diffusion_pytorch_model.bin", converted):
        checkpoint = open_checkpoint(path)
        assert (checkpoint.system, checkpoint.system.name, checkpoint.config) == (M3DDM, "m3ddm", tiny.M3DDM)
        found = load_network(checkpoint).state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key].float(), value) for key, value in expected.items())


def test_counters_stay_whole_numbers(published, tmp_path):
    converted = convert(published, tmp_path / "m3ddm.safetensors", torch.bfloat16)
    for path in (published, converted):
        kinds = {
            key: value.dtype
            for key, value in load_network(open_checkpoint(path), place=Place(dtype=torch.float16)).state_dict().items()
        }
        assert {dtype for key, dtype in kinds.items() if key.endswith("num_batches_tracked")} == {torch.int64}
        assert {dtype for key, dtype in kinds.items() if not key.endswith("num_batches_tracked")} == {torch.float16}


def test_description_names_no_layout(published):
    text = describe(published)
    assert "architecture  m3ddm" in text
    assert "layout" not in text and "rre" not in text


def test_the_published_sizes_need_no_config(published, tmp_path):
    weights = tmp_path / "alone.bin"
    weights.write_bytes((published / "diffusion_pytorch_model.bin").read_bytes())
    # 32 groups, the published number, do not divide 16 channels.
    with pytest.raises(CheckpointError, match="do not divide into 32 norm groups; keep the published config.json"):
        open_checkpoint(weights)


STRANGE = [{"attention_head_dim": value} for value in ("many", [2, 2], 2.0, True, None)]
STRANGE += [{"norm_eps": "small"}, {"norm_eps": float("nan")}, {"norm_num_groups": {}}]
UNREADABLE = [
    "{",
    "[]",
    "3",
    '"text"',
    "[" * 100_000 + "]" * 100_000,
    *(json.dumps({"norm_num_groups": 8} | one) for one in STRANGE),
]


@pytest.mark.parametrize("content", UNREADABLE, ids=lambda text: text[:40])
def test_a_damaged_config_is_refused(published, tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    weights = tmp_path / "diffusion_pytorch_model.bin"
    weights.write_bytes((published / weights.name).read_bytes())
    with pytest.raises(CheckpointError, match="config.json"):
        open_checkpoint(tmp_path)


def test_incomplete_weights_are_refused(published, tmp_path):
    tensors = torch.load(published / "diffusion_pytorch_model.bin", weights_only=True)
    del tensors["mid_block.resnets.0.conv1.temporal_conv.weight"]
    torch.save(tensors, tmp_path / "diffusion_pytorch_model.bin")
    (tmp_path / "config.json").write_text((published / "config.json").read_text())
    with pytest.raises(CheckpointError, match="incomplete"):
        load_network(open_checkpoint(tmp_path))


def test_it_has_no_layout_encoder(published):
    checkpoint = open_checkpoint(published)
    assert not checkpoint.parts
    with pytest.raises(CheckpointError, match="is a checkpoint of M3DDM, but Follow-Your-Canvas is needed"):
        require_system(checkpoint, FOLLOW_YOUR_CANVAS)
    require_system(checkpoint, M3DDM)


def test_a_convention_of_regions_means_nothing_to_it(published, tmp_path):
    with pytest.raises(ConditioningError, match="--rre means nothing to M3DDM; leave it out"):
        convert(published, tmp_path / "m3ddm.safetensors", record={"rre": "official"})
    assert not list(tmp_path.iterdir())


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="there is no file"):
        open_checkpoint(tmp_path)
