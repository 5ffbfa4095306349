"""The model that ships with the pack: its files, and clips of odd size outpainted with nothing but the pack."""

import json
import sys
import time
from fractions import Fraction

import pytest
import torch
from safetensors import safe_open

from canvas_core.cli import main
from canvas_core.cli.request import DEMO_CLIP
from canvas_core.media.video import read_clip, write_clip
from canvas_core.networks.autoencoder import decode, encode, load_autoencoder
from canvas_core.plan.boxes import Size
from canvas_core.plan.canvas import Pads, canvas_of_aspect, canvas_of_pads, canvas_of_size
from canvas_core.systems import built_in
from canvas_core.systems.checkpoint import open_checkpoint
from canvas_core.systems.follow_your_canvas.sam import load_sam
from canvas_core.systems.presets import DEFAULT
from canvas_core.systems.system import load_network
from canvas_core.training.block_transform import read_blocks
from canvas_core.training.recipe import _read_encoder, read_configuration

FILES = (built_in.MODEL, built_in.SAM, built_in.VAE)
MIB = 2**20
SIZE = Size(47, 61)

pytestmark = pytest.mark.skipif(
    not all(path.is_file() for path in FILES), reason="the built-in model's files are not there"
)


def metadata(path):
    with safe_open(path, "pt") as file:
        return file.metadata()


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A picture that passes by, frames of odd size."""
    y, x = torch.meshgrid(torch.arange(SIZE.h), torch.arange(SIZE.w + 20), indexing="ij")
    picture = torch.stack([torch.sin(x / 5 + y / 9), torch.cos(y / 4), torch.sin(x / 3) * torch.cos(y / 7)], dim=-1)
    noise = torch.rand(picture.shape, generator=torch.Generator().manual_seed(0))
    levels = ((picture * 0.3 + 0.4 + 0.2 * noise) * 255).round().to(torch.uint8)
    frames = torch.stack([levels[:, 3 * t : 3 * t + SIZE.w] for t in range(5)])
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mkv", frames, Fraction(25))


@pytest.fixture
def run(capsys, clip, tmp_path):
    """Outpaint the clip: (exit code, last line of standard error, the result's path)."""

    def call(*words):
        output = tmp_path / "result.mkv"
        code = main(["outpaint", str(clip), "--output", str(output), "--device", "cpu", *map(str, words)])
        return code, capsys.readouterr().err.splitlines()[-1], output

    return call


def test_the_files_are_small_enough_to_ship():
    sizes = [path.stat().st_size for path in FILES]
    assert max(sizes) <= 15 * MIB and sum(sizes) <= 40 * MIB


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_files_say_what_they_are(path):
    found = metadata(path)
    assert found["modelspec.license"] == "Apache-2.0"
    assert (built_in.FOLDER.parent / found["canvas.recipe"]).is_file()
    assert json.loads(found["canvas.training"])["steps"] > 0 and found["canvas.data"] != "unknown"


def test_the_model_carries_config_and_presets():
    found = metadata(built_in.MODEL)
    assert found["canvas.rre"] == "centre_px"
    assert json.loads(found["canvas.config"])["prediction"] == "x0"
    assert DEFAULT in json.loads(found["canvas.presets"])


def test_the_model_is_what_its_recipe_says():
    recipe = read_configuration(built_in.FOLDER.parent / metadata(built_in.MODEL)["canvas.recipe"])
    config = open_checkpoint(built_in.MODEL).config
    wanted = {name: tuple(v) if isinstance(v, list) else v for name, v in recipe["unet"].items()}
    assert {name: getattr(config, name) for name in wanted} == wanted
    assert json.loads(metadata(built_in.MODEL)["canvas.presets"]) == recipe["about"]["presets"]


@torch.inference_mode()
def test_the_networks_fit_each_other():
    checkpoint = open_checkpoint(built_in.MODEL)
    unet, layout, sam = load_network(checkpoint), load_network(checkpoint, "layout"), load_sam(built_in.SAM)
    assert unet.config.reads_text is False and layout.config.output == unet.config.layout_width
    assert sam(torch.zeros(1, 3, sam.img_size, sam.img_size)).shape[1] == layout.config.features
    vae, frames = load_autoencoder(built_in.VAE), torch.full((1, 24, 40, 3), 0.6)
    latents = encode(vae, frames, torch.zeros(1, unet.config.out_channels, 3, 5))
    assert (decode(vae, latents) - frames).abs().max() < 0.1
    kernel = read_blocks(_read_encoder(built_in.VAE))
    assert torch.allclose(latents[0, :, 1, 2], 0.1 * kernel.sum((1, 2, 3)), atol=0.02)


CANVASES = {
    "aspect": (["--aspect", "16:9"], canvas_of_aspect(SIZE, "16:9")),
    "pads": (["--pad", "5,0,12,9"], canvas_of_pads(SIZE, Pads(5, 0, 12, 9))),
    "corner": (["--size", "90x62", "--anchor", "top left"], canvas_of_size(SIZE, Size(62, 90), "top left")),
}


@pytest.mark.parametrize(("words", "canvas"), CANVASES.values(), ids=CANVASES)
def test_a_clip_gets_its_size_and_keeps_its_pixels(run, clip, words, canvas):
    began = time.monotonic()
    code, _, output = run(*words, "--feather", "0")
    result, box = read_clip(output).frames, canvas.source
    assert code == 0 and time.monotonic() - began < 60
    assert result.shape == (5, *canvas.trim.size, 3)
    assert torch.equal(result[:, box.y : box.bottom, box.x : box.right], read_clip(clip).frames)
    hidden = torch.ones(result.shape[1:3], dtype=torch.bool)
    hidden[box.y : box.bottom, box.x : box.right] = False
    assert result[:, hidden].float().std() > 1


def test_a_single_frame_works_with_every_preset(run, clip):
    for preset in open_checkpoint(built_in.MODEL).presets:
        code, _, output = run("--pad", "3,8,0,1", "--frames", "1", "--feather", "0", "--preset", preset)
        result = read_clip(output).frames
        assert code == 0 and result.shape == (1, 56, 64, 3)
        assert torch.equal(result[:, 8:55, 3:64], read_clip(clip, 1).frames)


def test_the_seed_decides(run):
    results = []
    for seed in (1, 1, 2):
        output = run("--pad", "16,0,0,0", "--frames", "2", "--steps", "4", "--seed", seed)[2]
        results.append(read_clip(output).frames)
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])


REFUSED = {
    "prompt": (["--prompt", "a cat"], "this model reads no prompt; leave --prompt and --negative out"),
    "negative": (["--negative", "text"], "this model reads no prompt"),
    "preset": (["--preset", "fast"], "the model has no preset 'fast'; choose one of default"),
    "strength": (["--strength", "0"], "the strength is 0.0, but must be above 0"),
}


@pytest.mark.parametrize(("words", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_work_is_refused(run, words, message):
    code, line, output = run("--pad", "8,0,0,0", *words)
    assert code == 2 and message in line and not output.exists()


@pytest.mark.parametrize("name", ["MODEL", "SAM", "VAE"])
def test_a_pack_without_its_models_says_so(run, monkeypatch, tmp_path, name):
    monkeypatch.setattr(built_in, name, tmp_path / "models" / "missing.safetensors")
    code, line, output = run("--pad", "8,0,0,0")
    assert code == 2 and not output.exists()
    assert "the built-in model's missing.safetensors is not in" in line and "give --model, --sam and --vae" in line


def test_a_vae_of_another_model_is_refused(run, models):
    code, line, _ = run("--pad", "8,0,0,0", "--vae", models.base / "vae")
    assert code == 2 and "use the VAE it was trained with" in line


def test_another_model_needs_files_of_its_own(run, models):
    words = ["--pad", "8,0,0,0", "--model", models.model, "--base", models.base]
    assert "give sam_vit_b_01ec64.pth with --sam" in run(*words)[1]


@pytest.fixture
def small_demo(monkeypatch, tmp_path):
    """The demo's two clips, small enough to take a second: (arguments, truth)."""
    truth = torch.randint(0, 256, (3, 90, 160, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    write_clip(tmp_path / "truth.mp4", truth, Fraction(25))
    write_clip(tmp_path / "clip.mp4", truth[:, :, 50:110], Fraction(25))
    monkeypatch.setattr("canvas_core.cli.request.DEMO_CLIP", tmp_path / "clip.mp4")
    return ["demo", "--output", str(tmp_path / "out"), "--steps", "1", "--device", "cpu"], tmp_path / "truth.mp4"


def test_the_demo_shows_a_clip_beside_the_truth(small_demo, capsys, tmp_path):
    assert main(small_demo[0]) == 0
    out = capsys.readouterr().out
    assert "no model (cone)" in out and "3 frames of 160x90" in out
    assert read_clip(tmp_path / "out" / "demo.mp4").frames.shape == (3, 90, 160, 3)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"demo.mp4", "demo.png"}


def test_the_demo_leaves_out_memory_that_the_system_does_not_tell(small_demo, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "resource", None)
    assert main(small_demo[0]) == 0
    assert "GB of memory" not in capsys.readouterr().out


def test_the_demo_refuses_another_length_than_the_truth(small_demo, capsys):
    words, truth = small_demo
    write_clip(truth, read_clip(truth, 2).frames, Fraction(25))
    assert main(words) == 2
    assert "the demo is [3, 90, 160, 3], but the true clip [2, 90, 160, 3]" in capsys.readouterr().err


def test_the_evaluation_loads_the_built_in_model_and_needs_longer_clips(capsys, clip, tmp_path):
    assert main(["evaluate", str(clip), "--output", str(tmp_path / "out"), "--device", "cpu"]) == 2
    assert "clip.mkv has 5 frames, but the evaluation needs 16" in capsys.readouterr().err
    assert main(["evaluate", str(clip), "--presets", "fast", "--output", str(tmp_path / "out")]) == 2
    assert "the model has no preset 'fast'" in capsys.readouterr().err


def test_the_bundled_clips_belong_together():
    source, truth = (read_clip(DEMO_CLIP.with_name(name)).frames for name in ("clip.mp4", "truth.mp4"))
    canvas = canvas_of_aspect(Size(*source.shape[1:3]), "16:9")
    assert truth.shape == (len(source), *canvas.trim.size, 3)
    box = canvas.source
    shared = truth[:, box.y : box.bottom, box.x : box.right]
    assert (shared.float() - source.float()).abs().mean() < 8


def test_the_quick_start_runs_the_default_preset():
    graph = json.loads((built_in.FOLDER.parent / "workflows" / "api" / "quick_start.json").read_text())
    inputs = {name: value for node in graph.values() for name, value in node["inputs"].items()}
    preset = open_checkpoint(built_in.MODEL).presets["default"]
    assert [node["inputs"]["how"] for node in graph.values() if node["class_type"] == "CanvasFill"] == [preset.fill]
    shown = {"steps": "steps", "cfg": "cfg", "denoise": "strength", "propagate": "propagate", "match": "match"}
    shown |= {"texture": "texture", "refine": "refine"}
    shown |= {"feather": "feather", "window": "window", "overlap": "overlap", "frame_overlap": "frame_overlap"}
    assert {name: inputs[name] for name in shown} == {name: getattr(preset, field) for name, field in shown.items()}
