"""Prompts run for what comes out of them: frames, or a message."""

import io

import numpy as np
from PIL import Image


def run_twice(server, prompt, message):
    """The prompt fails both times with the same message of one line, and the server lives on."""
    outcomes = [server.run(prompt) for _ in range(2)]
    for outcome in outcomes:
        assert outcome.kind == "execution_error", outcome.kind
        assert message in outcome.message, outcome.message
        assert "\n" not in outcome.message
    assert outcomes[0].message == outcomes[1].message
    assert server.process.poll() is None


def with_saved_image(prompt, node, output=0):
    """A prompt that also saves a node's images losslessly; earlier outputs are taken out."""
    prompt = {
        key: value
        for key, value in prompt.items()
        if value["class_type"] not in ("SaveVideo", "CreateVideo", "CanvasPreview", "SaveImage")
    }
    prompt["save"] = {"class_type": "SaveImage", "inputs": {"images": [node, output], "filename_prefix": "frames"}}
    return prompt


def saved_frames(server, outcome):
    images = [Image.open(io.BytesIO(server.view(item))) for item in outcome.history["outputs"]["save"]["images"]]
    return np.stack([np.asarray(image) for image in images])


def run_for_frames(server, prompt, node, output=0):
    outcome = server.run(with_saved_image(prompt, node, output))
    assert outcome.kind == "execution_success", outcome.message
    return saved_frames(server, outcome)
