"""Whether a run directory can be made, found out before anything else is done."""

from __future__ import annotations

import os
from pathlib import Path

from chipfit.core.errors import BadInput
from chipfit.core.words import shown


def check_place(folder: Path) -> None:
    """Finds out, without making anything, whether a run directory can be made or written.

    Raises:
        BadInput: a part of the path is a file, or what is there of it cannot be written.
    """
    try:
        there = next(p for p in (folder, *folder.parents) if p.exists())
        is_folder, writable = there.is_dir(), os.access(there, os.W_OK | os.X_OK)
        on_disk = os.statvfs(there).f_blocks > 0  # /proc and /sys have none, and take no files whoever asks
    except OSError as e:
        raise BadInput(
            f"run directory {shown(str(folder))} cannot be made: {e.strerror}; give another one with --out"
        ) from e
    if not is_folder:
        raise BadInput(f"run directory {folder} cannot be made: {str(there)!r} is a file; give another one with --out")
    if not writable or not on_disk:
        raise BadInput(
            f"run directory {folder} cannot be written: no permission in {str(there)!r}; give another one with --out"
        )
