"""ComfyUI and this pack inside the test process, on the CPU."""

import importlib.util
import sys

import pytest
from comfy_home import PACK, find_comfyui

NAME = "video_canvas_pack"


def load_comfyui():
    """Make ComfyUI importable; skips the test where there is none."""
    root = find_comfyui()
    if root is None:
        pytest.skip("ComfyUI was not found; set COMFYUI_PATH", allow_module_level=True)
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    arguments, sys.argv = sys.argv, sys.argv[:1]  # core parses the command line when it is imported
    try:
        import comfy.options

        comfy.options.enable_args_parsing(False)
        from comfy.cli_args import args

        args.cpu = True
        import nodes  # noqa: F401
    finally:
        sys.argv = arguments
    return root


def load_pack():
    """The pack as ComfyUI imports it: a package loaded by file path under a name of its own."""
    load_comfyui()
    if NAME not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            NAME, PACK / "__init__.py", submodule_search_locations=[str(PACK)]
        )
        module = importlib.util.module_from_spec(spec)
        sys.modules[NAME] = module
        spec.loader.exec_module(module)
    return sys.modules[NAME]


def part(path):
    """A module of the pack, for example part("nodes.adapters.windows")."""
    load_pack()
    return importlib.import_module(f"{NAME}.{path}")
