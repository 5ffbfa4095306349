"""The reference workflows in API form, and how the tests make them small."""

import copy
import json

from comfy_home import PACK

FOLDER = PACK / "workflows" / "api"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
LONG = [name for name in NAMES if "long" in name]
"""Those that sample by levels."""
QUICK = [name for name in NAMES if name.startswith("quick_start") and name not in LONG]
"""Those that run the built-in model on all frames at once."""

SMALL = {
    "ImageScale": {"width": 64, "height": 64},
    "CanvasExpand": {"how.width": 256, "how.height": 144},
    "CanvasWindows": {"window": 64, "overlap": 16},
    "CanvasTiledSampler": {"steps": 3},
    "CanvasOutpaintRounds": {"steps": 3},
    "BasicScheduler": {"steps": 3},
}


def load(name):
    return json.loads((FOLDER / f"{name}.json").read_text())


def nodes_of(prompt, kind):
    """Ids of the nodes of one class."""
    return [key for key, node in prompt.items() if node["class_type"] == kind]


def the(prompt, kind):
    """The only node of a class."""
    (node,) = nodes_of(prompt, kind)
    return node


def patched(prompt, changes):
    """A copy with inputs of whole classes of nodes replaced: {class: {input: value}}."""
    prompt = copy.deepcopy(prompt)
    for kind, inputs in changes.items():
        for key in nodes_of(prompt, kind):
            prompt[key]["inputs"] |= inputs
    return prompt


def small(name, changes=None):
    return patched(patched(load(name), SMALL), changes or {})
