"""Levels of key frames in a running ComfyUI: the whole graph, cancelling, and mistakes."""

import threading
import time

import api_workflows as workflows
import numpy as np
import pytest
from api_workflows import the
from server_runs import run_for_frames, run_twice

FRAMES = 16
STRIDES = {"strides": "custom", "strides.list": "15, 5, 1"}


def node(kind, **inputs):
    return {"class_type": kind, "inputs": inputs}


def by_levels(steps=3, seed=0, **plan):
    """Follow-Your-Canvas on a small canvas with the hierarchical sampler in place of the tiled one."""
    prompt = workflows.small("follow_your_canvas_single_round", {"CanvasExpand": {"how.width": 96, "how.height": 80}})
    tiled = prompt[the(prompt, "CanvasTiledSampler")]
    given = tiled["inputs"]
    prompt["plan"] = node("CanvasKeyframePlan", **{"frames": FRAMES, **STRIDES, "clip": 16, "overlap": 1, **plan})
    prompt["model"] = node("CanvasApplyWindows", model=given["model"], windows=given["windows"], windows_at_once=0)
    conds = {name: given[name] for name in ("positive", "negative")}
    prompt["guider"] = node("CFGGuider", model=["model", 0], cfg=given["cfg"], **conds)
    prompt["noise"] = node("RandomNoise", noise_seed=seed)
    prompt["sampler"] = node("KSamplerSelect", sampler_name=given["sampler_name"])
    prompt["sigmas"] = node(
        "BasicScheduler", model=["model", 0], scheduler=given["scheduler"], steps=steps, denoise=1.0
    )
    tiled["class_type"] = "CanvasHierarchicalSampler"
    tiled["inputs"] = {name: [name, 0] for name in ("noise", "guider", "sampler", "sigmas")}
    tiled["inputs"] |= {"latent": given["latent"], "levels": ["plan", 0]}
    prompt[the(prompt, "CanvasEncodeLayout")]["inputs"]["levels"] = ["plan", 0]
    return prompt


def decoded(server, prompt):
    return run_for_frames(server, prompt, the(prompt, "VAEDecode"))


def test_levels_run_show_their_plan_and_are_cached(server):
    prompt = by_levels()
    outcome = server.run(prompt)
    assert outcome.kind == "execution_success", outcome.message
    (shown,) = outcome.history["outputs"]["plan"]["images"]
    assert server.view(shown).startswith(b"\x89PNG")
    again = server.run(prompt)
    assert again.kind == "execution_success" and again.executed == set()


def test_every_frame_is_made(server):
    frames, other = (decoded(server, by_levels(seed=seed)) for seed in (0, 1))
    assert frames.shape == (FRAMES, 80, 96, 3)
    assert (frames != other).any((1, 2, 3)).all()
    assert not np.array_equal(frames, decoded(server, by_levels(**{"strides": "one level"})))


def test_one_level_of_one_clip_equals_the_tiled_sampler(server):
    size = {"CanvasExpand": {"how.width": 96, "how.height": 80}, "CanvasTiledSampler": {"seed": 5}}
    tiled = decoded(server, workflows.small("follow_your_canvas_single_round", size))
    assert np.array_equal(tiled, decoded(server, by_levels(seed=5, **{"strides": "one level"})))


def test_cancelling_in_the_middle_of_a_level(server):
    """In the second of three levels; the next prompt runs as if nothing had been."""
    steps = 40
    inside, ended = threading.Event(), []

    def watch(kind, data):
        if kind == "progress" and data["max"] == 3 * steps and data["value"] > steps + 5:
            inside.set()

    runner = threading.Thread(target=lambda: ended.append(server.run(by_levels(steps, seed=9), on_message=watch)))
    runner.start()
    assert inside.wait(240)
    cancelled = time.monotonic()
    server.post("/interrupt")
    runner.join(60)
    assert time.monotonic() - cancelled < 2
    assert ended[0].kind == "execution_interrupted"
    assert server.run(by_levels(seed=10)).kind == "execution_success"


MISTAKES = {
    "rising": ({"strides.list": "5, 15, 1"}, "the strides are 5, 15, 1, but must fall from level to level"),
    "no end": ({"strides.list": "15, 5"}, "the strides are 15, 5, but must fall from level to level and end in 1"),
    "no numbers": (
        {"strides.list": "every second"},
        "the list of strides is 'every second', but must be whole numbers",
    ),
    "levels": ({"frames": 2}, "3 levels are more than the 2 frames of the video; use fewer strides"),
    "overlap": ({"clip": 4, "overlap": 4}, "clips of 4 frames cannot share 4; choose an overlap of 0 to 3"),
    "length": ({"frames": 20}, "the plan is for 20 frames, but there are 16 images; set 'frames'"),
}


@pytest.mark.parametrize(("plan", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_plan_that_does_not_fit(server, plan, message):
    run_twice(server, by_levels(**plan), message)


def without_levels(prompt):
    del prompt[the(prompt, "CanvasEncodeLayout")]["inputs"]["levels"]
    return prompt


def test_a_plan_of_another_length_at_the_sampler(server):
    run_twice(server, without_levels(by_levels(frames=20)), "the plan is for 20 frames, but the latent has 16")


def test_a_layout_of_another_plan(server):
    run_twice(server, without_levels(by_levels()), "connect the same Canvas Keyframe Plan to Canvas Encode Layout")
