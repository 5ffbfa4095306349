"""ComfyUI starts without the heavy libraries: none is among what the nodes and the catalogue import when they are imported."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = {"diffusers", "transformers", "segment_anything"}


def file_of(module):
    """The file of a module of ours, or None."""
    path = ROOT.joinpath(*module.split("."))
    return next((one for one in (path / "__init__.py", path.with_suffix(".py")) if one.is_file()), None)


def with_packages(module):
    """A module and the packages that are imported before it."""
    parts = module.split(".")
    return [".".join(parts[: count + 1]) for count in range(len(parts))]


def statements(body):
    """Statements that run when a module is imported: none of functions, and none for type checkers alone."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        yield node
        hidden = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for name in ("body", "orelse", "finalbody"):
            if not (hidden and name == "body"):
                yield from statements(getattr(node, name, []))
        for handler in getattr(node, "handlers", []):
            yield from statements(handler.body)


def imported(module):
    """Absolute names of what a module of ours imports when it is imported."""
    path = file_of(module)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in statements(ast.parse(path.read_text()).body):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # Nothing is left where the nodes reach out to canvas_core: ComfyUI loads both under a package of its own.
            up = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*up, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}".lstrip(".") for alias in node.names)


def closure(*starts):
    """Every module that importing these imports, with the chain of modules that leads to it; of others their top names."""
    chains = {start: [start] for start in starts}
    waiting = list(starts)
    while waiting:
        module = waiting.pop(0)
        for name in (one for found in imported(module) if found for one in with_packages(found)):
            known = name if file_of(name) else name.split(".")[0]
            if known not in chains:
                chains[known] = [*chains[module], known]
                if file_of(known):
                    waiting.append(known)
    return chains


def modules_of(package):
    """Every module of a package; its own `__init__` imports them late."""
    paths = (ROOT / package).rglob("*.py")
    return sorted(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths)


def assert_light(chains):
    heavy = [" -> ".join(chain) for name, chain in chains.items() if name in HEAVY]
    assert not heavy, f"importing these chains of modules loads what ComfyUI must start without: {'; '.join(heavy)}"


def test_the_nodes_load_no_heavy_library():
    chains = closure(*modules_of("nodes"))
    assert {"canvas_core.systems.checkpoint", "canvas_core.systems.follow_your_canvas.sam", "torch"} <= set(chains)
    assert_light(chains)


def test_the_catalogue_loads_no_heavy_library():
    chains = closure("canvas_core.systems.catalogue")
    assert {"canvas_core.systems.m3ddm.network", "canvas_core", "torch"} <= set(chains)
    assert_light(chains)


def test_what_is_heavy_is_found_with_its_chain():
    chains = closure("canvas_core.training.canvas_task")
    assert chains["segment_anything"][0] == "canvas_core.training.canvas_task"
    with pytest.raises(AssertionError, match=r"canvas_core\.training\.canvas_task -> .*segment_anything"):
        assert_light(chains)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("def f():\n    import late", []),
        ("if TYPE_CHECKING:\n    import typed\nelse:\n    import real", ["real"]),
        ("try:\n    import one\nexcept ImportError:\n    import other", ["one", "other"]),
        ("class A:\n    import inside\n    def f(self):\n        import late", ["inside"]),
    ],
)
def test_only_what_runs_on_import_counts(text, names):
    found = [node for node in statements(ast.parse(text).body) if isinstance(node, ast.Import)]
    assert [alias.name for node in found for alias in node.names] == names
