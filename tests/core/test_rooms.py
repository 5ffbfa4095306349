"""The house: imports go down from room to room, systems stay in their folders, and only the nodes know ComfyUI."""

import ast
import subprocess
import sys

import pytest
from house import (
    COMFYUI,
    FUNCTION_LIMIT,
    GENERIC,
    HEAVY,
    MODULE_LIMIT,
    NODE_IMPORTS,
    ROOT,
    SYSTEMS,
    UNIX,
    cycles,
    dotted,
    functions,
    imports,
    modules,
    name_of,
    named_systems,
    of_comfyui,
    room_of,
    top_level,
    upward,
)

from canvas_core.systems import catalogue

TOP = [path for path in sorted(ROOT.iterdir()) if path.name[0] != "." and path.name not in ("nodes", "tests", "output")]
PACK = [path for top in TOP for path in (sorted(top.rglob("*.py")) if top.is_dir() else [top]) if path.suffix == ".py"]
LIMITED = [*modules("canvas_core"), *modules("nodes")]


def test_there_is_something_to_check():
    assert {"canvas_core/cli/__init__.py", "__init__.py"} <= {name_of(path) for path in PACK}
    assert {"canvas_core/engine.py", "nodes/canvas.py", "nodes/adapters/model.py"} <= {
        name_of(path) for path in LIMITED
    }
    assert any(of_comfyui(path) for path in modules("nodes/adapters"))
    assert len(SYSTEMS) >= 2


@pytest.mark.parametrize("path", modules("canvas_core"), ids=name_of)
def test_imports_go_down(path):
    assert not list(upward(path))


@pytest.mark.parametrize("path", LIMITED, ids=name_of)
def test_no_two_modules_import_each_other(path):
    assert not list(cycles(path))


@pytest.mark.parametrize("path", [*PACK, *modules("nodes")], ids=name_of)
def test_systems_are_named_in_their_folders_alone(path):
    assert not list(named_systems(path))


@pytest.mark.parametrize(
    "path",
    [path for room in GENERIC for path in modules("canvas_core") if room_of(dotted(path))[0] == room],
    ids=name_of,
)
def test_generic_rooms_write_no_system_s_name(path):
    """Nothing but a docstring may name one: a message or a comparison would have to change for each new system."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    spoken = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}

    names = {name for record in catalogue.SYSTEMS for name in (record.name, record.title)}
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in spoken
    ]
    found = [text for text in texts if any(name in text for name in names)]
    assert not found, f"{name_of(path)} writes {found[0]!r}: take the name from the System record, or say it without"


@pytest.mark.parametrize("path", modules("canvas_core"), ids=name_of)
def test_argparse_ends_where_requests_begin(path):
    allowed = ("canvas_core/cli/parser.py", "canvas_core/cli/options.py", "canvas_core/cli/request.py")
    assert "argparse" not in imports(path) or name_of(path) in allowed, (
        f"{name_of(path)} imports argparse: take a typed request"
    )


@pytest.mark.parametrize("path", modules("canvas_core"), ids=name_of)
def test_heavy_libraries_stay_where_networks_run(path):
    room, _ = room_of(dotted(path))
    allowed = (
        (room == "networks" and path.stem in ("autoencoder", "text"))
        or (room.startswith("systems/") and path.stem in ("solver", "model", "known"))
        or room == "training"
    )
    assert allowed or not HEAVY & {name.split(".")[0] for name in imports(path)}, (
        f"{name_of(path)} imports diffusers or transformers: only networks/autoencoder, networks/text and a system's solver, model and known may"
    )


@pytest.mark.parametrize("path", modules("canvas_core"), ids=name_of)
def test_modules_import_on_every_system(path):
    assert not UNIX & set(top_level(path)), (
        f"{name_of(path)} imports a module that Windows lacks: import it inside the function that needs it"
    )


@pytest.mark.parametrize("path", PACK, ids=name_of)
def test_only_nodes_import_comfyui(path):
    assert not of_comfyui(path)


@pytest.mark.parametrize("path", modules("canvas_core"), ids=name_of)
def test_canvas_core_does_not_reach_out_of_itself(path):
    assert not [name for name in imports(path) if name.split(".")[0] in ("nodes", "tests", "scripts", "bench")]


@pytest.mark.parametrize("path", sorted((ROOT / "nodes").glob("*.py")), ids=name_of)
def test_node_modules_leave_internals_to_the_adapters(path):
    assert of_comfyui(path) <= NODE_IMPORTS


def test_the_command_line_loads_no_module_of_comfyui():
    code = "import sys, canvas_core.cli, canvas_core.cli.commands; print(*sorted(sys.modules))"
    call = [sys.executable, "-P", "-c", code]
    loaded = subprocess.run(call, capture_output=True, text=True, check=True, cwd=ROOT.parent).stdout.split()
    assert "canvas_core.cli.commands" in loaded
    assert not {name for name in loaded if name.split(".")[0] in COMFYUI}


@pytest.mark.parametrize("path", LIMITED, ids=name_of)
def test_modules_fit_three_screens(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MODULE_LIMIT


@pytest.mark.parametrize("path", LIMITED, ids=name_of)
def test_functions_fit_one_screen(path):
    assert not [found for found in functions(path) if found[1] > FUNCTION_LIMIT]


def test_lines_are_counted_as_said(tmp_path):
    text = 'def f(\n    a,\n):\n    """Doc.\n\n    More.\n    """\n    # why\n    a += 1\n\n    return (\n        a\n    )\n'
    (tmp_path / "f.py").write_text(text)
    assert functions(tmp_path / "f.py") == [("f", 4)]
