"""`outpaint --levels` from end to end with tiny networks, M3DDM by the command line, and what both refuse."""

import re
from fractions import Fraction

import cv2
import numpy as np
import pytest
import tiny
import torch

from canvas_core.cli import main
from canvas_core.drawing.keyframes import draw_levels
from canvas_core.drawing.rounds import BAR
from canvas_core.media.video import read_clip, write_clip
from canvas_core.plan.keyframes import plan_levels
from canvas_core.systems.catalogue import M3DDM

RATE = Fraction(30000, 1001)
FRAMES = 7
SIZE = ["--size", "96x80", "--window", "64", "--overlap", "16", "--steps", "2", "--feather", "2"]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    draw = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (FRAMES, 64, 64, 3), dtype=torch.uint8, generator=draw)
    return write_clip(tmp_path_factory.mktemp("source") / "source.mkv", frames, RATE)


@pytest.fixture(scope="module")
def m3ddm(tmp_path_factory):
    return tiny.write_m3ddm(tmp_path_factory.mktemp("m3ddm") / "M3DDM")


def canvas_model(models):
    return ["--model", models.model, "--base", models.base, "--sam", models.sam]


def run(source, output, *words):
    return main([str(word) for word in ("outpaint", source, "--output", output, *SIZE, *words)])


def inside(path, feather=2):
    """The part of the result that must be the source."""
    return read_clip(path).frames[:, 8 + feather : 72 - feather, 16 + feather : 80 - feather]


def known(source, feather=2):
    return read_clip(source).frames[:, feather : 64 - feather, feather : 64 - feather]


def is_outpainted(path, source):
    clip = read_clip(path)
    return clip.frames.shape == (FRAMES, 80, 96, 3) and clip.rate == RATE and torch.equal(inside(path), known(source))


@pytest.mark.parametrize("levels", ["3,1", "m3ddm", "globalpaint", "1"])
def test_levels_keep_size_length_rate_and_source(tmp_path, models, source, levels):
    result = tmp_path / "result.mkv"
    assert run(source, result, *canvas_model(models), "--levels", levels, "--clip", "4") == 0
    assert is_outpainted(result, source)
    assert list(tmp_path.iterdir()) == [result]


def test_one_level_of_one_clip_is_the_plain_command(tmp_path, models, source):
    assert run(source, tmp_path / "plain.mkv", *canvas_model(models)) == 0
    assert run(source, tmp_path / "level.mkv", *canvas_model(models), "--levels", "1") == 0
    assert torch.equal(read_clip(tmp_path / "plain.mkv").frames, read_clip(tmp_path / "level.mkv").frames)
    assert run(source, tmp_path / "two.mkv", *canvas_model(models), "--levels", "3,1") == 0
    assert not torch.equal(read_clip(tmp_path / "plain.mkv").frames, read_clip(tmp_path / "two.mkv").frames)


@pytest.mark.parametrize("form", ["folder", "file", "converted"])
def test_m3ddm_runs_from_each_of_its_files(tmp_path, models, source, m3ddm, form):
    converted = tmp_path / "m3ddm.safetensors"
    assert main(["convert", str(m3ddm), str(converted)]) == 0
    path = {"folder": m3ddm, "file": m3ddm / "diffusion_pytorch_model.bin", "converted": converted}[form]
    result = tmp_path / "result.mkv"
    assert run(source, result, "--model", path, "--base", models.base) == 0
    assert is_outpainted(result, source)


def test_m3ddm_s_scales_and_levels_count(tmp_path, models, source, m3ddm):
    files = ["--model", m3ddm, "--base", models.base]
    settings = {
        "default": [],
        "named": ["--context-scale", "2", "--global-scale", "4", "--levels", "1"],
        "context": ["--context-scale", "5"],
        "global": ["--global-scale", "0"],
        "levels": ["--levels", "3,1", "--clip", "4"],
        "seed": ["--seed", "4"],
    }
    results = {}
    for name, words in settings.items():
        assert run(source, tmp_path / f"{name}.mkv", *files, *words) == 0
        results[name] = read_clip(tmp_path / f"{name}.mkv").frames
    assert torch.equal(results["default"], results["named"])
    for name in ("context", "global", "levels", "seed"):
        assert not torch.equal(results["default"], results[name]), name


def test_plan_describes_and_draws_the_levels(tmp_path, source, capsys):
    words = ["plan", source, "--size", "96x80", "--output"]
    assert main([str(word) for word in (*words, tmp_path / "plain.png")]) == 0
    plain = capsys.readouterr().out
    assert main([str(word) for word in (*words, tmp_path / "levels.png", "--levels", "3,1", "--clip", "4")]) == 0
    out = capsys.readouterr().out
    assert "stride" not in plain and f"{FRAMES} frames in strides of 3, 1: the model samples 3 clips" in out
    one, both = (cv2.imread(str(tmp_path / name)) for name in ("plain.png", "levels.png"))
    drawn = draw_levels(plan_levels(FRAMES, (3, 1), 4)).numpy()[..., ::-1]
    assert np.array_equal(both[: len(one), : one.shape[1]], one)
    below = both[len(one) + BAR :]
    assert np.array_equal(below[: len(drawn), : drawn.shape[1]], drawn)


def refused(capsys, folder, message, words):
    capsys.readouterr()
    before = sorted(folder.iterdir())
    for _ in range(2):
        assert main([str(word) for word in words]) == 2
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("canvas-outpaint: ")]
        assert len(lines) == 1 and message in lines[0], lines
    assert sorted(folder.iterdir()) == before


BAD_LEVELS = {
    "not descending": (["--levels", "5,15,1"], "must fall from level to level and end in 1"),
    "not ending in 1": (["--levels", "15,5"], "must fall from level to level and end in 1"),
    "same twice": (["--levels", "5,5,1"], "must fall from level to level"),
    "zero": (["--levels", "5,1,0"], "end in 1"),
    "more levels than frames": (["--levels", "3,2,1", "--frames", "2"], "3 levels are more than the 2 frames"),
    "overlap": (["--levels", "1", "--clip", "4", "--clip-overlap", "4"], "cannot share 4"),
    "no clip": (["--levels", "1", "--clip", "0"], "clips of 0 frames"),
    "official paste": (["--levels", "1", "--paste", "official"], "official paste"),
    "scales of m3ddm": (
        ["--levels", "1", "--context-scale", "2"],
        "--context-scale means nothing to Follow-Your-Canvas",
    ),
    "no frames": (["--levels", "1", "--frames", "0"], "--frames is 0"),
    "clips without levels": (["--clip", "4"], "--clip is 4, but without --levels there are no clips"),
    "laps without levels": (["--clip-overlap", "1"], "--clip-overlap is 1, but without --levels"),
    "no steps": (["--levels", "1", "--steps", "0"], "number of steps is 0, but must be 1"),
}


@pytest.mark.parametrize("name", BAD_LEVELS)
def test_bad_levels_are_refused(tmp_path, models, source, capsys, name):
    words, message = BAD_LEVELS[name]
    call = ["outpaint", source, "--output", tmp_path / "result.mkv", *SIZE, *canvas_model(models), *words]
    refused(capsys, tmp_path, message, call)


def test_levels_that_are_no_numbers_are_refused(tmp_path, source, capsys):
    with pytest.raises(SystemExit) as caught:
        run(source, tmp_path / "result.mkv", "--levels", "many")
    assert caught.value.code == 2
    assert "'many' is neither one of m3ddm, globalpaint nor strides such as 15,5,1" in capsys.readouterr().err


FOREIGN = {
    "prompt": ["--prompt", "a lake"],
    "sam": ["--sam", "sam.pth"],
    "strength": ["--strength", "0.5"],
    "propagate": ["--propagate"],
    "layout-cfg": ["--layout-cfg", "1"],
    "cfg": ["--cfg", "3"],
    "paste": ["--paste", "official"],
    "start-from": ["--start-from", "source"],
    "fps": ["--fps", "8"],
    "batch": ["--batch", "2"],
    "frame-window": ["--frame-window", "16"],
    "min-overlap": ["--min-overlap", "8,8"],
}


@pytest.mark.parametrize("name", FOREIGN)
def test_options_that_mean_nothing_to_m3ddm_are_refused(tmp_path, models, source, m3ddm, capsys, name):
    files = ["--model", m3ddm, "--base", models.base]
    call = ["outpaint", source, "--output", tmp_path / "result.mkv", *SIZE, *files, *FOREIGN[name]]
    refused(capsys, tmp_path, f"--{name} means nothing to M3DDM; leave it out", call)


OUT_OF_RANGE = {
    "no steps": (["--steps", "0"], "number of steps is 0, but must be 2"),
    "one step": (["--steps", "1"], "number of steps is 1, but must be 2"),
    "seed": (["--seed", "99999999999999999999"], "--seed is"),
    "match": (["--match", "-1"], "border match is -1 px"),
    "texture": (["--texture", "2"], "share of texture is 2"),
    "feather": (["--feather", "32"], "feather is 32 px"),
}


@pytest.mark.parametrize("name", OUT_OF_RANGE)
def test_values_out_of_range_are_refused_before_m3ddm_runs(tmp_path, models, source, m3ddm, capsys, monkeypatch, name):
    monkeypatch.setattr("canvas_core.systems.m3ddm.model.read_known", lambda *_: pytest.fail("the video was encoded"))
    words, message = OUT_OF_RANGE[name]
    files = ["--model", m3ddm, "--base", models.base]
    call = ["outpaint", source, "--output", tmp_path / "result.mkv", *SIZE, *files, *words]
    refused(capsys, tmp_path, message, call)


def test_m3ddm_is_planned_without_rounds(tmp_path, source, m3ddm, capsys):
    words = ["plan", source, "--pad", "240,0,240,0", "--output", tmp_path / "plan.png", "--model", m3ddm]
    assert main([str(word) for word in words]) == 0
    out = capsys.readouterr().out
    assert "round 1 of 1: 544x64" in out and "1 time window\n" in out and "stride 1: 1 clip" in out


def noise_clip(path, frames, h, w):
    draw = torch.Generator().manual_seed(3)
    return write_clip(path, torch.randint(0, 256, (frames, h, w, 3), dtype=torch.uint8, generator=draw), RATE)


DRAFT = {"canvas.presets": '{"draft": {"steps": 2, "window": 256, "overlap": 64}}'}
SYSTEMS = {
    "follow_your_canvas": lambda path: tiny.write_checkpoint(path, metadata=DRAFT),
    "m3ddm": lambda path: tiny.write_tensors(
        path,
        tiny.m3ddm().state_dict(),
        {**M3DDM.metadata(tiny.M3DDM), **DRAFT},
    ),
}


@pytest.mark.parametrize("system", SYSTEMS)
def test_any_system_is_evaluated(tmp_path, models, capsys, system):
    """By one preset of two steps; a model that reads prompts gets an empty one."""
    clip = noise_clip(tmp_path / "clip.mkv", 16, 40, 48)
    model = SYSTEMS[system](tmp_path / "model.safetensors")
    files = ["--base", models.base, *(["--sam", models.sam] if system == "follow_your_canvas" else [])]
    call = ["evaluate", clip, "--output", tmp_path / "out", "--model", model, "--presets", "draft", *files]
    assert main([str(word) for word in call]) == 0
    out, err = capsys.readouterr()
    table = (tmp_path / "out" / "evaluation.md").read_text()
    assert out.startswith(table) and "| clip | 0.25 | draft |" in table and "| clip | 0.5 | draft |" in table
    assert re.search(r"evaluate: +100%.*(\d+)/\1 ", err) and "stride" not in err


def test_an_evaluation_needs_the_files_of_its_model(tmp_path, models, source, m3ddm, capsys):
    call = ["evaluate", source, "--output", tmp_path / "out", "--model"]
    refused(
        capsys, tmp_path, "needs a text encoder even for an empty prompt", [*call, models.model, "--sam", models.sam]
    )
    refused(capsys, tmp_path, "there is no VAE", [*call, m3ddm])
    words = [*call, m3ddm, "--base", models.base, "--sam", models.sam]
    refused(capsys, tmp_path, "--sam means nothing to M3DDM; leave it out", words)


def test_m3ddm_without_a_vae_is_refused(tmp_path, source, m3ddm, capsys):
    call = ["outpaint", source, "--output", tmp_path / "result.mkv", *SIZE, "--model", m3ddm]
    refused(capsys, tmp_path, "there is no VAE", call)


def test_m3ddm_runs_the_demo(tmp_path, models, m3ddm, capsys, monkeypatch):
    truth = read_clip(noise_clip(tmp_path / "truth.mp4", 3, 90, 160)).frames
    monkeypatch.setattr("canvas_core.cli.request.DEMO_CLIP", tmp_path / "clip.mp4")
    write_clip(tmp_path / "clip.mp4", truth[:, :, 50:110], RATE)
    call = ["demo", "--output", tmp_path / "out", "--model", m3ddm, "--base", models.base, "--steps", "2"]
    assert main([str(word) for word in call]) == 0
    assert "3 frames of 160x90" in capsys.readouterr().out
    assert read_clip(tmp_path / "out" / "demo.mp4").frames.shape == (3, 90, 160, 3)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"demo.mp4", "demo.png"}


def test_a_level_that_is_not_finite_leaves_no_file(tmp_path, models, source, m3ddm, capsys):
    broken = tmp_path / "broken"
    tiny.write_m3ddm(broken)
    weights = broken / "diffusion_pytorch_model.bin"
    tensors = torch.load(weights, weights_only=True)
    tensors["conv_out.temporal_conv.bias"][0] = torch.nan
    torch.save(tensors, weights)
    call = ["outpaint", source, "--output", tmp_path / "r.mkv", *SIZE, "--model", broken, "--base", models.base]
    refused(capsys, tmp_path, "not finite at step 1 of 2", call)
