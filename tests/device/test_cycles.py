from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np
import pytest

from chipfit.core.types import Artifact
from chipfit.device import cycles, worker
from chipfit.device.cycles import CounterLost, counter
from chipfit.device.worker import Worker

Small = Callable[..., Artifact]

SOFTWARE, TASK_CLOCK = 1, 1  # the kernel's own counter of a thread's nanoseconds: wherever perf_event_open is


def _counting() -> Callable[[], int]:
    read = counter(SOFTWARE, TASK_CLOCK)
    if read is None:
        pytest.skip("this system has no perf_event_open, or does not permit it")
    return read


def _worker(small: Small) -> Worker:
    made = Worker("onnxruntime", sorted(os.sched_getaffinity(0)), 1, False, 8, 1 << 20)
    for channels in (4, 16):
        a = small(channels)
        made.load(str(channels), False, bytearray(a.data))
    return made


def _ns(of: Worker) -> list[float]:
    _, blobs = of.time("16", "4", 0.02, 5, settle=False)
    return [float(np.median(np.frombuffer(b, np.float64))) for b in blobs[:2]]


def test_a_counter_counts_what_this_thread_does() -> None:
    read = _counting()
    count, cpu_ns = read(), time.thread_time_ns()
    while time.thread_time_ns() - cpu_ns < 5e6:
        sum(range(1000))
    assert 0.8 < (read() - count) / (time.thread_time_ns() - cpu_ns) < 1.2
    assert counter(kind=4_000_000) is None, "a kind of counter that no kernel has"


def test_without_the_system_call_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cycles.platform, "system", lambda: "Darwin")
    assert counter() is None


def test_samples_in_cycles_are_told_in_nanoseconds(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    read = _counting()
    monkeypatch.setattr(worker, "counter", lambda: None)
    plain = _worker(small)
    monkeypatch.setattr(worker, "counter", lambda: lambda: 3 * read())  # at 3 GHz
    by_cycles = _worker(small)
    assert (plain.clock_name, by_cycles.clock_name) == ("CPU time", "cycles")
    for a, b in zip(_ns(plain), _ns(by_cycles), strict=True):
        assert 0.5 < a / b < 2.0


def test_a_counter_that_is_taken_away_leaves_cpu_time(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost() -> int:
        raise CounterLost

    monkeypatch.setattr(worker, "counter", lambda: lost)
    found = _worker(small)
    assert found.clock_name == "cycles"
    assert min(_ns(found)) > 0
    assert found.clock_name == "CPU time"
