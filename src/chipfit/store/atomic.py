"""Files that are either whole or not there."""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

from chipfit.core.errors import BadInput, ChipfitError, as_told
from chipfit.core.scratch import running

_SUFFIX = ".part"


def write_atomically(path: Path, data: bytes) -> None:
    """Writes a file under a temporary name and renames it, so that a reader or a crash never meets half of it.

    The bytes reach the disk before the name does: after a power cut an empty file under its name would pass for whole.

    Raises:
        BadInput: the place cannot be written: no such folder, no permission, a name that is too long.
        ChipfitError: the disk is full, or fails.
    """
    part = path.with_name(f".{path.name[:100]}.{os.getpid()}-{secrets.token_hex(4)}{_SUFFIX}")
    try:
        with part.open("xb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        part.replace(path)
    except OSError as e:
        if isinstance(as_told(e), BadInput):
            raise BadInput(f"could not write {path}: {e.strerror}; give another place") from e
        raise ChipfitError(
            f"could not write {path}: {e.strerror or e}; free some space there, or give another place"
        ) from e
    finally:
        with suppress(OSError):  # a folder that is gone, or was never there
            part.unlink(missing_ok=True)


def sweep(folder: Path, *, shared: bool = False) -> None:
    """Removes what killed writers left in a folder.

    For the holder of its lock; in a folder that is `shared` only what is known to be of a dead process.
    """
    for part in folder.glob(f".*{_SUFFIX}"):
        writer = re.search(r"\.([0-9]+)-[0-9a-f]+\.part$", part.name)
        if not shared or (writer is not None and not running(int(writer[1]))):
            with suppress(OSError):
                part.unlink(missing_ok=True)
