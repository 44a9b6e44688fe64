"""Files that are either whole or not there."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from chipfit.core.errors import ChipfitError

_SUFFIX = ".part"


def write_atomically(path: Path, data: bytes) -> None:
    """Writes a file under a temporary name and renames it, so that a reader or a crash never meets half of it.

    The bytes reach the disk before the name does: after a power cut an empty file under its name would pass for whole.

    Raises:
        ChipfitError: the disk is full or the place cannot be written.
    """
    part = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}{_SUFFIX}")
    try:
        with part.open("xb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        part.replace(path)
    except OSError as e:
        raise ChipfitError(
            f"could not write {path}: {e.strerror or e}; free some space there, or give another place"
        ) from e
    finally:
        part.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Removes what killed writers left in a folder. Only for the holder of its lock."""
    for part in folder.glob(f".*{_SUFFIX}"):
        part.unlink(missing_ok=True)
