"""The quick-start workflows with the model that comes with the pack, in a running ComfyUI, on a real clip made small."""

import shutil

import api_workflows as workflows
import numpy as np
import pytest
from api_workflows import the
from golden import CLIPS
from PIL import Image
from server_runs import run_for_frames, run_twice

from canvas_core.media.video import read_clip
from canvas_core.plan.boxes import Size
from canvas_core.plan.canvas import canvas_of_aspect
from canvas_core.systems import built_in

pytestmark = [
    pytest.mark.skipif(not built_in.MODEL.is_file(), reason=f"the built-in model is not in {built_in.FOLDER}"),
    pytest.mark.skipif(not (CLIPS / "running.mp4").is_file(), reason=f"running.mp4 is not in {CLIPS}"),
]

FRAMES, SOURCE = 5, Size(120, 160)
CANVAS = canvas_of_aspect(SOURCE, "16:9")
WORKFLOW_FRAMES = {"quick_start": FRAMES, "quick_start_still": 1}


@pytest.fixture(scope="module")
def inputs(base):
    shutil.copyfile(CLIPS / "running.mp4", base / "input" / "running.mp4")
    first = read_clip(CLIPS / "running.mp4", 1).frames[0].numpy()
    Image.fromarray(first).resize(SOURCE[::-1]).save(base / "input" / "running.png")


def small(name):
    """The workflow on the first frames of the clip, scaled down, or on a picture of that size."""
    prompt = workflows.patched(
        workflows.load(name), {"LoadVideo": {"file": "running.mp4"}, "LoadImage": {"image": "running.png"}}
    )
    for parts in workflows.nodes_of(prompt, "GetVideoComponents"):
        for node in prompt.values():
            node["inputs"] |= {key: ["source", 0] for key, value in node["inputs"].items() if value == [parts, 0]}
        cut = {"image": [parts, 0], "batch_index": 0, "length": FRAMES}
        scale = {"width": SOURCE.w, "height": SOURCE.h, "upscale_method": "area", "crop": "center"}
        prompt["cut"] = {"class_type": "ImageFromBatch", "inputs": cut}
        prompt["source"] = {"class_type": "ImageScale", "inputs": {"image": ["cut", 0], **scale}}
    return prompt


def frames_of(server, prompt, kind, name="images"):
    """What a node is given, as saved frames."""
    return run_for_frames(server, prompt, *prompt[the(prompt, kind)]["inputs"][name])


def parts(frames):
    """The source's pixels and the rest of frames [F, H, W, 3] of the finished size."""
    box = CANVAS.source
    known = np.zeros(frames.shape[1:3], bool)
    known[box.y : box.bottom, box.x : box.right] = True
    return frames[:, box.y : box.bottom, box.x : box.right], frames[:, ~known]


@pytest.mark.parametrize("name", workflows.QUICK)
def test_known_pixels_come_back_and_the_rest_fits(server, inputs, name):
    prompt = small(name)
    result = run_for_frames(server, prompt, the(prompt, "CanvasComposite"))
    source = frames_of(server, prompt, "CanvasExpand")
    assert result.shape == (WORKFLOW_FRAMES[name], *CANVAS.trim.size, 3)
    known, made = parts(result)
    assert np.array_equal(known, source)
    assert made.std() > 10  # levels; neither grey nor any other plain colour
    assert np.abs(made.mean((0, 1)) - source.mean((0, 1, 2))).max() < 40


@pytest.mark.parametrize("name", workflows.QUICK)
def test_workflow_runs_and_is_cached(server, inputs, name):
    prompt = small(name)
    outcome = server.run(prompt)
    assert outcome.kind == "execution_success", outcome.message
    saved = [item["filename"] for output in outcome.history["outputs"].values() for item in output.get("images", [])]
    assert [name.rpartition(".")[2] for name in saved] == (["mp4"] if name == "quick_start" else ["png"])
    again = server.run(prompt)
    assert again.kind == "execution_success"
    assert again.executed == set()


def test_borrowed_pixels_come_back_exactly(server, inputs):
    """What Canvas Fill borrowed or left known is the same in the result."""
    prompt = small("quick_start")
    fill = the(prompt, "CanvasFill")
    prompt["picture"] = {"class_type": "MaskToImage", "inputs": {"mask": [fill, 1]}}
    result = run_for_frames(server, prompt, the(prompt, "CanvasComposite"))
    filled, hidden = (
        run_for_frames(server, prompt, *place)[:, :, : result.shape[2]] for place in ((fill, 0), ("picture", 0))
    )
    assert set(np.unique(hidden)) == {0, 255}
    assert np.array_equal(result[hidden[..., 0] == 0], filled[hidden[..., 0] == 0])


@pytest.mark.parametrize("propagate", [True, False])
def test_fill_on_its_own(server, inputs, propagate):
    prompt = workflows.patched(small("quick_start"), {"CanvasFill": {"propagate": propagate}})
    filled = run_for_frames(server, prompt, the(prompt, "CanvasFill"))
    assert filled.shape == (FRAMES, *CANVAS.size, 3)
    known, made = parts(filled)
    assert np.array_equal(known, frames_of(server, prompt, "CanvasExpand"))
    assert made.std() > 10
    assert np.abs(made.mean((0, 1)) - known.mean((0, 1, 2))).max() < 40


@pytest.mark.parametrize("missing", ["filled", "mask"])
def test_only_one_of_filled_and_mask(server, inputs, missing):
    prompt = small("quick_start")
    composite = prompt[the(prompt, "CanvasComposite")]["inputs"]
    composite["result"] = composite["filled"]  # in place of a sampled canvas
    del composite[missing]
    run_twice(server, prompt, "only one of 'filled' and 'mask' is connected")


def test_empty_prompt_for_a_model_that_reads_prompts(server, inputs):
    files = {"file": "follow_your_canvas.safetensors", "sam": "sam_vit_b_01ec64.pth"}
    prompt = workflows.patched(small("quick_start"), {"CanvasLoadLayoutEncoder": files})
    run_twice(server, prompt, "this canvas model reads prompts; connect CLIP Text Encode")


def test_vae_of_another_model(server, inputs):
    prompt = workflows.patched(small("quick_start"), {"VAELoader": {"vae_name": "sd21_vae.safetensors"}})
    run_twice(server, prompt, "4 channels, but the canvas model takes 32; use the VAE it was trained with")
