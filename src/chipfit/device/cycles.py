"""Cycles of this thread in user mode, where the kernel counts them (Linux, `perf_event_open`).

They leave out what the system does in between, and do not drift with the clock. Unprivileged processes may count their
own where `/proc/sys/kernel/perf_event_paranoid` is 2 or less; many virtual machines have no counter at all.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Callable

_CALL = {"x86_64": 298, "aarch64": 241, "riscv64": 241}
"""Number of the system call by architecture."""

_ATTR_BYTES = 64  # PERF_ATTR_SIZE_VER0: type, size, config, period, sample type, read format, flags, two more
_PINNED, _USER_ONLY = 1 << 2, 1 << 5 | 1 << 6  # always on the counter or in error; neither kernel nor hypervisor
_CLOSE_ON_EXEC = 1 << 3
_HARDWARE, _CPU_CYCLES = 0, 0


class CounterLost(Exception):
    """Somebody with more rights needs the counter."""


LEAST = 1000
"""Cycles that a counter which works has seen when it has been tried."""


def counter(kind: int = _HARDWARE, event: int = _CPU_CYCLES) -> Callable[[], int] | None:
    """What reads the count of this thread, None where there is none. Other events are for other kinds of counters."""
    number = _CALL.get(platform.machine()) if platform.system() == "Linux" else None
    if number is None:
        return None
    attr = struct.pack("=IIQQQQQ", kind, _ATTR_BYTES, event, 0, 0, 0, _PINNED | _USER_ONLY).ljust(_ATTR_BYTES, b"\0")
    this_thread, any_core, no_group = 0, -1, -1
    numbers = map(ctypes.c_long, (this_thread, any_core, no_group, _CLOSE_ON_EXEC))
    descriptor = ctypes.CDLL(None).syscall(ctypes.c_long(number), attr, *numbers)
    if descriptor < 0:
        return None

    def read() -> int:
        told = os.read(descriptor, 8)
        if not told:
            raise CounterLost
        return int.from_bytes(told, "little")

    before = read()
    sum(range(LEAST))
    if read() - before < LEAST:  # some hypervisors let it be opened and never count
        os.close(descriptor)
        return None
    return read
