"""Write locales/en/nodeDefs.json and the golden schema from a running ComfyUI.

    python scripts/build_locales.py

The golden schema is the public contract: its diff may only add inputs at the end.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

PACK = Path(__file__).parents[1]
sys.path[:0] = [str(PACK / "tests" / "support"), str(PACK / "tests" / "server")]

from comfy_home import find_comfyui  # noqa: E402
from comfy_server import running  # noqa: E402


def locale_inputs(inputs: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Name and tooltip of every input; nested ones as outer_inner."""
    found: dict[str, Any] = {}
    for key, spec in inputs.items():
        found[prefix + key] = {"name": key, "tooltip": spec[1].get("tooltip", "")}
        for option in spec[1].get("options", []):
            if isinstance(option, dict):
                for nested in option["inputs"].values():
                    found |= locale_inputs(nested, f"{prefix}{key}_")
    return found


def locale(info: dict[str, Any]) -> dict[str, Any]:
    """The locale entry of one node."""
    inputs: dict[str, Any] = {}
    for group in ("required", "optional"):
        inputs |= locale_inputs(info["input"].get(group, {}))
    outputs = {str(index): {"name": name} for index, name in enumerate(info["output_name"])}
    return {
        "display_name": info["display_name"],
        "description": info["description"],
        "inputs": inputs,
        "outputs": outputs,
    }


def write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def main() -> None:
    """Write both files."""
    root = find_comfyui()
    if root is None:
        sys.exit("ComfyUI was not found; set COMFYUI_PATH")
    golden = PACK / "tests" / "server" / "object_info.json"
    golden.exists() or golden.write_text("{}")
    from test_schema import schema

    with tempfile.TemporaryDirectory() as folder, running(root, Path(folder)) as server:
        nodes = {name: info for name, info in server.json("/object_info").items() if name.startswith("Canvas")}
    write(PACK / "locales" / "en" / "nodeDefs.json", {name: locale(info) for name, info in nodes.items()})
    write(golden, {name: schema(info) for name, info in nodes.items()})


if __name__ == "__main__":
    main()
