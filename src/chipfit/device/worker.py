"""The process that runs networks, so that a crash, a hang or a leak of a runtime costs one artifact and not the run.

`python -m chipfit.device.worker` speaks `wire` over stdin and stdout: "hello" (engine, cores, threads, whether with
real-time priority), then "prepare", "load", "time", "run", "profile" and "estimate". It imports numpy and one engine,
lives as long as its parent, and times one block per request; what a block means is `protocol`'s business.
"""

from __future__ import annotations

import gc
import importlib
import itertools
import math
import os
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from chipfit.core.orphans import end_with_parent
from chipfit.device.cycles import CounterLost, counter
from chipfit.device.engines.engine import Engine, Estimator, Session
from chipfit.device.wire import Blob, Header, receive, send

WARM_UP, TOLD = 5, 3
"""First runs, which are 1.1 to 8 times slow and count in no block; the last ones tell what a run takes, roughly."""

WARM_UP_NS = 2_000_000_000
"""Longest warm-up, for networks of seconds."""

SAMPLE_NS = 60_000
"""A sample shorter than this is made of several runs, so that reading the clock does not count."""

SETTLE_NS = 800_000
"""A network that is to settle runs untimed for so long each time its turn comes, and timed for as long.

What ran before leaves its mark for longer than a run: caches, and on x86 units and clock rates that follow the kernels
in use. [measured] Sapphire Rapids, OpenVINO (AMX), three int8 networks that take 34, 38 and 121 us in a loop of their
own, against float canaries of 11, 25, 63, 175 and 470 us: run by run up to 30 % more, by the rung; after 200 us, 32 to
40 us for the first; after 800 us 34 to 37 us, 38 to 41, 117 to 132, nearest canary 34.1, 38.4 and 117.
"""

BURST_NS = 200_000_000
"""Longest real-time stretch: the kernel takes the core away from those who hold it for .95 s."""


@dataclass(slots=True)
class Loaded:
    """A session, the bytes of its file, and what one run took right after loading."""

    session: Session
    size: int
    pinned: bool
    ns: float


class Worker:
    """Sessions by digest, dropped least recently used, and the requests on them."""

    def __init__(
        self, engine: str, cores: list[int], threads: int, real_time: bool, keep: int, keep_bytes: int
    ) -> None:
        self.threads, self.keep, self.keep_bytes = threads, keep, keep_bytes
        self.loaded: OrderedDict[str, Loaded] = OrderedDict()
        self.coming: dict[str, Future[Session]] = {}
        elsewhere = _cores() - set(cores)
        self.beside = ThreadPoolExecutor(1, initializer=_pin, initargs=(elsewhere,)) if elsewhere else None
        self.pinned_to = _pin(cores)
        made: Any = importlib.import_module(f"chipfit.device.engines.{engine}").engine(threads)
        self.engine: Engine = made  # or an estimator, or both: the device asks for nothing that its engine has not
        self.estimator: Estimator = made
        self.real_time = real_time and _scheduled(True)
        _scheduled(False)
        # A run that is pre-empted takes its slice of wall time with it: without real-time priority two networks of
        # 4 ms on a busy core were measured with 50 % spread by wall and 1.4 % by CPU time. CPU time counts this
        # thread only, and some systems count it in steps of 16 ms. Cycles of this thread leave out the system, too.
        self.fine = time.get_clock_info("thread_time").resolution <= 1e-6
        self.cycles = counter() if threads == 1 and self.fine else None
        by_wall = self.real_time or threads > 1 or not self.fine
        self.clock_name = "cycles" if self.cycles else "wall time" if by_wall else "CPU time"

    @property
    def clock(self) -> Callable[[], int]:
        """What samples are taken with: the surest that there is."""
        if self.cycles:
            return self.cycles
        return time.perf_counter_ns if self.clock_name == "wall time" else time.thread_time_ns

    def hello(self) -> Header:
        """What the parent should know of this process."""
        return {
            "version": self.engine.version,
            "clock": self.clock_name,
            "real_time": self.real_time,
            "pinned_to": self.pinned_to,
            "pid": os.getpid(),
        }

    def prepare(self, digest: str, data: bytearray) -> Header:
        """Begins to load a file on another core, if there is one, while this one times others."""
        if self.beside is not None:
            self.coming[digest] = self.beside.submit(self.engine.load, bytes(data))
        return {}

    def load(self, digest: str, pinned: bool, data: bytearray) -> Header:
        """Makes a session, warms it up, checks that its outputs are finite, and says what one run takes."""
        coming = self.coming.pop(digest, None)
        session = self.engine.load(bytes(data)) if coming is None else coming.result()
        start_ns = time.perf_counter_ns()
        times, clock = [], time.thread_time_ns if self.threads == 1 and self.fine else time.perf_counter_ns
        for n in range(WARM_UP):
            if n == 0 or time.perf_counter_ns() - start_ns < WARM_UP_NS:
                start = clock()
                session.step()
                times.append(clock() - start)
        for output in session.outputs():
            if output.dtype.kind == "f" and not np.isfinite(output).all():
                raise ArithmeticError("an output is not finite for a standard normal input")
        last = sorted(times[-TOLD:])
        ns = max(1.0, last[len(last) // 2])
        self.loaded[digest] = Loaded(session, len(data), pinned, ns)
        return {"ns": ns, "evicted": self._evict(digest)}

    def _evict(self, newest: str) -> list[str]:
        """Drops the least recently used sessions beyond the limits; the pinned (canaries) and the newest stay."""
        gone = []
        free = [d for d, s in self.loaded.items() if not s.pinned]
        size = sum(self.loaded[d].size for d in free)
        for n, digest in enumerate(free[:-1]):
            if len(free) - n <= self.keep and size <= self.keep_bytes:
                break
            if digest != newest:
                size -= self.loaded.pop(digest).size
                gone.append(digest)
        return gone

    def time(self, target: str, canary: str, seconds: float, pairs: int, settle: bool) -> tuple[Header, list[Blob]]:
        """One block: canary and target by turns, for `seconds` and at least `pairs` pairs.

        With `settle` each runs untimed when its turn comes, then timed for a while, and the median of that counts.
        Returns the ns per run of both, two float64 arrays of one length, and those of the target's single samples. The
        first pair is thrown away: it finds the caches as another network left them.
        """
        a, b = self._session(canary), self._session(target)
        try:
            taken = self._block(a, b, seconds, pairs, settle)
        except CounterLost:
            self.cycles, self.clock_name = None, "CPU time"
            taken = self._block(a, b, seconds, pairs, settle)
        return {}, [column.tobytes() for column in taken]

    def _block(self, a: Loaded, b: Loaded, seconds: float, pairs: int, settle: bool) -> list[NDArray[np.float64]]:
        take_a, take_b = self._turn(a, settle), self._turn(b, settle)
        turns: list[tuple[list[float], list[float]]] = []
        count, cpu_ns = self.clock(), time.thread_time_ns()
        end = time.perf_counter_ns() + round(1e9 * seconds)
        while len(turns) <= pairs or time.perf_counter_ns() < end:
            with self._burst(a.ns + b.ns):
                stop = min(end, time.perf_counter_ns() + BURST_NS)
                while True:
                    turns.append((take_a(), take_b()))
                    if time.perf_counter_ns() >= stop:
                        break
        unit_ns = (time.thread_time_ns() - cpu_ns) / (self.clock() - count) if self.cycles else 1.0
        columns = [np.array([_median(turn[side]) for turn in turns[1:]]) for side in (0, 1)]
        singles = np.concatenate([samples for _, samples in turns[1:]])
        return [unit_ns * c for c in (*columns, singles)]

    def _turn(self, loaded: Loaded, settle: bool) -> Callable[[], list[float]]:
        """What takes the ns per run of one network, once or for a while."""
        step, clock = loaded.session.step, self.clock
        repeats = max(1, round(SAMPLE_NS / loaded.ns)) if loaded.ns < SAMPLE_NS / 2 else 1
        again, before = range(repeats), range(math.ceil(SETTLE_NS / loaded.ns))

        def once() -> list[float]:
            start = clock()
            for _ in again:
                step()
            return [(clock() - start) / repeats]

        def settled() -> list[float]:
            for _ in before:
                step()
            until, found = time.perf_counter_ns() + SETTLE_NS, once()
            while time.perf_counter_ns() < until:
                found += once()
            return found

        return settled if settle else once

    @contextmanager
    def _burst(self, pair_ns: float) -> Iterator[None]:
        """Real-time priority within, where asked for and permitted, and where a pair is short enough for it."""
        use = self.real_time and pair_ns < BURST_NS
        if use:
            _scheduled(True)
        try:
            yield
        finally:
            if use:
                _scheduled(False)

    def run(self, target: str, shape: list[int], batch: int, data: bytearray) -> tuple[Header, list[Blob]]:
        """First output for all rows of a float32 input, `batch` at a time where the network leaves that open."""
        rows = np.frombuffer(data, np.float32).reshape(shape)
        result = np.ascontiguousarray(self._session(target).session.answer(rows, batch), dtype=np.float32)
        return {"shape": list(result.shape)}, [result.tobytes()]

    def profile(self, runs: int, data: bytearray) -> Header:
        """Mean us of each node over `runs` runs, as [name, type, us] in running order."""
        return {"nodes": self.engine.profile(bytes(data), WARM_UP, runs, lambda: self._burst(0.0))}

    def estimate(self, options: list[str], data: bytearray) -> Header:
        """What the engine tells of a file without timing it."""
        return self.estimator.estimate(bytes(data), options)

    def _session(self, digest: str) -> Loaded:
        """The session of a digest, now the most recently used."""
        self.loaded.move_to_end(digest)
        return self.loaded[digest]


def _median(samples: list[float]) -> float:
    """Of one sample that sample: numpy takes longer for it than a small network runs."""
    return samples[0] if len(samples) == 1 else float(np.median(samples))


def _cores() -> set[int]:
    """Where this thread may run; empty where the system cannot pin."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


def _pin(cores: Iterable[int]) -> list[int]:
    """Keeps this thread, and those it starts, on the given cores where the system can; returns where it may now run."""
    if hasattr(os, "sched_setaffinity"):
        with suppress(OSError, ValueError):  # a core that is not ours (a container's limit): stay where we may run
            os.sched_setaffinity(0, cores)
    return sorted(_cores())


def _scheduled(real_time: bool) -> bool:
    """Asks for FIFO or ordinary scheduling; False where FIFO is not permitted (it takes CAP_SYS_NICE)."""
    try:
        policy, priority = (os.SCHED_FIFO, 20) if real_time else (os.SCHED_OTHER, 0)
        os.sched_setscheduler(0, policy, os.sched_param(priority))
    except (AttributeError, OSError):
        return False
    return True


def _channel() -> tuple[BinaryIO, BinaryIO]:
    """(in, out) of the messages. What a runtime prints to stdout goes to stderr, or it would be read as a message."""
    into, out = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return into, out


def _answer(worker: Worker, header: Header, blobs: list[bytearray]) -> tuple[Header, list[Blob]]:
    """The reply to one request; what the runtime raises becomes {"error": one line}."""
    verb = header.pop("verb")
    try:
        if verb == "prepare":
            return worker.prepare(**header, data=blobs[0]), []
        if verb == "load":
            return worker.load(**header, data=blobs[0]), []
        if verb == "time":
            return worker.time(**header)
        if verb == "run":
            return worker.run(**header, data=blobs[0])
        if verb == "estimate":
            return worker.estimate(**header, data=blobs[0]), []
        return worker.profile(**header, data=blobs[0]), []
    except Exception as e:  # runtimes' own errors share no base class, and all are the artifact's fault here
        line = " ".join(str(e).split()) or type(e).__name__
        return {"error": line[:300]}, []


def main() -> None:
    """Serves requests until stdin ends, or until the parent does: that is seen in the middle of a long run, too.

    Arguments: the parent's process number, and 1 where the thread that started this lives as long as the parent.
    """
    parent, for_good = map(int, sys.argv[1:])
    end_with_parent(parent, by_signal=bool(for_good))
    into, out = _channel()
    gc.disable()
    try:
        header, _ = receive(into)
        worker = Worker(**header)
        send(out, worker.hello())
        for n in itertools.count():
            header, blobs = receive(into)
            send(out, *_answer(worker, header, blobs))
            if n % 500 == 499:
                gc.collect()
    except (EOFError, BrokenPipeError):
        sys.exit(0)


if __name__ == "__main__":
    main()
