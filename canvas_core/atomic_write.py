"""Writing files whole or not at all, and never over what they are made from."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from .errors import CanvasError


def refuse_same(source: Path, target: Path, error_type: type[CanvasError]) -> None:
    """Raise `error_type` when both are one file, by whatever spelling or link; writing would destroy the source."""
    try:
        same = target.samefile(source)
    except OSError:  # one of them is not there
        return
    if same:
        raise error_type(f"the output {target} is the source itself, but must be another file; choose another name")


def write_whole(target: Path, write: Callable[[Path], object], error_type: type[CanvasError]) -> None:
    """Call write(temporary path), then move the result to `target`.

    On any failure, Ctrl-C and a full disk included, the temporary file is removed and `target` stays as it was.
    Raises `error_type` when the system refuses.
    """
    if not target.parent.is_dir():
        raise error_type(f"there is no folder {target.parent} to write {target.name} into; create it first")
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.stem}.", suffix=target.suffix)
        os.close(handle)
    except OSError as error:
        raise error_type(f"{target.parent} cannot be written to ({error.strerror}); choose another folder") from None
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o644)
        temporary.replace(target)
    except OSError as error:
        raise error_type(
            f"writing {target.name} failed ({error.strerror or error}); free some disk space or choose another folder"
        ) from None
    finally:
        temporary.unlink(missing_ok=True)
