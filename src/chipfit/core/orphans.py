"""A process that ends with the one that started it, however that one ended.

Two ways, since neither is enough: Linux sends a signal at the parent's death, which no busy loop can delay but which
follows the parent's *thread*; and a thread here looks at the parent's number, which works on every system but only
while the interpreter gets to run it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

LOOK_S = 1.0
"""Seconds between two looks at the parent."""

_SET_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of Linux's <sys/prctl.h>."""


def end_with_parent(parent: int, *, by_signal: bool = True) -> None:
    """Ends this process at once when the process `parent` ends, or now where it has ended already.

    To be called first thing in a child, before what takes long to import: the parent may be killed meanwhile.

    Args:
        parent: number of the process that started this one, as that one knows itself (`os.getpid`).
        by_signal: False where the thread that started this process may end before its process does.
    """
    if by_signal and sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the signal was set
        os._exit(1)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_S)
        os._exit(1)

    threading.Thread(target=watch, name="end with parent", daemon=True).start()


def on_main_thread() -> bool:
    """True where a process that is started now may end by signal: this thread lives as long as its process."""
    return threading.current_thread() is threading.main_thread()
