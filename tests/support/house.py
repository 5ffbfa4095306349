"""The rules of the house, as functions that tell in sentences what breaks them."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
CORE = ROOT / "canvas_core"
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
HEAVY = {"diffusers", "transformers"}
UNIX = {"fcntl", "resource"}
MODULE_LIMIT, FUNCTION_LIMIT = 300, 40

RANKS = {
    **dict.fromkeys(("errors", "progress"), 0),
    "atomic_write": 1,
    "plan": 2,
    "media": 3,
    "pixels": 4,
    **dict.fromkeys(("networks", "sampling", "drawing"), 5),
    "systems": 6,
    "systems/": 7,  # the folder of a system
    **dict.fromkeys(("systems.catalogue", "systems.checkpoint"), 8),
    "engine": 9,
    **dict.fromkeys(("evaluation", "training"), 10),
    "cli": 11,
    **dict.fromkeys(("__init__", "__main__"), 12),
}
"""Rooms of canvas_core, lowest first: an import goes to a lower rank or stays in its room."""

SYSTEMS = sorted(path.name for path in (CORE / "systems").iterdir() if (path / "files.py").is_file())
MAY_NAME_SYSTEMS = (
    "canvas_core/training/",
    "canvas_core/systems/catalogue.py",
    "scripts/plans/",
    "bench/",
    "nodes/__init__.py",
)
GENERIC = ("plan", "media", "pixels", "networks", "sampling", "drawing", "engine", "evaluation", "cli")
"""Rooms that know no system, whatever the import."""


def modules(folder):
    return sorted((ROOT / folder).rglob("*.py"))


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def dotted(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


def imports(path):
    """Absolute names of what a file imports, wherever the import stands, lazily or for types: module, and module.name."""
    here = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            up = here[: len(here) - node.level + 1] if node.level else ()
            module = ".".join([*up, *([node.module] if node.module else [])])
            names = [f"{module}.{alias.name}" for alias in node.names]
            found = [name for name in names if is_module(name)]
            yield from found or [module]


def is_module(name):
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def room_of(name):
    """(room, rank) of a module of canvas_core; the folder of a system is a room of its own."""
    parts = name.split(".")[1:] or ["__init__"]
    if parts[0] == "systems" and len(parts) > 1:
        if parts[1] in SYSTEMS:
            return f"systems/{parts[1]}", RANKS["systems/"]
        full = ".".join(parts[:2])
        return ("above the systems", RANKS[full]) if full in RANKS else ("systems", RANKS["systems"])
    return parts[0], RANKS[parts[0]]


def upward(path):
    """Imports of a module of canvas_core that do not go down, as sentences."""
    room, rank = room_of(dotted(path))
    for name in imports(path):
        if name.split(".")[0] == "canvas_core":
            other, height = room_of(name)
            if other != room and height >= rank:
                yield f"{name_of(path)} imports {name}, but {room} (rank {rank}) may only import lower rooms, and {other} has rank {height}: move what both need down, or hand it in as an argument"


def cycles(path):
    """Modules that a module imports and that import it, as sentences."""
    for name in imports(path):
        other = ROOT.joinpath(*name.split("."))
        file = next((one for one in (other.with_suffix(".py"), other / "__init__.py") if one.is_file()), None)
        if file and file != path and dotted(path) in imports(file):
            yield f"{name_of(path)} and {name_of(file)} import each other: move what both need into a third module below them"


def named_systems(path):
    """Systems that a module outside their folders names, as sentences: by an import, or as a text that is no docstring."""
    own = [part for part in path.relative_to(ROOT).parts if path.stem in SYSTEMS or part in SYSTEMS]
    if own or name_of(path).startswith(MAY_NAME_SYSTEMS):
        return
    for name in imports(path):
        found = [system for system in SYSTEMS if f"systems.{system}" in name]
        if found:
            yield f"{name_of(path)} imports {name}, but only the catalogue may name {found[0]}: go through the System record, or move this into the system's folder"


def of_comfyui(path):
    return {name for name in imports(path) if name.split(".")[0] in COMFYUI and not is_module(name)}


def code_lines(node, lines):
    """Lines of a function's body that hold code: no signature, docstring, comment or blank line."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    if not body:
        return 0
    text = [line.strip() for line in lines[body[0].lineno - 1 : node.end_lineno]]
    return sum(bool(line) and not line.startswith("#") for line in text)


def functions(path):
    """(name, code lines) of every function of a file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    tree = ast.parse("\n".join(lines))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [(node.name, code_lines(node, lines)) for node in found]


def top_level(path):
    """Names of modules that are imported as soon as the file is."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]
