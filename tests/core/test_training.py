"""Training in legs: the same bits however often it stops, states that are whole or not there, and everything refused."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_training as tiny
import torch
from comfy_home import PACK
from safetensors import safe_open

from canvas_core.cli import main
from canvas_core.errors import TrainingError
from canvas_core.systems.checkpoint import open_checkpoint
from canvas_core.systems.follow_your_canvas.sam import load_sam
from canvas_core.systems.follow_your_canvas.settings import Settings
from canvas_core.systems.system import load_network
from canvas_core.training.loop import Average, Schedule
from canvas_core.training.recipe import read_configuration, read_recipe, read_settings
from canvas_core.training.release import LARGEST, write_release
from canvas_core.training.state import KEPT, load_state, newest_state, save_state

MIB = 2**20


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """A folder with pictures and autoencoder."""
    return tiny.prepare(tmp_path_factory.mktemp("material"))


@pytest.fixture(scope="module")
def straight(material):
    """A training in one go."""
    return finished(tiny.trainer(material / "straight", tiny.recipe(material)))


@pytest.fixture
def stopped(material, tmp_path):
    """The recipe of a training that stopped after one step, and its folder."""
    data = tiny.recipe(material)
    tiny.trainer(tmp_path / "run", data).run(0, quietly)
    return data, tmp_path / "run"


def quietly(line):
    """Report nothing."""


def finished(trainer):
    assert trainer.run(report=quietly)
    return trainer


def losses(folder):
    """Step to loss, as logged last."""
    with (folder / "log.csv").open() as file:
        return {row["step"]: row["loss"] for row in csv.DictReader(file)}


def assert_same_training(one, other):
    """Weights, average, optimiser moments and losses, bit by bit."""
    states = [load_state(newest_state(trainer.folder / "state")) for trainer in (one, other)]
    (tensors, facts), (others, other_facts) = states
    assert facts == other_facts and tensors.keys() == others.keys()
    assert [name for name in tensors if not torch.equal(tensors[name], others[name])] == []
    assert losses(one.folder) == losses(other.folder)


def test_a_training_in_legs_is_the_same(material, straight, tmp_path):
    data = tiny.recipe(material)
    for step in range(3):
        leg = tiny.trainer(tmp_path, data)
        assert leg.step == step and not leg.run(0, quietly)
    assert_same_training(finished(tiny.trainer(tmp_path, data)), straight)


def test_a_training_stops_where_asked_and_another_recipe_goes_on(material, tmp_path):
    data = tiny.recipe(material)
    first = tiny.trainer(tmp_path, data)
    assert not first.run(report=quietly, until=2) and first.step == 2
    assert not first.run(report=quietly, until=2) and first.step == 2
    second = finished(tiny.trainer(tmp_path, tiny.recipe(material, loss={"terminal": 1.0})))
    assert second.step == tiny.STEPS and second.task.settings.terminal == 1


def test_a_recipe_may_extend_another(material, tmp_path):
    tiny.write_recipe(tmp_path / "base.json", tiny.recipe(material))
    changes = {"extends": "base.json", "loss": {"terminal": 0.9}, "unet": {"heads": [2, 2]}}
    read = read_recipe(tiny.write_recipe(tmp_path / "other.json", changes))
    base = read_recipe(tmp_path / "base.json")
    assert read.schedule == base.schedule and read.task.settings.terminal == 0.9
    assert read.task.config == replace(base.task.config, heads=(2, 2))
    for name in ("other.json", "third.json"):
        tiny.write_recipe(tmp_path / "third.json", {"extends": name})
        tiny.write_recipe(tmp_path / "other.json", {"extends": "third.json"})
        assert_refused(lambda: read_recipe(tmp_path / "other.json"), "extends itself")


KILLED_AT = 5
SCRIPT = f"""
import os, signal, sys
from pathlib import Path
from canvas_core.training.loop import Trainer
from canvas_core.training.recipe import read_recipe
recipe, folder = read_recipe(Path(sys.argv[1])), Path(sys.argv[2])
def report(line):
    if line.startswith("step {KILLED_AT} "):
        os.kill(os.getpid(), signal.SIGKILL)
Trainer(recipe.task, recipe.schedule, folder, recipe.seed).run(report=report)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_process_goes_on_from_the_newest_state(material, straight, tmp_path):
    data = tiny.recipe(material)
    path = tiny.write_recipe(tmp_path / "recipe.json", data)
    call = [sys.executable, "-P", "-c", SCRIPT, path, tmp_path / "run"]
    alone = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PACK)}
    assert subprocess.run(call, env=alone, timeout=300, check=False).returncode == -signal.SIGKILL
    goes_on = tiny.trainer(tmp_path / "run", data)
    assert goes_on.step == KILLED_AT - 1
    assert_same_training(finished(goes_on), straight)


def test_batches_of_a_worker_process_are_the_same(material, straight, tmp_path):
    """Also after the parent has used OpenCV's threads, as measuring the fill does."""
    data = tiny.recipe(material, schedule={"workers": 1})
    path = tiny.write_recipe(tmp_path / "recipe.json", data)
    call = [sys.executable, "-P", "-m", "canvas_core", "train", path, "--output", tmp_path / "run"]
    alone = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PACK)}
    subprocess.run(call, env=alone, timeout=300, check=True, stdout=subprocess.DEVNULL)
    assert_same_training(tiny.trainer(tmp_path / "run", data), straight)


def test_the_log_says_every_step_once(material, tmp_path):
    """The rows after the last state are written again when a training goes on from it."""
    data = tiny.recipe(material)
    finished(tiny.trainer(tmp_path, data))
    shutil.rmtree(newest_state(tmp_path / "state"))
    finished(tiny.trainer(tmp_path, data))
    rows = (tmp_path / "log.csv").read_text().splitlines()
    assert [int(row.split(",")[0]) for row in rows[1:]] == list(range(1, tiny.STEPS + 1))


def test_half_a_state_is_ignored_and_the_newest_are_kept(material, tmp_path):
    data = tiny.recipe(material, schedule={"save_every": 1})
    finished(tiny.trainer(tmp_path, data))
    states = sorted(path.name for path in (tmp_path / "state").iterdir())
    assert states == [f"step-{step:08d}" for step in range(tiny.STEPS - KEPT + 1, tiny.STEPS + 1)]
    half = tmp_path / "state" / f"writing-{tiny.STEPS + 1:08d}"
    half.mkdir()
    (half / "000.safetensors").write_bytes(b"half a shard")
    assert tiny.trainer(tmp_path, data).step == tiny.STEPS
    save_state(tmp_path / "state", tiny.STEPS + 1, {"a": torch.ones(3)}, {})
    assert load_state(newest_state(tmp_path / "state"))[1]["step"] == tiny.STEPS + 1 and not half.exists()


def test_a_finished_training_does_no_more(straight):
    again = tiny.trainer(straight.folder, json.loads((straight.folder / "recipe.json").read_text()))
    before = (straight.folder / "log.csv").read_text()
    assert finished(again).step == tiny.STEPS
    assert (straight.folder / "log.csv").read_text() == before


def test_shards_are_small_and_nothing_is_lost(tmp_path):
    draw = torch.Generator().manual_seed(0)
    tensors = {f"part {i}": torch.randn(MIB, 3 - i % 2, generator=draw) for i in range(4)} | {"step": torch.tensor(7.0)}
    state = save_state(tmp_path, 3, tensors, {"seed": 5})
    sizes = [path.stat().st_size for path in state.glob("*.safetensors")]
    assert len(sizes) > 2 and max(sizes) <= 15 * MIB
    found, facts = load_state(state)
    assert found.keys() == tensors.keys() and all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert (facts["step"], facts["seed"]) == (3, 5)


def test_a_tensor_larger_than_a_shard_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="the tensor wide takes 15 MiB, but a shard holds 14"):
        save_state(tmp_path, 3, {"wide": torch.zeros(15 * MIB // 4)}, {})
    assert newest_state(tmp_path) is None


def assert_refused(call, message):
    """One line that matches."""
    with pytest.raises(TrainingError, match=message) as caught:
        call()
    assert len(str(caught.value).splitlines()) == 1


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


DAMAGE = {
    "a shard cut short": lambda state: cut(state / "000.safetensors"),
    "a shard that is missing": lambda state: max(state.glob("*.safetensors")).unlink(),
    "no facts": lambda state: (state / "facts.json").unlink(),
    "strange facts": lambda state: (state / "facts.json").write_text("{"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_state_is_refused(stopped, damage):
    data, folder = stopped
    damage(newest_state(folder / "state"))
    assert_refused(lambda: tiny.trainer(folder, data), "step-00000001 cannot be read .*; delete it to go on")


OTHERS = {
    "seed": ({"seed": 4}, "was trained with seed 3, but the configuration says 4"),
    "width": ({"layout": {"tokens": 5}}, "does not fit the configuration .*; use another folder"),
    "depth": ({"unet": {"layers_per_block": 2}}, "does not fit the configuration .*; use another folder"),
}


@pytest.mark.parametrize(("changes", "message"), OTHERS.values(), ids=OTHERS)
def test_the_state_of_another_training_is_refused(stopped, material, changes, message):
    assert_refused(lambda: tiny.trainer(stopped[1], tiny.recipe(material, **changes)), message)


WRONG = {
    "kind": ({"kind": "gan"}, "has no 'kind'; it must be one of autoencoder, canvas"),
    "name": ({"schedule": {"step": 3}}, "names step, but Schedule knows steps, learning_rate"),
    "inner name": ({"samples": {"masks": {"swing": 1}}}, "names swing, but MaskSettings knows edges"),
    "name in a list": ({"samples": {"shapes": [{"side": 8}]}}, "names side, but BatchShape knows frames"),
    "pictures": ({"pictures": "nowhere"}, "there is no folder nowhere with pictures"),
    "videos": ({"videos": "nowhere"}, "there is no folder nowhere with videos"),
    "autoencoder": ({"autoencoder": "nowhere"}, "there is no autoencoder at nowhere"),
}


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_recipe_is_refused(material, tmp_path, changes, message):
    path = tiny.write_recipe(tmp_path / "recipe.json", tiny.recipe(material, **changes))
    assert_refused(lambda: read_recipe(path), message)


MISTYPED = {
    "text": ({"schedule": {"steps": "many"}}, "says steps 'many', but it must be of type int"),
    "truth": ({"schedule": {"steps": True}}, "says steps True, but it must be of type int"),
    "number": ({"unet": {"prediction": 1}}, "says prediction 1, but it must be of type str"),
    "list": ({"unet": {"heads": 2}}, "says heads 2, but it must be a list"),
    "item": ({"unet": {"heads": [1, "two"]}}, "says heads 'two', but it must be of type int"),
    "object": ({"samples": {"masks": [1]}}, r"says masks \[1\], but it must be an object"),
}


@pytest.mark.parametrize(("changes", "message"), MISTYPED.values(), ids=MISTYPED)
def test_a_value_of_another_type_is_refused(material, tmp_path, changes, message):
    path = tiny.write_recipe(tmp_path / "recipe.json", tiny.recipe(material, **changes))
    assert_refused(lambda: read_recipe(path), message)


@pytest.mark.parametrize("name", ["seed", "pictures", "autoencoder", "unet", "schedule", "loss"])
def test_a_recipe_without_a_part_is_refused(material, tmp_path, name):
    data = tiny.recipe(material)
    del data[name]
    assert_refused(lambda: read_recipe(tiny.write_recipe(tmp_path / "recipe.json", data)), f"lacks '{name}'")


@pytest.mark.parametrize(("kind", "data", "name"), [(Schedule, {"workers": 0}, "steps")])
def test_settings_without_a_needed_number_are_refused(kind, data, name):
    assert_refused(lambda: read_settings(kind, data), f"{kind.__name__} is not complete: .*'{name}'")


@pytest.mark.parametrize("content", [None, "{", "[]", "3"])
def test_a_file_that_is_no_recipe_is_refused(tmp_path, content):
    path = tmp_path / "recipe.json"
    if content:
        path.write_text(content)
    assert_refused(lambda: read_recipe(path), "cannot be read .* give a JSON file|has no 'kind'")


def test_an_unreadable_picture_is_refused(tmp_path):
    (tiny.prepare(tmp_path) / "pictures" / "1.png").write_text("no picture")
    path = tiny.write_recipe(tmp_path / "recipe.json", tiny.recipe(tmp_path))
    assert_refused(lambda: read_recipe(path), r"1\.png cannot be read; delete it")


def test_a_loss_that_is_no_number_is_refused_and_not_saved(material, tmp_path):
    data = tiny.recipe(material, schedule={"learning_rate": 1e30, "warm_up": 0, "save_every": 1})
    trainer = tiny.trainer(tmp_path, data)
    assert_refused(lambda: trainer.run(report=quietly), r"the loss at step \d is (nan|inf); .* lower learning_rate")
    assert newest_state(tmp_path / "state").name == f"step-{trainer.step:08d}"


def test_the_seed_decides_the_first_weights(material, tmp_path):
    def weights(seed):
        torch.rand(seed)  # what was drawn before does not count
        path = tiny.write_recipe(tmp_path / "recipe.json", tiny.recipe(material, seed=seed))
        return read_recipe(path).task.networks.state_dict()["unet.conv_in.weight"]

    assert torch.equal(weights(3), weights(3)) and not torch.equal(weights(3), weights(4))


def test_the_rate_rises_and_falls():
    schedule = Schedule(steps=50, learning_rate=0.1, warm_up=7, final_rate=0.2)
    rates = [schedule.rate(step) for step in range(51)]
    assert rates[:7] == pytest.approx([0.1 * (step + 1) / 7 for step in range(7)])
    assert max(rates) == rates[6] == rates[7] == 0.1 and rates[-1] == pytest.approx(0.02)
    assert all(one > other for one, other in zip(rates[7:], rates[8:], strict=False))
    assert rates[7] + rates[50] == pytest.approx(rates[20] + rates[37])  # a cosine is symmetric around its middle


def test_the_average_follows_young_and_lags_old():
    layer = torch.nn.Linear(3, 2)
    average, expected = Average(layer, 0.9), layer.weight.detach().clone()
    for step in range(300):
        with torch.no_grad():
            layer.weight.add_(1 / (step + 1))
        average.update(layer, step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * layer.weight.detach()
        assert torch.allclose(average.tensors["weight"], expected, atol=1e-5)


@torch.inference_mode()
def test_the_exported_files_are_the_averaged_networks(straight):
    averaged, config = straight.averaged(), straight.task.config
    checkpoint = open_checkpoint(straight.folder / "canvas.safetensors")
    assert (checkpoint.config, checkpoint.presets["default"].rre) == (config, "centre_px")
    assert checkpoint.presets == {"default": Settings(steps=2, cfg=1.0), "draft": Settings(steps=1)}
    layout = load_network(checkpoint, "layout")
    assert layout.config == averaged.layout_encoder.config
    batch, draw = straight.task.dataset[0], torch.Generator().manual_seed(0)
    x = torch.cat([torch.randn(batch["latents"].shape, generator=draw), batch["mask"], batch["latents"]], dim=1)
    time = torch.full((len(batch["fps"]),), 700)
    expected = averaged(x, time, batch)
    averaged.unet, averaged.layout_encoder = load_network(checkpoint), layout
    averaged.sam = load_sam(straight.folder / "sam.safetensors")
    assert (averaged(x, time, batch) - expected).abs().max() < 0.01 * expected.std()


def test_exported_files_say_what_they_are(straight):
    for name in ("canvas", "sam"):
        with safe_open(straight.folder / f"{name}.safetensors", "pt") as file:
            metadata = file.metadata()
            assert {file.get_slice(key).get_dtype() for key in file.keys()} == {"F16"}  # noqa: SIM118 - not a dict
        assert (metadata["modelspec.title"], metadata["modelspec.license"]) == ("Tiny", "CC0-1.0")
        assert (metadata["canvas.recipe"], metadata["canvas.data"]) == ("tiny.json", "noise")
        assert json.loads(metadata["canvas.training"]) == {"steps": tiny.STEPS, "seed": 3}


def test_a_release_that_is_too_large_is_refused(tmp_path):
    tensors = {"wide": torch.zeros(LARGEST // 2 + 1)}
    assert_refused(lambda: write_release(tmp_path / "wide.safetensors", tensors, {}), "would take 15.0 MiB")
    assert not list(tmp_path.iterdir())


def test_the_command_line_trains_and_goes_on(material, tmp_path, capsys):
    data = tiny.recipe(material, tiny.AUTOENCODER)
    words = ["train", str(tiny.write_recipe(tmp_path / "recipe.json", data)), "--output", str(tmp_path / "run")]
    assert main([*words, "--minutes", "0"]) == 0
    assert capsys.readouterr().out.endswith("stopped at step 1; the same command goes on\n")
    assert main(words) == 0
    assert capsys.readouterr().out.endswith("training is complete\n")
    assert (tmp_path / "run" / "autoencoder.safetensors").is_file()


def test_the_command_line_refuses_in_one_line(tmp_path, capsys):
    assert main(["train", str(tmp_path / "missing.json"), "--output", str(tmp_path / "run")]) == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 1 and "missing.json cannot be read" in err[0]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", sorted((PACK / "recipes").glob("*.json")), ids=lambda path: path.stem)
def test_shipped_recipes_name_what_is_there(path):
    data = read_configuration(path)
    assert (PACK / data["about"]["recipe"]) == path and data["about"]["licence"] == "Apache-2.0"
    assert all(Settings(**settings) for settings in data["about"].get("presets", {}).values())
    assert (PACK / Path(data["autoencoder"])).is_file() if data["kind"] == "canvas" else "autoencoder" in data
    assert read_settings(Schedule, data["schedule"]).steps >= 1000
