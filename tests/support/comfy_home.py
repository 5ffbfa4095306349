"""Where ComfyUI is, if it is anywhere."""

import os
from pathlib import Path

PACK = Path(__file__).parents[2]


def find_comfyui() -> Path | None:
    """COMFYUI_PATH, then two folders up (the pack inside custom_nodes), then ~/comfy/ComfyUI."""
    places = [os.environ.get("COMFYUI_PATH"), PACK.parents[1], Path.home() / "comfy" / "ComfyUI"]
    for place in places:
        if place and (Path(place) / "comfy" / "samplers.py").is_file():
            return Path(place)
    return None


if __name__ == "__main__":
    print(find_comfyui() or "")  # noqa: T201 - read by the Makefile
