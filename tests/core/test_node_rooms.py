"""One node module and one adapter folder a system: what any model needs knows no system, and no system knows another."""

import ast
from pathlib import Path

import pytest

NODES = Path(__file__).parents[2] / "nodes"
ADAPTERS = NODES / "adapters"
SYSTEMS = sorted(path.parent.name for path in ADAPTERS.glob("*/__init__.py"))
SHARED = {"sockets", "inputs", "adapters"}
"""What node modules may import of their own package"""
LISTS = {"model", "formulas"}
"""Adapters that list the systems"""


def imports(path):
    """Parts of the relative names a module imports, wherever the import stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            module = node.module.split(".") if node.module else []
            yield from ([node.level, *module, alias.name] for alias in node.names)


def named_systems(path):
    return {part for name in imports(path) for part in name if part in SYSTEMS}


def flat(folder, *besides):
    return sorted(path for path in folder.glob("*.py") if path.stem not in ("__init__", *besides))


def test_there_are_systems():
    assert {"follow_your_canvas", "m3ddm"} <= set(SYSTEMS)
    assert named_systems(ADAPTERS / "model.py") == named_systems(ADAPTERS / "formulas.py") == set(SYSTEMS)


@pytest.mark.parametrize("path", flat(NODES), ids=lambda path: path.stem)
def test_node_modules_do_not_import_each_other(path):
    own = {name[1] for name in imports(path) if name[0] == 1}
    assert own <= SHARED


@pytest.mark.parametrize("path", flat(NODES), ids=lambda path: path.stem)
def test_node_modules_name_no_system_but_their_own(path):
    assert named_systems(path) <= {path.stem}


@pytest.mark.parametrize("path", flat(ADAPTERS, *LISTS), ids=lambda path: path.stem)
def test_adapters_for_any_model_name_no_system(path):
    assert not named_systems(path)


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_system_s_adapters_name_no_other(system):
    assert (NODES / f"{system}.py").is_file()
    for path in (NODES / f"{system}.py", *(ADAPTERS / system).glob("*.py")):
        assert named_systems(path) <= {system}
        assert not {part for name in imports(path) for part in name if part in LISTS and name[0] == 2}
