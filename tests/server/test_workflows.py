"""The reference workflows in a running ComfyUI, made small, on a real clip."""

import threading
import time

import api_workflows as workflows
import av
import numpy as np
import pytest
import torch
from server_runs import run_for_frames

from canvas_core.media.video import read_clip

SIZES = {"any_model_windows": {"CanvasExpand": {"how.width": 96, "how.height": 80}}}


def small(name, changes=None):
    return workflows.small(name, {**SIZES.get(name, {}), **(changes or {})})


def videos(outcome):
    """Paths, as the server names them, of all saved videos."""
    return [
        item
        for output in outcome.history["outputs"].values()
        for item in output.get("images", [])
        if item["filename"].endswith(".mp4")
    ]


def download(server, item, folder):
    path = folder / item["filename"]
    path.write_bytes(server.view(item))
    return path


@pytest.mark.parametrize("name", [name for name in workflows.NAMES if name not in workflows.QUICK + workflows.LONG])
def test_workflow_runs_and_is_cached(server, tmp_path, name):
    prompt = small(name)
    outcome = server.run(prompt)
    assert outcome.kind == "execution_success", outcome.message
    size = SIZES.get(name, workflows.SMALL)["CanvasExpand"]
    for item in videos(outcome):
        clip = read_clip(download(server, item, tmp_path))
        assert list(clip.frames.shape) == [16, size["how.height"], size["how.width"], 3]
        assert clip.rate == 8
    assert len(videos(outcome)) == len(workflows.nodes_of(prompt, "SaveVideo"))
    again = server.run(prompt)
    assert again.kind == "execution_success"
    assert again.executed == set()
    assert again.cached == set(prompt)


@pytest.mark.parametrize("name", workflows.NAMES)
def test_workflow_validates_as_shipped(server, name):
    """Queued behind a running prompt, so that it is validated but never starts; the running one is cancelled."""
    started = threading.Event()
    ended = []
    long = small(
        "follow_your_canvas_single_round",
        {"CanvasTiledSampler": {"steps": 500, "seed": 100 + workflows.NAMES.index(name)}},
    )

    def watch(kind, data):
        if kind == "progress" and data["max"] == 500 and data["value"] >= 2:
            started.set()

    runner = threading.Thread(target=lambda: ended.append(server.run(long, on_message=watch)))
    runner.start()
    assert started.wait(60)
    status, answer = server.post("/prompt", {"prompt": workflows.load(name)})
    server.post("/queue", {"delete": [answer.get("prompt_id")]})
    cancelled = time.monotonic()
    server.post("/interrupt")
    runner.join(60)
    assert time.monotonic() - cancelled < 2
    assert ended[0].kind == "execution_interrupted"
    assert status == 200, answer
    assert answer["node_errors"] == {}


def one_round(prompt, prefix, images, expand_inputs, seed, settings):
    """The nodes of one hand-wired round; returns the id of its decoded frames."""

    def link(kind):
        return workflows.nodes_of(prompt, kind)[0]

    texts = workflows.nodes_of(prompt, "CLIPTextEncode")
    vae, windows = [link("VAELoader"), 0], [link("CanvasWindows"), 0]
    prompt[f"{prefix}expand"] = {
        "class_type": "CanvasExpand",
        "inputs": {"images": images, "anchor": "center", "offset_x": 0, "offset_y": 0, "multiple": 8, **expand_inputs},
    }
    prompt[f"{prefix}layout"] = {
        "class_type": "CanvasEncodeLayout",
        "inputs": {
            "positive": [texts[0], 0],
            "negative": [texts[1], 0],
            "images": images,
            "canvas": [f"{prefix}expand", 0],
            "windows": windows,
            "encoder": [link("CanvasLoadLayoutEncoder"), 0],
            "fps": settings["fps"],
            "rre": settings["rre"],
        },
    }
    prompt[f"{prefix}known"] = {
        "class_type": "InpaintModelConditioning",
        "inputs": {
            "positive": [f"{prefix}layout", 0],
            "negative": [f"{prefix}layout", 1],
            "vae": vae,
            "pixels": [f"{prefix}expand", 1],
            "mask": [f"{prefix}expand", 2],
            "noise_mask": False,
        },
    }
    sampler = {name: settings[name] for name in ("steps", "cfg", "sampler_name", "scheduler")}
    prompt[f"{prefix}sample"] = {
        "class_type": "CanvasTiledSampler",
        "inputs": {
            "model": [link("CanvasLoadModel"), 0],
            "positive": [f"{prefix}known", 0],
            "negative": [f"{prefix}known", 1],
            "latent": [f"{prefix}known", 2],
            "windows": windows,
            "seed": seed,
            "denoise": 1.0,
            **sampler,
        },
    }
    prompt[f"{prefix}decode"] = {"class_type": "VAEDecode", "inputs": {"samples": [f"{prefix}sample", 0], "vae": vae}}
    return f"{prefix}decode"


def composite(prompt, name, result, source, canvas, feather):
    prompt[name] = {
        "class_type": "CanvasComposite",
        "inputs": {"result": [result, 0], "source": source, "canvas": canvas, "feather": feather, "how": "feather"},
    }


@pytest.mark.parametrize("start_from", ["source", "previous"])
def test_rounds_equal_the_hand_wired_graph(server, start_from):
    prompt = small("follow_your_canvas_2k", {"CanvasOutpaintRounds": {"start_from": start_from}})
    rounds = workflows.nodes_of(prompt, "CanvasOutpaintRounds")[0]
    settings = prompt[rounds]["inputs"]
    source, canvas = settings["images"], settings["canvas"]
    ours = run_for_frames(server, prompt, rounds)

    hand = {key: value for key, value in prompt.items() if key != rounds}
    first = one_round(
        hand, "a_", source, {"how": "exact size", "how.width": 160, "how.height": 104}, settings["seed"], settings
    )
    composite(hand, "a_paste", first, source, ["a_expand", 0], settings["feather"])
    start = ["a_paste", 0] if start_from == "source" else [first, 0]
    second = one_round(
        hand, "b_", start, {"how": "exact size", "how.width": 256, "how.height": 144}, settings["seed"] + 1, settings
    )
    composite(hand, "b_paste", second, source, canvas, settings["feather"])
    wired = run_for_frames(server, hand, "b_paste")
    assert ours.shape == wired.shape == (16, 144, 256, 3)
    assert np.array_equal(ours, wired)


def test_source_pixels_come_back_exactly(server):
    prompt = small("follow_your_canvas_2k")
    rounds = workflows.nodes_of(prompt, "CanvasOutpaintRounds")[0]
    result = run_for_frames(server, prompt, rounds)
    source = run_for_frames(server, prompt, workflows.nodes_of(prompt, "ImageScale")[0])
    feather = prompt[rounds]["inputs"]["feather"]
    inside = slice(feather, 64 - feather)
    y, x = (144 - 64) // 2, (256 - 64) // 2
    assert np.array_equal(result[:, y : y + 64, x : x + 64][:, inside, inside], source[:, inside, inside])


def test_a_clip_with_sound_keeps_it(server, base, tmp_path):
    path = base / "input" / "tone.mp4"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=8)
        video.width = video.height = 64
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=44100, layout="mono")
        for index in range(16):
            frame = np.full((64, 64, 3), index * 10, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(video.encode())
        tone = torch.sin(torch.arange(88200) * 440 * 2 * torch.pi / 44100).numpy()[None]
        samples = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        samples.sample_rate = 44100
        container.mux(audio.encode(samples))
        container.mux(audio.encode())
    outcome = server.run(small("follow_your_canvas_single_round", {"LoadVideo": {"file": "tone.mp4"}}))
    assert outcome.kind == "execution_success", outcome.message
    with av.open(str(download(server, videos(outcome)[0], tmp_path))) as result:
        sound = sum(frame.samples for frame in result.decode(audio=0))
    assert abs(sound / 44100 - 2) < 0.15
