"""Stdout is for results alone: whatever else prints while a command runs, however it does so, lands on stderr.

A user's `build` may print, in Python, in C, in a process that it starts, in a thread or at exit; training processes
inherit its habits. So the file descriptor 1 itself stands for stderr from the first moment on, and results go to a
copy of what it was before.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

_kept: list[TextIO] = []


def results() -> TextIO:
    """Where results go: what stdout was before `for_results`."""
    return _kept[-1] if _kept else sys.stdout


@contextmanager
def for_results(*, for_good: bool) -> Iterator[None]:
    """Within, stdout stands for stderr and `results()` for what it was.

    Args:
        for_good: it stays so: this process ends with the command, and what prints at exit must not follow the results.
    """
    before = sys.stdout
    copy = _copy_of_stdout()
    stream = before
    if copy is not None and _descriptor(before) == 1:
        # a result is never lost to a terminal that has no sign for one of its characters
        stream = open(copy, "w", encoding=before.encoding, errors="backslashreplace", closefd=False)  # noqa: SIM115
    _kept.append(stream)
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        if not for_good:
            _kept.pop()
            with suppress(OSError, ValueError):
                stream.flush()
            sys.stdout = before
            if copy is not None:
                os.dup2(copy, 1)
                os.close(copy)


def _copy_of_stdout() -> int | None:
    """A copy of descriptor 1, which is stderr from now on; None where one of the two is closed."""
    with suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
    try:
        copy = os.dup(1)
    except OSError:
        return None
    try:
        os.dup2(2, 1)
    except OSError:
        os.close(copy)
        return None
    return copy


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (AttributeError, OSError, ValueError):  # none, or one that only collects text
        return None
