"""One writer for a run directory, however it ends.

The lock is `flock` on an open file, which the kernel drops when the process dies: kill -9 leaves nothing to clean up.
The file holds the process number only so that others can name it.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from chipfit.core.errors import BadInput

LOCK_NAME = "run.lock"
_held: set[int] = set()


def _let_go_in_child() -> None:
    # A forked child shares the open file and with it the lock; were it to outlive a killed parent, the run would stay
    # locked by a process that knows nothing of it. Closing (not unlocking) leaves the parent's lock alone.
    for fd in _held:
        os.close(fd)
    _held.clear()


os.register_at_fork(after_in_child=_let_go_in_child)


def lock(folder: Path) -> int:
    """Takes the lock of a run directory; returns the file descriptor for `unlock`.

    Raises:
        BadInput: a live process has it (named), or the directory cannot be written.
    """
    try:
        fd = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as e:
        raise BadInput(f"run directory {folder} cannot be written: {e.strerror}; give another one with --out") from e
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
        holder = os.pread(fd, 20, 0).decode("ascii", "replace").strip()
        os.close(fd)
        who = f"process {holder}" if holder else "another process"
        raise BadInput(
            f"run directory {folder} is in use by {who}; wait for it to end, or give another one with --out"
        ) from e
    _held.add(fd)
    os.ftruncate(fd, 0)
    os.pwrite(fd, str(os.getpid()).encode(), 0)
    return fd


def unlock(fd: int) -> None:
    """Gives the lock back. A descriptor that a fork has closed already is left alone."""
    if fd in _held:
        _held.remove(fd)
        os.ftruncate(fd, 0)
        fcntl.flock(fd, fcntl.LOCK_UN)  # a child that was forked a moment ago may not have closed its copy yet
        os.close(fd)
