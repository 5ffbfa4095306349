"""Model folders: our files live where users already keep such files."""

from pathlib import Path

import folder_paths

from ...canvas_core.systems import built_in

SAM_FOLDER = "sams"
"""The folder other packs use for Segment Anything."""


def register_folders() -> None:
    """Add models/sams and the folders of the built-in model, keeping what the user or another pack has registered."""
    _add(SAM_FOLDER, Path(folder_paths.models_dir) / SAM_FOLDER)
    for path in (built_in.MODEL, built_in.SAM, built_in.VAE):
        _add(path.parent.name, path.parent)


def _add(name: str, folder: Path) -> None:
    """Search a folder last, after the user's own."""
    paths, extensions = folder_paths.folder_names_and_paths.get(name, ([], set()))
    merged = list(dict.fromkeys([*paths, str(folder)]))
    folder_paths.folder_names_and_paths[name] = (merged, set(extensions) | folder_paths.supported_pt_extensions)
