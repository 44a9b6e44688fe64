"""A command ends once its result is out, whatever user code started in its process and never stopped."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from contextlib import suppress

PATIENCE_S = 10.0
"""Seconds that what is left running may still take."""

_exit_at_once = os._exit
_sleep = time.sleep


def end_soon(code: int) -> None:
    """Ends this process by force with this exit code where it has not ended by itself in `PATIENCE_S` seconds.

    Python waits at its end for every thread that is no daemon, for processes of `multiprocessing`, and for functions
    that were registered to be called at exit: a user's `build` or `loaders` may leave one that never ends. To be called
    last, with all output flushed.
    """
    with suppress(RuntimeError):  # no thread can be started
        threading.Thread(target=_end, args=(code,), name="end soon", daemon=True).start()


def _end(code: int) -> None:
    _sleep(PATIENCE_S)
    for child in multiprocessing.active_children():
        child.kill()
    with suppress(OSError):
        os.write(2, b"note: what user code left running (a thread, a process, an exit function) was ended\n")
    _exit_at_once(code)
