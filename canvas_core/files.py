"""Writing files whole or not at all."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from .errors import CanvasError


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
