"""The layers point one way: canvas_core knows nothing of ComfyUI, and only the nodes' adapters know its internals."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMFYUI = {
    "comfy",
    "comfy_api",
    "comfy_execution",
    "comfy_extras",
    "execution",
    "folder_paths",
    "latent_preview",
    "node_helpers",
    "nodes",
    "server",
}
NODE_IMPORTS = {"comfy_api.latest", "comfy.samplers", "folder_paths", "node_helpers"}
MODULE_LIMIT, FUNCTION_LIMIT = 300, 40


def modules(folder):
    return sorted((ROOT / folder).rglob("*.py"))


def name_of(path):
    return str(path.relative_to(ROOT))


def imports(path):
    """Absolute names of the modules a file imports, wherever the import stands; relative ones keep their dots."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add("." * node.level + (node.module or ""))
    return names


def of_comfyui(path):
    return {name for name in imports(path) if name.split(".")[0] in COMFYUI}


def code_lines(node, lines):
    """Lines of a function's body that hold code: no signature, docstring, comment or blank line."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    if not body:
        return 0
    text = [line.strip() for line in lines[body[0].lineno - 1 : node.end_lineno]]
    return sum(bool(line) and not line.startswith("#") for line in text)


def functions(path):
    """(name, code lines) of every function of a file."""
    lines = path.read_text().splitlines()
    found = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return [(node.name, code_lines(node, lines)) for node in found]


TOP = [path for path in sorted(ROOT.iterdir()) if path.name[0] != "." and path.name not in ("nodes", "tests")]
PACK = [path for top in TOP for path in (sorted(top.rglob("*.py")) if top.is_dir() else [top]) if path.suffix == ".py"]
LIMITED = [*modules("canvas_core"), *modules("nodes")]


def test_there_is_something_to_check():
    assert {"canvas_core/cli.py", "__init__.py"} <= {name_of(path) for path in PACK}
    assert {"canvas_core/cli.py", "nodes/canvas.py", "nodes/adapters/model.py"} <= {name_of(path) for path in LIMITED}
    assert any(of_comfyui(path) for path in modules("nodes/adapters"))


@pytest.mark.parametrize("path", PACK, ids=name_of)
def test_only_nodes_import_comfyui(path):
    assert not of_comfyui(path)


@pytest.mark.parametrize("path", modules("canvas_core"), ids=name_of)
def test_canvas_core_does_not_reach_out_of_itself(path):
    depth = len(path.relative_to(ROOT / "canvas_core").parts)
    levels = [len(name) - len(name.lstrip(".")) for name in imports(path)]
    assert max(levels, default=0) <= depth


@pytest.mark.parametrize("path", sorted((ROOT / "nodes").glob("*.py")), ids=name_of)
def test_node_modules_leave_internals_to_the_adapters(path):
    assert of_comfyui(path) <= NODE_IMPORTS


def test_the_command_line_loads_no_module_of_comfyui():
    code = "import sys, canvas_core.cli, canvas_core.commands; print(*sorted(sys.modules))"
    call = [sys.executable, "-P", "-c", code]
    loaded = subprocess.run(call, capture_output=True, text=True, check=True, cwd=ROOT.parent).stdout.split()
    assert "canvas_core.commands" in loaded
    assert not {name for name in loaded if name.split(".")[0] in COMFYUI}


@pytest.mark.parametrize("path", LIMITED, ids=name_of)
def test_modules_fit_three_screens(path):
    assert len(path.read_text().splitlines()) <= MODULE_LIMIT


@pytest.mark.parametrize("path", LIMITED, ids=name_of)
def test_functions_fit_one_screen(path):
    assert not [found for found in functions(path) if found[1] > FUNCTION_LIMIT]


def test_lines_are_counted_as_said(tmp_path):
    text = 'def f(\n    a,\n):\n    """Doc.\n\n    More.\n    """\n    # why\n    a += 1\n\n    return (\n        a\n    )\n'
    (tmp_path / "f.py").write_text(text)
    assert functions(tmp_path / "f.py") == [("f", 4)]
