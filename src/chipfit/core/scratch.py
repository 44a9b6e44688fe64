"""Temporary folders that outlive their process only until the next command.

A folder is called `chipfit-PID-...` and holds a file that its process keeps locked. The kernel lets go of the lock
when the process ends, so that a leftover of `kill -9` is told from a folder in use also where process numbers were
given out again, or where another container shares the temporary directory.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_OWNER = ".owner"
_LOCKED_BY_THEN_S = 60.0
_NAME = re.compile(r"chipfit-(\d+)-\w+")


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A temporary folder, gone at the end; one whose process is killed goes at the next `sweep_scratch`.

    Raises:
        OSError: the temporary directory (`$TMPDIR`) is full or cannot be written.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"chipfit-{os.getpid()}-"))
    try:
        with (folder / _OWNER).open("w") as owner:
            fcntl.flock(owner, fcntl.LOCK_EX)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep_scratch() -> list[Path]:
    """Removes the temporary folders of processes that are gone; returns them. Never fails."""
    try:
        there = list(Path(tempfile.gettempdir()).glob("chipfit-*"))
    except OSError:
        return []
    leftovers = [place for place in there if _left_over(place)]
    for place in leftovers:
        shutil.rmtree(place, ignore_errors=True)
    return leftovers


def running(pid: int) -> bool:
    """True where a process of this number is there, whoever's it is."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _left_over(place: Path) -> bool:
    """True for a folder of ours whose process has ended."""
    name = _NAME.fullmatch(place.name)
    with suppress(OSError):
        if name is None or place.is_symlink() or not place.is_dir() or place.stat().st_uid != os.getuid():
            return False
        if not (place / _OWNER).exists():  # killed, or about to lock it: its number tells
            return not running(int(name[1]))
        with (place / _OWNER).open("r+") as owner:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError where its process lives
            return not running(int(name[1])) or time.time() - place.stat().st_mtime > _LOCKED_BY_THEN_S
    return False
