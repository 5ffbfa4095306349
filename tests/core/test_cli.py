"""The command line from end to end, with tiny networks, and everything it refuses."""

import os
import pickle
import re
import signal
import subprocess
import sys
import warnings
from dataclasses import replace
from fractions import Fraction
from functools import partial

import cv2
import pytest
import tiny
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file

from canvas_core.cli import main
from canvas_core.media.video import read_clip, write_clip
from canvas_core.systems.checkpoint import open_checkpoint
from canvas_core.systems.presets import DEFAULT

RATE = Fraction(24000, 1001)
CANVAS = ["--size", "256x144", "--window", "64", "--overlap", "16"]
LITTLE = ["--size", "96x80", "--window", "64", "--overlap", "16"]
HIDDEN_WARNINGS = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)
ALONE = {**os.environ, "OMP_NUM_THREADS": "1"}


def random_clip(path, frames=3, size=(64, 64), seed=0):
    draw = torch.Generator().manual_seed(seed)
    return write_clip(path, torch.randint(0, 256, (frames, *size, 3), dtype=torch.uint8, generator=draw), RATE)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return random_clip(tmp_path_factory.mktemp("source") / "source.mkv")


@pytest.fixture
def command(models, source):
    """Arguments of `outpaint`; options given later count."""

    def build(output, *options, input=source, canvas=CANVAS, **files):
        paths = {**vars(models), **files}
        named = [word for name in ("model", "base", "sam") if paths[name] for word in (f"--{name}", paths[name])]
        return ["outpaint", input, "--output", output, "--steps", "3", *named, *canvas, *options]

    return build


@pytest.fixture
def run(capsys):
    """Run the command line here: (exit code, standard output, standard error without the progress bar)."""

    def call(*words):
        capsys.readouterr()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        shown = [str(one.message) for one in caught if not issubclass(one.category, HIDDEN_WARNINGS)]
        return code, out, shown + without_bar(err)

    return call


@pytest.fixture(scope="module")
def outpainted(tmp_path_factory, models, source):
    """The reference run: 64 x 64 to 256 x 144 in two rounds."""
    path = tmp_path_factory.mktemp("outpainted") / "result.mkv"
    files = ["--model", models.model, "--base", models.base, "--sam", models.sam]
    words = ["outpaint", source, "--output", path, "--steps", "3", *files, *CANVAS]
    assert main([str(word) for word in words]) == 0
    return path


def without_bar(text):
    """Lines that are not a progress bar."""
    return [line for line in text.splitlines() if line.strip() and not re.search(r"(step/s|s/step)\]", line)]


def assert_refused(run, words, message, folder):
    """Exit code 2, one line that matches, the same again, and nothing written."""
    before = sorted(folder.iterdir())
    answers = [run(*words) for _ in range(2)]
    code, out, err = answers[0]
    assert (code, out, len(err)) == (2, "", 1), err
    assert err[0].startswith("canvas-outpaint: ") and re.search(message, err[0]), err[0]
    assert answers[1] == answers[0]
    assert sorted(folder.iterdir()) == before


def start(words, **options):
    """The command line in a process of its own."""
    call = [sys.executable, "-P", "-m", "canvas_core", *map(str, words)]
    return subprocess.Popen(call, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ALONE, **options)


def known_part(path, y, x, feather=0, size=(64, 64)):
    return read_clip(path).frames[:, y + feather : y + size[0] - feather, x + feather : x + size[1] - feather]


def test_outpaint_keeps_size_length_rate_and_source(outpainted, source):
    clip, given = read_clip(outpainted), read_clip(source)
    assert clip.frames.shape == (3, 144, 256, 3)
    assert clip.rate == given.rate == RATE
    assert torch.equal(known_part(outpainted, 40, 96, 8), given.frames[:, 8:-8, 8:-8])
    assert not torch.equal(known_part(outpainted, 40, 96), given.frames)
    assert clip.frames[:, :40].float().std() > 1


def test_a_process_of_its_own_gives_the_same(tmp_path, run, command):
    process = start(command(tmp_path / "alone.mkv", canvas=LITTLE))
    assert run(*command(tmp_path / "here.mkv", canvas=LITTLE))[0] == 0
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out, without_bar(err)) == (0, "", [])
    alone, here = (read_clip(tmp_path / name).frames for name in ("alone.mkv", "here.mkv"))
    assert torch.equal(alone, here)


WITHOUT_UNIX = """
import builtins, importlib, pkgutil, sys

real = builtins.__import__

def windows_import(name, module=None, *rest, **named):
    # Other packages import such modules where the system is Unix, so only our own modules are refused.
    if name in ("fcntl", "grp", "pwd", "resource", "termios") and (module or {}).get("__name__", "").startswith("canvas"):
        raise ModuleNotFoundError(name)
    return real(name, module, *rest, **named)

builtins.__import__ = windows_import
import canvas_core
from canvas_core.cli import main
for module in pkgutil.walk_packages(canvas_core.__path__, "canvas_core."):
    if module.name != "canvas_core.__main__":
        importlib.import_module(module.name)
sys.exit(main(sys.argv[1:]))
"""


def test_commands_need_no_modules_of_unix(tmp_path, models, source):
    for words in (["inspect", models.model], ["plan", source, *CANVAS, "--output", tmp_path / "plan.png"]):
        call = [sys.executable, "-P", "-c", WITHOUT_UNIX, *map(str, words)]
        done = subprocess.run(call, capture_output=True, text=True, env=ALONE, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr


def test_the_seed_decides(tmp_path, run, command):
    for name, seed in (("one", 5), ("two", 5), ("other", 6)):
        assert run(*command(tmp_path / f"{name}.mkv", "--seed", seed, canvas=LITTLE))[0] == 0
    one, two, other = (read_clip(tmp_path / f"{name}.mkv").frames for name in ("one", "two", "other"))
    assert torch.equal(one, two) and not torch.equal(one, other)


def test_the_checkpoint_and_its_conversion_give_the_same(tmp_path, run, command, models):
    for name, model in (("one", models.ckpt), ("two", models.model)):
        assert run(*command(tmp_path / f"{name}.mkv", canvas=LITTLE, model=model))[0] == 0
    one, two = (read_clip(tmp_path / f"{name}.mkv").frames.int() for name in ("one", "two"))
    assert (one - two).abs().max() <= 1


def test_windows_at_once_give_the_same(tmp_path, outpainted, run, command):
    assert run(*command(tmp_path / "batch.mkv", "--batch", "3"))[0] == 0
    one, three = (read_clip(path).frames.int() for path in (outpainted, tmp_path / "batch.mkv"))
    assert (one - three).abs().max() <= 1


SMALL = {
    "aspect": ("--aspect 4:3", (64, 86), (0, 11)),
    "aspect, anchored": ("--aspect 4:3 --anchor right", (64, 86), (0, 22)),
    "pad": ("--pad 3,5,8,2", (72, 76), (5, 3)),
    "odd pad": ("--pad 0,0,11,0", (64, 76), (0, 0)),
    "size, moved": ("--size 90x70 --anchor top --offset=-4,3", (70, 90), (3, 9)),
}


@pytest.mark.parametrize(("words", "size", "corner"), SMALL.values(), ids=SMALL)
def test_canvases_of_every_kind(tmp_path, run, command, source, words, size, corner):
    canvas = [*words.split(), "--window", "64", "--overlap", "16", "--steps", "1", "--frames", "2", "--feather", "5"]
    assert run(*command(tmp_path / "result.mkv", canvas=canvas)) == (0, "", [])
    assert read_clip(tmp_path / "result.mkv").frames.shape == (2, *size, 3)
    inner = known_part(tmp_path / "result.mkv", *corner, feather=5)
    assert torch.equal(inner, read_clip(source, 2).frames[:, 5:-5, 5:-5])


def test_a_source_of_odd_size(tmp_path, run, command):
    odd = random_clip(tmp_path / "odd.mkv", 2, (51, 37))
    words = command(
        tmp_path / "result.mkv",
        "--steps",
        "1",
        canvas=["--pad", "8,0,0,0", "--window", "64", "--overlap", "16"],
        input=odd,
    )
    assert run(*words)[0] == 0
    result = read_clip(tmp_path / "result.mkv").frames
    assert result.shape == (2, 52, 46, 3)
    assert torch.equal(result[:, :43, 16:37], read_clip(odd).frames[:, :43, 8:29])


OPTIONS = {
    "window larger than the canvas": "--window 512 --overlap 128",
    "time windows": "--frame-window 2 --frame-overlap 1",
    "layout guidance": "--layout-cfg 2 --prompt a --negative b",
    "published arithmetic": "--rre official --planner official --weights official --paste official --start-from previous",
    "half precision": "--dtype bfloat16",
    "mp4": "--fps 2",
}


@pytest.mark.parametrize("words", OPTIONS.values(), ids=OPTIONS)
def test_options_work(tmp_path, run, command, words):
    output = tmp_path / ("result.mp4" if "--fps" in words else "result.mkv")
    canvas = ["--size", "96x80", "--window", "64", "--overlap", "16", "--steps", "2", *words.split()]
    assert run(*command(output, canvas=canvas)) == (0, "", [])
    assert read_clip(output).frames.shape == (3, 80, 96, 3)
    assert list(tmp_path.iterdir()) == [output]


def test_time_windows_reach_further_than_the_model(tmp_path, run, command):
    short = tiny.write_checkpoint(tmp_path / "short.safetensors", replace(tiny.UNET, max_frames=2))
    windows = ["--frame-window", "2", "--frame-overlap", "1"]
    assert run(*command(tmp_path / "result.mkv", *windows, canvas=LITTLE, model=short))[0] == 0
    assert len(read_clip(tmp_path / "result.mkv").frames) == 3


def test_plan_prints_the_rounds(tmp_path, run, source):
    code, out, err = run("plan", source, *CANVAS, "--output", tmp_path / "plan.png")
    assert (code, err) == (0, [])
    assert re.search(r"^canvas 256x144, source 64x64\+96\+40$", out, re.M)
    assert re.search(r"^round 1 of 2: 160x104 from 64x64\+48\+20, .* on 20x13, 1 time window$", out, re.M)
    assert re.search(r"^round 2 of 2: 256x144 from 160x104\+48\+20, 15 windows .* on 32x18", out, re.M)


def test_plan_draws_a_picture(tmp_path, monkeypatch, run, source):
    monkeypatch.chdir(tmp_path)
    assert run("plan", source, *CANVAS)[1].endswith("wrote plan.png\n")
    picture = cv2.imread("plan.png")
    heights = [round(1024 * tall / wide) + 8 for wide, tall in ((160, 104), (256, 144))]
    assert picture.shape == (sum(heights), 1024, 3)
    assert picture.std() > 10
    assert list(tmp_path.iterdir()) == [tmp_path / "plan.png"]


def test_plan_reads_only_the_frames_asked_for(tmp_path, run, source):
    windows = ["--frames", "2", "--frame-window", "1", "--frame-overlap", "0"]
    code, out, _ = run("plan", source, *CANVAS, *windows, "--output", tmp_path / "plan.png")
    assert code == 0 and "2 time windows" in out


@pytest.mark.parametrize(("name", "message"), [("plan.jpg", "must end in .png"), ("no/plan.png", "there is no folder")])
def test_pictures_that_cannot_be_are_refused(tmp_path, run, source, name, message):
    code, _, err = run("plan", source, *CANVAS, "--output", tmp_path / name)
    assert code == 2 and not list(tmp_path.iterdir())
    assert len(err) == 1 and message in err[0]


@pytest.mark.parametrize("option", [["--offset", "-4,3"], ["--offset=-4,3"]], ids=["spaced", "joined"])
def test_a_negative_offset_can_be_written_both_ways(tmp_path, run, source, option):
    out = run("plan", source, *LITTLE, *option, "--output", tmp_path / "plan.png")[1]
    assert out.startswith("canvas 96x80, source 64x64+12+11\n")


def test_inspect_says_what_a_file_is(run, models):
    code, out, _ = run("inspect", models.ckpt)
    assert code == 0
    assert re.search(r"^architecture +follow_your_canvas$", out, re.M) and str(tiny.UNET) in out


def test_convert_writes_a_file_that_loads(tmp_path, run, models):
    target = tmp_path / "half.safetensors"
    code, out, _ = run("convert", models.ckpt, target, "--dtype", "float16", "--rre", "official")
    assert (code, out) == (0, f"wrote {target}\n")
    assert open_checkpoint(target).presets[DEFAULT].rre == "official"
    assert {value.dtype for value in load_file(target).values()} == {torch.float16}


def test_measure_prints_every_number(run, outpainted):
    code, out, _ = run("measure", outpainted, outpainted, "--known", "96,40,64,64")
    found = dict(line.split() for line in out.splitlines())
    assert code == 0
    assert (found["psnr"], found["known_error"], found["flicker"]) == ("inf", "0.0000", "1.0000")
    assert set(found) == {"psnr", "ssim", "seam", "flicker", "chunk_jump", "colour_drift", "known_error"}


class Code:
    """Creates a folder when unpickled by a careless reader."""

    def __reduce__(self):
        return os.mkdir, ("canvas_code_was_run",)


def broken_checkpoint(folder, how, models):
    """A model file that outpaint must refuse."""
    path = folder / ("broken.safetensors" if how in ("other", "not finite") else "broken.ckpt")
    if how == "other":
        save_file({"conv_in.weight": torch.zeros(4, 4, 3, 3)}, path)
    elif how == "truncated":
        path.write_bytes(models.ckpt.read_bytes()[:100_000])
    elif how == "code":
        path.write_bytes(pickle.dumps({"state_dict": Code()}))
    elif how == "not finite":
        tensors = tiny.checkpoint_tensors()
        tensors["conv_out.bias"][0] = torch.nan
        save_file(tensors, path)
    return path


CHECKPOINTS = {
    "other": "broken.safetensors is not a canvas checkpoint: .* none is 'conv_out.weight'",
    "truncated": "broken.ckpt is damaged or cut short",
    "code": "broken.ckpt was refused: it contains code",
    "not finite": "not finite at step 1 of 3",
    "missing": "there is no file at .*broken.ckpt",
}


@pytest.mark.parametrize("how", CHECKPOINTS)
def test_broken_checkpoints_are_refused(tmp_path, monkeypatch, run, command, models, how):
    monkeypatch.chdir(tmp_path)
    model = broken_checkpoint(tmp_path, how, models)
    assert_refused(run, command(tmp_path / "result.mkv", model=model), CHECKPOINTS[how], tmp_path)


@pytest.mark.parametrize("verb", ["inspect", "convert"])
@pytest.mark.parametrize("how", ["other", "truncated", "code", "missing"])
def test_broken_checkpoints_are_refused_by_other_commands(tmp_path, monkeypatch, run, models, verb, how):
    monkeypatch.chdir(tmp_path)
    target = [tmp_path / "target.safetensors"] if verb == "convert" else []
    assert_refused(run, [verb, broken_checkpoint(tmp_path, how, models), *target], CHECKPOINTS[how], tmp_path)


REFUSED = {
    "smaller": ({"canvas": ["--size", "48x80"]}, [], "48x80 is smaller than the source of 64x64"),
    "equal": ({"canvas": ["--size", "64x64"]}, [], "equals the source, so there is nothing to generate"),
    "equal aspect": ({"canvas": ["--aspect", "1:1"]}, [], "nothing to generate"),
    "odd": ({"canvas": ["--size", "91x80"]}, [], "must be even for video; use 92x80"),
    "negative pad": ({"canvas": ["--pad=-8,0,0,0"]}, [], "none may be negative"),
    "offset": ({}, ["--offset", "0,999"], "off the canvas"),
    "window": ({}, ["--window", "100"], "multiple of 8"),
    "overlap": ({}, ["--overlap", "64"], "overlap is 64 px"),
    "frame overlap": ({}, ["--frame-window", "4"], "frame overlap is 16"),
    "no base": ({"base": None}, [], "needs a text encoder .* with --base"),
    "no sam": ({"sam": None}, [], "with --sam"),
    "no frames": ({}, ["--frames", "0"], "--frames is 0"),
    "no steps": ({}, ["--steps", "0"], "number of steps is 0"),
    "many steps": ({}, ["--steps", "1001"], "number of steps is 1001"),
    "fps": ({}, ["--fps", "24"], "--fps is 24, .* 2 to 16"),
    "batch": ({}, ["--batch", "0"], "windows at once is 0"),
    "feather": ({}, ["--feather", "32"], "feather is 32 px, but must be 0 to 31"),
    "device": ({}, ["--device", "warp"], "device 'warp' cannot be used"),
    "seed": ({}, ["--seed", "99999999999999999999"], "seed"),
}


@pytest.mark.parametrize(("changes", "options", "message"), REFUSED.values(), ids=REFUSED)
def test_arguments_that_cannot_work_are_refused(tmp_path, run, command, changes, options, message):
    assert_refused(run, command(tmp_path / "result.mkv", *options, **changes), message, tmp_path)


def test_a_feather_is_refused_before_any_step(tmp_path, capsys, command):
    assert main([str(word) for word in command(tmp_path / "result.mkv", "--feather", "32", canvas=LITTLE)]) == 2
    assert "1/3" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "canvas", [["--size", "96x80", "--anchor", "left"], ["--size", "94x78"]], ids=["left", "snapped"]
)
def test_the_published_paste_of_a_source_off_the_centre_is_refused(tmp_path, run, command, canvas):
    """It only knows centred sources: elsewhere it pastes grey over the result."""
    assert_refused(run, command(tmp_path / "result.mkv", "--paste", "official", canvas=canvas), "centre", tmp_path)


@pytest.mark.parametrize(
    ("name", "message"), [("result.avi", "must end in .mp4"), ("result", "must end in"), ("no/result.mkv", "no folder")]
)
def test_outputs_that_cannot_be_are_refused(tmp_path, run, command, name, message):
    assert_refused(run, command(tmp_path / name), message, tmp_path)


def same_file(path, how):
    """Another name of the file `path`."""
    other = path.with_name(f"other{path.suffix}")
    if how == "symlink":
        other.symlink_to(path)
    elif how == "hard link":
        other.hardlink_to(path)
    return {"name": path, "spelling": path.parent / "folder" / ".." / path.name}.get(how, other)


@pytest.mark.parametrize("how", ["name", "spelling", "symlink", "hard link"])
@pytest.mark.parametrize("verb", ["outpaint", "plan", "convert"])
def test_an_output_that_is_the_source_is_refused(tmp_path, run, command, source, models, verb, how):
    path = tmp_path / {"outpaint": "a.mkv", "plan": "a.png", "convert": "a.safetensors"}[verb]
    path.write_bytes((models.model if verb == "convert" else source).read_bytes())
    before = path.read_bytes()
    (tmp_path / "folder").mkdir()
    output = same_file(path, how)
    words = {
        "outpaint": command(output, input=path),
        "plan": ["plan", path, *CANVAS, "--output", output],
        "convert": ["convert", path, output],
    }
    assert_refused(run, words[verb], "the output .* is the source itself, but must be another file", tmp_path)
    assert path.read_bytes() == before


def test_the_weights_of_a_folder_are_not_written_over(tmp_path, run, models):
    weights = tmp_path / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(models.model.read_bytes())
    assert_refused(run, ["convert", tmp_path, weights], "is the source itself", tmp_path)
    assert weights.read_bytes() == models.model.read_bytes()


@pytest.mark.parametrize(
    ("content", "message"), [(b"no video\n" * 99, "cannot be read as a video"), (None, "no file at")]
)
def test_unreadable_sources_are_refused(tmp_path, run, command, content, message):
    if content:
        (tmp_path / "source.mp4").write_bytes(content)
    words = command(tmp_path / "result.mkv", input=tmp_path / "source.mp4")
    assert_refused(run, words, f"{message}.*", tmp_path)
    assert_refused(run, ["plan", tmp_path / "source.mp4", *CANVAS], message, tmp_path)
    assert_refused(run, ["measure", tmp_path / "source.mp4", words[1], "--known", "0,0,8,8"], message, tmp_path)


def test_a_vae_of_another_latent_is_refused(tmp_path, run, command):
    blocks = ("DownEncoderBlock2D",) * 4, ("UpDecoderBlock2D",) * 4
    make = partial(AutoencoderKL, 3, 3, *blocks, block_out_channels=(8, 8, 8, 8), latent_channels=16, norm_num_groups=4)
    tiny.seeded(make).save_pretrained(tmp_path / "vae")
    words = command(tmp_path / "result.mkv", "--vae", tmp_path / "vae")
    assert_refused(run, words, "makes latents of 16 channels .* takes 4", tmp_path)


@pytest.mark.parametrize("content", [None, b"{", b'{"_class_name": "UNet2DModel"}'], ids=["empty", "broken", "other"])
def test_a_broken_vae_is_refused(tmp_path, run, command, content):
    (tmp_path / "vae").mkdir()
    if content:
        (tmp_path / "vae" / "config.json").write_bytes(content)
    words = command(tmp_path / "result.mkv", "--vae", tmp_path / "vae")
    assert_refused(run, words, "vae is not a usable VAE", tmp_path)


def test_a_vae_file_that_is_something_else_is_refused(tmp_path, run, command, models):
    words = command(tmp_path / "result.mkv", "--vae", models.sam)
    assert_refused(run, words, "not a VAE|not a usable VAE", tmp_path)


def test_a_text_encoder_of_another_width_is_refused(tmp_path, run, command):
    base = tiny.write_base(tmp_path / "base", width=48)
    words = command(tmp_path / "result.mkv", base=base)
    assert_refused(run, words, "text encoder .* is 48 wide, .* takes 32", tmp_path)


@pytest.mark.parametrize("part", ["tokenizer", "text_encoder"])
@pytest.mark.parametrize("files", [False, True], ids=["no folder", "empty folder"])
def test_a_base_with_a_missing_part_is_refused(tmp_path, run, command, part, files):
    base = tiny.write_base(tmp_path / "base")
    for file in (base / part).iterdir():
        file.unlink()
    if not files:
        (base / part).rmdir()
    assert_refused(run, command(tmp_path / "result.mkv", base=base), rf"{base} .*", tmp_path)


@pytest.mark.parametrize("name", ["model", "base"])
def test_other_files_are_not_sam(tmp_path, run, command, models, name):
    words = command(tmp_path / "result.mkv", sam=getattr(models, name))
    assert_refused(run, words, "not a Segment Anything file|there is no file", tmp_path)


def test_time_windows_longer_than_the_model_reaches_are_refused(tmp_path, run, command):
    short = tiny.write_checkpoint(tmp_path / "short.safetensors", replace(tiny.UNET, max_frames=2))
    message = "time windows of 64 frames are longer than the 2 this model reaches; use --frame-window 2"
    assert_refused(run, command(tmp_path / "result.mkv", model=short), message, tmp_path)


def test_measure_refuses_clips_that_differ(tmp_path, run, outpainted, source):
    words = ["measure", outpainted, source, "--known", "96,40,64,64"]
    assert_refused(run, words, "one size and length", tmp_path)
    words = ["measure", source, source, "--known", "0,0,64,64"]
    assert_refused(run, words, "nothing was generated", tmp_path)


def small_disk():
    """Files of the child process end at 20 kB."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


def test_a_full_disk_leaves_nothing(tmp_path, command):
    pytest.importorskip("resource")  # limits of a process, which Windows has not
    canvas = ["--size", "256x208", "--window", "512", "--steps", "1"]
    process = start(command(tmp_path / "result.mkv", canvas=canvas), preexec_fn=small_disk)
    err = without_bar(process.communicate(timeout=120)[1])
    assert process.returncode == 2 and len(err) == 1, err
    assert "writing result.mkv failed" in err[0]
    assert not list(tmp_path.iterdir())


def listen_to_ctrl_c():
    """A shell's background jobs ignore it, and so would their children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_leaves_nothing(tmp_path, command):
    process = start(command(tmp_path / "result.mkv", "--steps", "500"), preexec_fn=listen_to_ctrl_c)
    seen = ""
    while "round 1/" not in seen:
        seen += process.stderr.read(1)
    process.send_signal(signal.SIGINT)
    err = without_bar(process.communicate(timeout=60)[1])
    assert process.returncode == 130
    assert err == ["canvas-outpaint: interrupted, nothing was written"]
    assert not list(tmp_path.iterdir())
