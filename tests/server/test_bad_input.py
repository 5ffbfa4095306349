"""Whatever is wrong with a prompt, the user reads what to do; each mistake is made twice."""

import pickle

import api_workflows as workflows
import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file
from server_runs import run_twice

resource = pytest.importorskip("resource")  # limits of a process, which Windows has not

SINGLE = "follow_your_canvas_single_round"
MODELS = ("CanvasLoadModel", "CanvasLoadLayoutEncoder")


class Creator:
    """Unpickling this would create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def with_model(name):
    return workflows.small(SINGLE, {kind: {"file": name} for kind in MODELS})


def test_not_a_canvas_checkpoint(server, base):
    save_file({"weight": torch.zeros(3)}, base / "models" / "diffusion_models" / "other.safetensors")
    run_twice(server, with_model("other.safetensors"), "other.safetensors is not a canvas checkpoint")


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
def test_truncated_file(server, base, suffix):
    path = tiny.write_checkpoint(base / "models" / "diffusion_models" / f"cut{suffix}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    run_twice(server, with_model(path.name), f"{path.name} is damaged")


def test_pickle_with_code(server, base, tmp_path):
    marker = tmp_path / "marker"
    with (base / "models" / "diffusion_models" / "code.ckpt").open("wb") as file:
        pickle.dump({"state_dict": Creator(marker)}, file)
    run_twice(server, with_model("code.ckpt"), "contains code")
    assert not marker.exists()


def test_vae_of_another_width(server, base):
    tiny.write_taesd(base / "models" / "vae" / "wide.safetensors", channels=16)
    run_twice(server, workflows.small(SINGLE, {"VAELoader": {"vae_name": "wide.safetensors"}}), "16 channels")


def test_text_encoder_of_another_width(server, base):
    tiny.write_checkpoint(base / "models" / "diffusion_models" / "narrow.safetensors")
    run_twice(server, with_model("narrow.safetensors"), "the text tokens are 768 wide, but this canvas model takes 32")


def with_frames(prompt, amount):
    """The prompt with its source repeated to more frames."""
    scale = workflows.nodes_of(prompt, "ImageScale")[0]
    prompt["first"] = {
        "class_type": "ImageFromBatch",
        "inputs": {"image": prompt[scale]["inputs"]["image"], "batch_index": 0, "length": 1},
    }
    prompt["many"] = {"class_type": "RepeatImageBatch", "inputs": {"image": ["first", 0], "amount": amount}}
    prompt[scale]["inputs"]["image"] = ["many", 0]
    return prompt


def test_more_frames_than_the_model_reaches(server):
    """Without time windows: the clip is one window of 65 frames."""
    prompt = with_frames(workflows.small(SINGLE, {"CanvasWindows": {"frames": 65, "frame_overlap": 0}}), 65)
    run_twice(server, prompt, "the clip has 65 frames, but this model reaches 64")


def test_canvas_smaller_than_the_source(server):
    prompt = workflows.small(SINGLE, {"CanvasExpand": {"how.width": 32, "how.height": 144}})
    run_twice(server, prompt, "the canvas of 32x144 is smaller than the source of 64x64")


def test_nothing_to_generate(server):
    prompt = workflows.small(SINGLE, {"CanvasExpand": {"how.width": 64, "how.height": 64}})
    run_twice(server, prompt, "there is nothing to generate")


def test_latents_that_are_not_finite(server, base):
    path = tiny.write_taesd(base / "models" / "vae" / "broken.safetensors")
    tensors = load_file(path)
    key = next(key for key in tensors if key.startswith("taesd_encoder"))
    tensors[key][:] = torch.nan
    save_file(tensors, path)
    run_twice(server, workflows.small(SINGLE, {"VAELoader": {"vae_name": "broken.safetensors"}}), "not finite")


def test_unreadable_video(server, base):
    (base / "input" / "noise.mp4").write_bytes(bytes(range(256)) * 40)
    run_twice(server, workflows.small(SINGLE, {"LoadVideo": {"file": "noise.mp4"}}), "Invalid data")


def test_wrong_frames_for_the_canvas(server):
    prompt = workflows.small(SINGLE)
    layout, expand = (workflows.nodes_of(prompt, kind)[0] for kind in ("CanvasEncodeLayout", "CanvasExpand"))
    prompt[layout]["inputs"]["images"] = [expand, 1]
    run_twice(server, prompt, "not the placed ones")


def test_an_unknown_way_to_size_the_canvas(server):
    prompt = workflows.small(SINGLE)
    expand = workflows.nodes_of(prompt, "CanvasExpand")[0]
    kept = {key: value for key, value in prompt[expand]["inputs"].items() if not key.startswith("how")}
    prompt[expand]["inputs"] = {**kept, "how": "guess"}
    run_twice(server, prompt, "must be 'aspect', 'exact size' or 'pads'")


def test_canvas_that_is_not_whole_cells(server):
    prompt = workflows.small("follow_your_canvas_2k", {"CanvasExpand": {"multiple": 2, "how.width": 250}})
    run_twice(server, prompt, "the latents need multiples of 8")


def test_full_disk(server):
    """The server may write no file beyond a few bytes; the result is too large for it."""
    pid = server.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        run_twice(server, workflows.small(SINGLE), "File too large")
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
    assert server.run(workflows.small(SINGLE)).kind == "execution_success"


def test_a_window_larger_than_the_canvas_is_clipped(server):
    outcome = server.run(workflows.small(SINGLE, {"CanvasWindows": {"window": 1024, "overlap": 128}}))
    assert outcome.kind == "execution_success", outcome.message
