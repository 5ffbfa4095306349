"""A new system is a folder and a line: a toy is added to a copy of the project, and outpaints by the command line."""

import os
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import house
import pytest
import torch
from safetensors.torch import load_file, save_file

from canvas_core.media.video import read_clip, write_clip
from canvas_core.networks.autoencoder import decode, load_autoencoder
from canvas_core.pixels.eight_bit import to_levels

ROOT = Path(__file__).parents[2]
TOY = ROOT / "tests" / "support" / "zeros_system"
FRAMES, H, W = 21, 48, 64
IMPORT, LIST = "from .system import System\n", "SYSTEMS = ("


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of canvas_core with the toy's folder and its line in the catalogue."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "canvas_core", root / "canvas_core", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(TOY, root / "canvas_core" / "systems" / "zeros", ignore=shutil.ignore_patterns("__pycache__"))
    catalogue = root / "canvas_core" / "systems" / "catalogue.py"
    text = catalogue.read_text(encoding="utf-8")
    assert IMPORT in text and LIST in text
    catalogue.write_text(
        text.replace(IMPORT, IMPORT + "from .zeros.files import ZEROS\n").replace(LIST, f"{LIST}ZEROS, ")
    )
    return root


@pytest.fixture(scope="module")
def run(project):
    """The command line of the copy: (exit code, standard output, last line of standard error)."""

    def call(*words):
        env = {**os.environ, "PYTHONPATH": str(project), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-P", "-m", "canvas_core", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=project)
        return done.returncode, done.stdout, (done.stderr.strip().splitlines() or [""])[-1]

    return call


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zeros")
    save_file({"zeros_scale": torch.ones(1)}, folder / "zeros.safetensors")
    draw = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (FRAMES, H, W, 3), dtype=torch.uint8, generator=draw)
    write_clip(folder / "source.mkv", frames, Fraction(12))
    return folder


@pytest.mark.parametrize("words", [[], ["--levels", "5,1", "--level", "0.5", "--clip", "7"]], ids=["plain", "options"])
def test_the_engine_runs_a_system_it_has_never_seen(run, files, models, tmp_path, words):
    output = tmp_path / "result.mkv"
    model = ["--model", files / "zeros.safetensors", "--base", models.base]
    canvas = ["--size", "104x72", "--feather", "0"]
    assert run("outpaint", files / "source.mkv", "--output", output, *model, *canvas, *words)[0] == 0
    level = 0.5 if words else 0.0
    expected = to_levels(decode(load_autoencoder(models.base / "vae"), torch.full((1, 4, 9, 13), level)))
    expected = expected.repeat(FRAMES, 1, 1, 1)
    expected[:, 12 : 12 + H, 20 : 20 + W] = read_clip(files / "source.mkv").frames
    assert torch.equal(read_clip(output).frames, expected)


def test_its_settings_are_options_and_others_are_refused(run, files, tmp_path):
    code, out, _ = run("outpaint", "--help")
    assert (
        code == 0 and "--level LEVEL" in out and "Zeros: latent that is predicted everywhere" in " ".join(out.split())
    )
    words = ["--output", tmp_path / "r.mkv", "--size", "104x72", "--model", files / "zeros.safetensors"]
    code, _, told = run("outpaint", files / "source.mkv", *words, "--context-scale", "2")
    assert code == 2 and told == "canvas-outpaint: --context-scale means nothing to Zeros; leave it out"


def test_its_files_are_described_and_converted(run, files, tmp_path):
    code, out, _ = run("inspect", files / "zeros.safetensors")
    assert code == 0 and "architecture  zeros\n" in out
    assert run("convert", files / "zeros.safetensors", tmp_path / "half.safetensors", "--dtype", "float16")[0] == 0
    assert load_file(tmp_path / "half.safetensors")["zeros_scale"].dtype == torch.float16


def test_the_rules_of_the_house_hold_for_it(project, monkeypatch):
    monkeypatch.setattr(house, "ROOT", project)
    monkeypatch.setattr(house, "SYSTEMS", [*house.SYSTEMS, "zeros"])
    paths = sorted((project / "canvas_core").rglob("*.py"))
    assert not [
        told for path in paths for rule in (house.upward, house.cycles, house.named_systems) for told in rule(path)
    ]


BAD = {
    "upwards": ("model.py", "from ...engine import outpaint\n", "imports canvas_core.engine"),
    "upwards, lazily": ("model.py", "def f():\n    from ...cli import main\n", "imports canvas_core.cli"),
    "another system": ("model.py", "from ..m3ddm.plan import clip_rate\n", "imports canvas_core.systems.m3ddm.plan"),
    "each other": ("settings.py", "from .files import ZEROS\n", "import each other"),
    "outside": ("../../engine.py", "from .systems.zeros.files import ZEROS\n", "only the catalogue may name zeros"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_breaks_a_rule_is_told_in_a_sentence(project, tmp_path, monkeypatch, name):
    file, line, message = BAD[name]
    shutil.copytree(project / "canvas_core", tmp_path / "canvas_core")
    path = (tmp_path / "canvas_core" / "systems" / "zeros" / file).resolve()
    path.write_text(path.read_text(encoding="utf-8") + line)
    monkeypatch.setattr(house, "ROOT", tmp_path)
    monkeypatch.setattr(house, "SYSTEMS", [*house.SYSTEMS, "zeros"])
    told = [*house.upward(path), *house.cycles(path), *house.named_systems(path)]
    assert any(message in sentence and ": " in sentence for sentence in told), told
