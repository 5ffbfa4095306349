"""Model folders: our files live where users already keep such files."""

from pathlib import Path

import folder_paths

SAM_FOLDER = "sams"
"""The folder other packs use for Segment Anything."""


def register_sam_folder() -> None:
    """Add models/sams, keeping what extra_model_paths.yaml or another pack has registered."""
    paths, extensions = folder_paths.folder_names_and_paths.get(SAM_FOLDER, ([], set()))
    default = str(Path(folder_paths.models_dir) / SAM_FOLDER)
    merged = list(dict.fromkeys([*paths, default]))
    folder_paths.folder_names_and_paths[SAM_FOLDER] = (merged, set(extensions) | folder_paths.supported_pt_extensions)
