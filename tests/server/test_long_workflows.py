"""The workflows for long clips in a running ComfyUI: made small in space and steps, sampled by levels, on a real clip."""

import api_workflows as workflows
import numpy as np
import pytest
import tiny
import torch
from api_workflows import the
from server_runs import run_for_frames, run_twice

from canvas_core.systems import built_in

FRAMES, SIDE = 23, 64
SIZES = {"quick_start_long": (80, 144), "m3ddm_long_video": (64, 128)}
"""Height and width of the result"""
FEATHER = 3
needs_model = pytest.mark.skipif(not built_in.MODEL.is_file(), reason=f"the built-in model is not in {built_in.FOLDER}")


def small(name, changes=None):
    """The workflow on the first frames of its clip, scaled down, with three clips of the finest level."""
    h, w = SIZES[name]
    prompt = workflows.patched(
        workflows.load(name),
        {
            "CanvasWindows": {"window": 64, "overlap": 16},
            "CanvasKeyframePlan": {"strides": "custom", "strides.list": "5, 1", "clip": 8},
            "BasicScheduler": {"steps": 1 if name.startswith("quick") else 2},
            "CanvasComposite": {"feather": FEATHER},
            "CanvasExpand": {"how": "exact size", "how.width": w, "how.height": h},
            **(changes or {}),
        },
    )
    parts = the(prompt, "GetVideoComponents")
    for key in workflows.nodes_of(prompt, "ImageScale"):
        for node in prompt.values():
            node["inputs"] |= {name: ["source", 0] for name, value in node["inputs"].items() if value == [key, 0]}
        del prompt[key]
    for node in prompt.values():
        node["inputs"] |= {name: ["source", 0] for name, value in node["inputs"].items() if value == [parts, 0]}
    scale = {"width": SIDE, "height": SIDE, "upscale_method": "area", "crop": "center"}
    cut = {"image": [parts, 0], "batch_index": 0, "length": FRAMES}
    prompt["cut"] = {"class_type": "ImageFromBatch", "inputs": cut}
    prompt["source"] = {"class_type": "ImageScale", "inputs": {"image": ["cut", 0], **scale}}
    return prompt


NAMES = [pytest.param(name, marks=needs_model if name.startswith("quick") else ()) for name in workflows.LONG]


@pytest.mark.parametrize("name", NAMES)
def test_known_pixels_come_back_and_the_rest_fits(server, name):
    prompt = small(name)
    result = run_for_frames(server, prompt, the(prompt, "CanvasComposite"))
    source = run_for_frames(server, prompt, "source")
    h, w = SIZES[name]
    assert result.shape == (FRAMES, h, w, 3)
    y, x = (h - SIDE) // 2, (w - SIDE) // 2
    inner = slice(FEATHER, SIDE - FEATHER)
    assert np.array_equal(result[:, y : y + SIDE, x : x + SIDE][:, inner, inner], source[:, inner, inner])
    assert result[:, :, : x - 8].std() > 1  # levels; random weights make little of it


@pytest.mark.parametrize("name", NAMES)
def test_workflow_saves_a_video_and_is_cached(server, name):
    prompt = small(name)
    outcome = server.run(prompt)
    assert outcome.kind == "execution_success", outcome.message
    saved = [item["filename"] for output in outcome.history["outputs"].values() for item in output.get("images", [])]
    assert any(file.endswith(".mp4") for file in saved)
    assert any(file.endswith(".png") for file in saved)  # the drawn plan
    again = server.run(prompt)
    assert again.kind == "execution_success" and again.executed == set()


@pytest.mark.parametrize("name", NAMES)
def test_levels_and_seed_count(server, name):
    """Other levels or another seed, another result; the same again, the same frames."""
    changes = {
        "same": {},
        "levels": {"CanvasKeyframePlan": {"strides": "one level", "clip": 8}},
        "seed": {"RandomNoise": {"noise_seed": 77}},
    }
    prompts = {key: small(name, change) for key, change in changes.items()}
    results = {key: run_for_frames(server, prompt, the(prompt, "VAEDecode")) for key, prompt in prompts.items()}
    assert not np.array_equal(results["same"], results["levels"])
    assert not np.array_equal(results["same"], results["seed"])


def test_m3ddm_without_its_global_frames(server):
    prompt = small("m3ddm_long_video")
    known = the(prompt, "CanvasGlobalFrames")
    prompt["empty"] = {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["clip", 0]}}
    prompt["clip"] = {
        "class_type": "CLIPLoader",
        "inputs": {"clip_name": "sd21_text_encoder.safetensors", "type": "stable_diffusion"},
    }
    guider = prompt[the(prompt, "CanvasGuider")]["inputs"]
    assert guider["positive"] == [known, 0]
    guider["positive"] = ["empty", 0]
    run_twice(server, prompt, "Canvas Global Frames")


def test_m3ddm_is_given_the_layout_of_another_model(server):
    prompt = small("m3ddm_long_video", {"CanvasLoadModel": {"file": "follow_your_canvas.safetensors"}})
    run_twice(server, prompt, "Canvas Encode Layout")


def test_a_level_that_is_not_finite(server, base):
    folder = tiny.write_m3ddm(base / "models" / "diffusion_models" / "broken")
    weights = folder / "diffusion_pytorch_model.bin"
    tensors = torch.load(weights, weights_only=True)
    tensors["conv_out.temporal_conv.bias"][0] = torch.nan
    torch.save(tensors, weights)
    prompt = small("m3ddm_long_video", {"CanvasLoadModel": {"file": f"broken/{weights.name}"}})
    run_twice(server, prompt, "clip 1 of 5, frames 0-20 of the level with stride 5, holds values that are not finite")


def test_a_plan_of_another_length(server):
    prompt = small("m3ddm_long_video", {"CanvasKeyframePlan": {"frames": FRAMES + 1}})
    run_twice(server, prompt, f"the plan is for {FRAMES + 1} frames, but the latent has {FRAMES}")
