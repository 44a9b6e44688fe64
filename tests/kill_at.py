"""For programs that tests kill: `kill -9` at the n-th step on the disk, wherever the machine is slow.

A step is a statement of sqlite about to run, bytes about to be flushed to the disk, or a file about to get its name; so
that every state which a killed process can leave behind has a number.
"""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable
from typing import Any


class Steps:
    """Counts steps from now on, and kills this process at one of them."""

    def __init__(self, last: int | None = None) -> None:
        self.done, self._last = 0, last
        self._connect = sqlite3.connect
        sqlite3.connect = self._traced  # type: ignore[assignment]
        os.fsync = self._counted(os.fsync)
        os.replace = self._counted(os.replace)

    def step(self, *_: object) -> None:
        """One step; the last one does not return."""
        self.done += 1
        if self.done == self._last:
            os.kill(os.getpid(), signal.SIGKILL)

    def _traced(self, *args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = self._connect(*args, **kwargs)
        connection.set_trace_callback(self.step)
        return connection

    def _counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.step()
            return real(*args, **kwargs)

        return counted
