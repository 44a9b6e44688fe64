"""Runtimes on this machine's processor, each measured in a worker process of its own."""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from chipfit.core.graph import Graph
from chipfit.core.protocols import Node
from chipfit.core.types import Artifact, DeviceFacts, Fidelity, Measurement, OpTime
from chipfit.device import cache, canary, roofline
from chipfit.device.canary import BASE, Family, Int8, Rung, Write
from chipfit.device.child import Child, DeviceFailed, insisted
from chipfit.device.facts import cpu, probe
from chipfit.device.ladders import Ladders
from chipfit.device.protocol import (
    BLOCK_S,
    PAIRS,
    ROUND_S,
    Block,
    decided,
    error,
    failed,
    latency,
    reason,
    settled,
)

FACTS = "facts 2"
"""What the cache calls probed facts; those that were judged by another rule had another name."""

SETTLED_QUICK_S = 0.02
"""Length of a quick block of settled networks, which makes few pairs."""

BATCH, CHUNK_BYTES = 64, 1 << 26
"""Inputs in one call where the file leaves the batch open, and bytes in one message."""

COLD = 1.4
"""How much longer the first runs of a network may take than later ones."""

PROFILE_RUNS, PROFILE_S = 200, 10.0

QUICK_BATCH = 32
"""Files that are timed quickly by turns: fewer than the worker keeps loaded."""

AHEAD, AHEAD_BYTES = 16, 1 << 27
"""Files (and their bytes) that are loaded on another core while others are timed quickly."""

SLOW_NS = 1e9
"""A network slower than this gets three pairs a block, or a block would outlast its time."""


Done = Callable[[Sequence[Block]], bool]
"""Whether a measurement needs no further block."""


class Processor:
    """Latency, outputs and profile of files on this processor: a device for each runtime, which names its engine.

    Args:
        write: makes files of canaries and of what is probed, in this device's format.
        core: where the worker is pinned, the last core by default (with more threads: the cores up to it). Ignored
            where the system cannot pin.
        threads: of one inference.
        cache_dir: folder of the calibration, `cache.default_folder()` by default. Numbers of different processes are
            on one scale as long as they share it.
        timeout_s: time for one request (loading, one block, one part of the inputs) before the worker is given up.
        real_time: asks for real-time priority within blocks, which stops everything else on that core; ordinary
            scheduling by default, and where it is not permitted.

    Its methods raise DeviceFailed where the worker does not come up.
    """

    name: str
    format: str
    bits: tuple[int, ...] = (32, 8)
    """Precisions that the runtime computes in."""
    saturates: bool = True
    """True where int8 kernels add products in 16 bits on x86 without VNNI."""
    int8: Int8 = "int8 canaries"
    """How int8 networks are timed.

    [measured] Spread of quick timings of int8 networks of 35 to 230 us, settled against float canaries and run by run
    against int8 ones: ONNX Runtime 2.1 and .6 %, LiteRT 2.9 and .3 % (two speeds, for minutes each), OpenVINO 2.6 and
    1.7 %; but there, run by run, they take 1.6 to 1.8 times what they take by themselves.
    """

    by_cuts: bool = False
    """True where a profile is made by running the file cut off behind each operator."""

    ahead: bool = False
    """True where loading takes longer than a quick timing, so that files are loaded while others are timed."""

    def __init__(
        self,
        write: Write,
        core: int | None = None,
        threads: int = 1,
        cache_dir: Path | None = None,
        timeout_s: float = 60.0,
        real_time: bool = False,
    ) -> None:
        last = _last_core() if core is None else core
        self._write = write
        self.threads, self.timeout_s = threads, timeout_s
        self._folder = cache_dir or cache.usable_folder()
        cores = range(max(0, last - threads + 1), last + 1)
        self._child = Child(self.name.replace("-", "_"), cores, threads, real_time)
        versus = partial(self._versus, pairs=PAIRS["quick"], pinned=True)
        self._ladders = Ladders(lambda graph: write(graph, self.format), versus, self._folder, lambda: self._mark)
        self._ns: dict[str, float] = {}
        self._rungs: dict[str, int] = {}
        self._families: dict[str, Family] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends the worker process; a later use starts another."""
        self._child.close()

    @property
    def runtime(self) -> str:
        """Name and version of the runtime."""
        return f"{self.name} {self._child.start()['version']}"

    @property
    def fingerprint(self) -> str:
        """Processor, runtime, threads and scale (the canaries and what they take): latencies are comparable within."""
        scale = hashlib.sha256(repr((canary.VERSION, self._ladders.ms())).encode()).hexdigest()[:6]
        return f"{self._mark}, scale {scale}"

    @property
    def _mark(self) -> str:
        """Processor, runtime, threads: what the cache is kept for."""
        return cpu().fingerprint(self.runtime, self.threads)

    def facts(self) -> DeviceFacts:
        """What was probed once (a few seconds) and is cached since."""
        here = cpu()
        blocks, overhead_ms = cache.known(self._folder, self._mark, FACTS, self._read_facts, self._probed)
        return DeviceFacts(
            name=self.name,
            fingerprint=self.fingerprint,
            isa=here.isa,
            channel_block=blocks,
            reduce_range=self.saturates and here.reduce_range,
            overhead_ms=overhead_ms,
            runtime=self.runtime,
            bits=self.bits,
            clock=str(self._child.start()["clock"]),
        )

    def _probed(self) -> dict[str, Any]:
        """What is probed of this processor now, in plain values."""
        p = probe(self._quick_ms, self.bits)
        blocks = {str(bits): block for bits, block in p.channel_block.items()}
        stairs = {str(b): {str(c): ms for c, ms in s.items()} for b, s in p.staircase.items()}
        return {"channel_block": blocks, "overhead_ms": p.overhead_ms, "staircase_ms": stairs}

    def _read_facts(self, data: Any) -> tuple[dict[int, int], float]:
        """Channel block by bits, and the ms of a call that computes nothing."""
        blocks = {int(bits): int(cache.positive(block)) for bits, block in data["channel_block"].items()}
        if not set(self.bits) <= set(blocks):
            raise ValueError(f"no channel block for {self.bits}")
        return blocks, cache.positive(data["overhead_ms"])

    def measure(self, artifacts: Sequence[Artifact], fidelity: Fidelity) -> list[Measurement]:
        """Latency of each artifact for one input, in ms.

        Goes over all artifacts by turns. "quick" is two short blocks each, up to four where they disagree (standard
        error stated: 1 %); "final" is at least five blocks, until their standard error is below .5 %. An artifact
        that is refused, crashes, hangs or gives an output that is not finite has value nan and the protocol
        "failed: <reason>".
        """
        return self._latencies(artifacts, fidelity, partial(settled, fidelity=fidelity))

    def decide(self, artifacts: Sequence[Artifact], limit_ms: float) -> list[Measurement]:
        """Final latencies, each measured until it is clear on which side of the limit it lies."""
        return self._latencies(artifacts, "final", partial(decided, limit_ms=limit_ms))

    def _latencies(self, artifacts: Sequence[Artifact], fidelity: Fidelity, done: Done) -> list[Measurement]:
        if not artifacts:
            return []
        where, load = self.fingerprint, _demand()
        self._note((a.digest, a.graph) for a in artifacts)
        taken, reasons = self._sitting({a.digest: a.data for a in artifacts}, fidelity, done)
        found = {digest: latency(blocks, fidelity, where, load) for digest, blocks in taken.items()}
        found |= {digest: failed(reason, where) for digest, reason in reasons.items()}
        return [found[a.digest] for a in artifacts]

    def compare(self, a: Artifact, b: Artifact) -> Measurement:
        """Time of `a` over time of `b`, run by run against each other: what decides between finalists.

        `spread` is its standard error; stops when that is below .5 %. At 2 standard errors from 1 one is faster.

        Raises:
            DeviceFailed: one of the two cannot be timed.
        """
        blocks: list[Block] = []
        self._note((x.digest, x.graph) for x in (a, b))
        settle = any(self._family(x.digest).settled for x in (a, b))
        while not settled(blocks, "final"):
            start = time.monotonic()
            blocks.append(self._versus(a, b, settle=settle))
            _wait(start)
        value = float(np.median([x.ratio for x in blocks]))
        where = self._mark
        return Measurement("latency_ratio", value, "measured", where, "alternating", error(blocks), len(blocks))

    def run(self, artifact: Artifact, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """First output (n, ...) for inputs (n, ...), of a file with one input, fixed or open batch.

        Raises:
            DeviceFailed: the runtime refuses, crashes, hangs, or gives something that is not finite.
        """
        insisted(lambda: self._load(artifact.digest, artifact.data))
        each = max(1, inputs[:1].nbytes)
        rows = min(CHUNK_BYTES // each, int(0.25e9 * self.timeout_s / self._ns[artifact.digest]))
        made = []
        for start in range(0, len(inputs), max(1, rows)):
            part = np.ascontiguousarray(inputs[start : start + max(1, rows)], np.float32)
            made.append(insisted(partial(self._answers, artifact, part)))
        outputs = np.concatenate(made)
        if not np.isfinite(outputs).all():
            raise DeviceFailed("an output is not finite")
        return outputs

    def _answers(self, artifact: Artifact, part: NDArray[np.float32]) -> NDArray[np.float32]:
        """First output for so many inputs as go into one message."""
        self._load(artifact.digest, artifact.data)
        head = {"verb": "run", "target": artifact.digest, "shape": list(part.shape), "batch": BATCH}
        reply, blobs = self._child.ask(head, [part.data.cast("B")], self.timeout_s)
        return np.frombuffer(blobs[0], np.float32).reshape(reply["shape"])

    def profile(self, artifact: Artifact) -> list[OpTime]:
        """Time of each operator, slowest first; the times sum up to the quick latency of the whole.

        A runtime's own profile slows what it watches (ONNX Runtime's by 19 % on a MobileNet, and it counts whole
        microseconds), so each is a mean over 200 runs (fewer, at least 20, where those would take over ten seconds),
        scaled to the whole: shares can be trusted, absolute times below 20 us only roughly. What a bottleneck is,
        says `roofline`.

        Raises:
            DeviceFailed: the artifact cannot be run.
        """
        (whole,) = self.measure([artifact], "quick")
        if math.isnan(whole.value):
            raise DeviceFailed(reason(whole))
        nodes = self.observe(artifact, max(20, min(PROFILE_RUNS, int(1e3 * PROFILE_S / whole.value))))
        roof = cache.known(
            self._folder, self._mark, "roofline", roofline.from_plain,
            lambda: roofline.probe(self._quick_ms, min(self.bits)).plain(),
        )  # fmt: skip
        return roofline.op_times(nodes, artifact.graph, whole.value, roof)

    def observe(self, artifact: Artifact, runs: int) -> list[Node]:
        """The nodes of a file with the mean time of each over so many runs, in running order.

        Raises:
            DeviceFailed: the artifact cannot be run, or its nodes not be told apart.
        """
        head = {"verb": "profile", "runs": runs}
        reply, _ = insisted(lambda: self._child.ask(head, [artifact.data], self.timeout_s))
        return [(str(name), str(kind), float(us)) for name, kind, us in reply["nodes"]]

    def _sitting(
        self, files: Mapping[str, bytes], fidelity: Fidelity, done: Done
    ) -> tuple[dict[str, list[Block]], dict[str, str]]:
        """Blocks by digest, and the reasons of those that failed; every round takes one block of each in turn."""
        blocks: dict[str, list[Block]] = {}
        reasons: dict[str, str] = {}
        digests = list(files)
        # What was timed quickly need not be one sitting, and more than the worker keeps would be loaded every round.
        step = QUICK_BATCH if fidelity == "quick" else max(1, len(digests))
        coming = deque(files.items() if self.ahead and fidelity == "quick" else ())
        for first in range(0, len(digests), step):
            left = digests[first : first + step]
            while left:
                start = time.monotonic()
                for digest in left:
                    try:
                        block = self._insist(digest, files[digest], fidelity, coming)
                        blocks.setdefault(digest, []).append(block)
                    except DeviceFailed as e:
                        reasons[digest] = str(e)
                left = [d for d in left if d not in reasons and not done(blocks[d])]
                if left and fidelity == "final":
                    _wait(start)
        return {d: b for d, b in blocks.items() if d not in reasons}, reasons

    def _insist(self, digest: str, data: bytes, fidelity: Fidelity, coming: deque[tuple[str, bytes]]) -> Block:
        """A block; once more where the fault need not have been the artifact's.

        That is where the process died, or hung where it may have been loading others.
        """
        try:
            self._prepare(coming)
            return self._block(digest, data, fidelity)
        except DeviceFailed as e:
            beside, gone = self.ahead and fidelity == "quick", self._child.pid is None
            if not (gone and (e.died or beside)):
                raise
            return self._block(digest, data, fidelity)

    def _block(self, digest: str, data: bytes, fidelity: Fidelity) -> Block:
        """One block of a target against the canary of its family that is nearest to it in time."""
        family = self._family(digest)
        scale = self._ladders.ms(family)
        self._load(digest, data)
        seconds = SETTLED_QUICK_S if fidelity == "quick" and family.settled else BLOCK_S[fidelity]

        def against(rung: int, seconds: float = seconds, pairs: int = PAIRS[fidelity]) -> Block:
            r = self._ladders.rungs(family)[rung]
            self._load(r.digest, r.data, pinned=True)
            return self._pairs(digest, r.digest, seconds, pairs, rung, scale[rung], settle=family.settled)

        if digest in self._rungs:
            return against(self._rungs[digest])
        # One run's own time drifts with the clock; its ratio to a canary does not, so that every process comes to the
        # same rung. Near a border a few pairs tell which one to try; of settled runs they would take a block's time.
        ms = self._ns[digest] / 1e6
        guess = canary.nearest(scale, ms)
        if canary.nearest(scale, ms / COLD) != guess and not family.settled:
            guess = canary.nearest(scale, against(guess, 0.0, 3).ms)
        first = against(guess)
        self._rungs[digest] = canary.nearest(scale, first.ms)
        return first if first.rung == self._rungs[digest] else against(self._rungs[digest])

    def _versus(
        self, a: Artifact | Rung, b: Artifact | Rung, *, settle: bool, pairs: int = PAIRS["final"], pinned: bool = False
    ) -> Block:
        """One long block of a file against another, whose time is the unit."""

        def block() -> Block:
            for x in (a, b):
                self._load(x.digest, x.data, pinned)
            return self._pairs(a.digest, b.digest, BLOCK_S["final"], pairs, -1, 1.0, settle=settle)

        return insisted(block)

    def _pairs(
        self, target: str, against: str, seconds: float, pairs: int, rung: int, reference_ms: float, *, settle: bool
    ) -> Block:
        least = pairs if self._ns[target] < SLOW_NS else min(pairs, 3)
        head = {
            "verb": "time", "target": target, "canary": against, "seconds": seconds, "pairs": least, "settle": settle,
        }  # fmt: skip
        _, blobs = self._child.ask(head, timeout_s=self.timeout_s)
        first, second, singles = (np.frombuffer(b, np.float64) for b in blobs)
        return Block(second, first, singles, rung, reference_ms)

    def _note(self, files: Iterable[tuple[str, Graph]]) -> None:
        """Remembers the families of files."""
        self._families |= {digest: canary.family(graph, self.int8) for digest, graph in files}

    def _family(self, digest: str) -> Family:
        return self._families.get(digest, BASE)

    def _prepare(self, files: deque[tuple[str, bytes]]) -> None:
        """Has the worker begin to load the next files, as far ahead as is allowed, and takes them off the queue."""
        self._child.start()
        while files and len(self._child.coming) < AHEAD:
            digest, data = files.popleft()
            if digest not in self._child.loaded | self._child.coming and len(data) <= AHEAD_BYTES / AHEAD:
                self._child.ask({"verb": "prepare", "digest": digest}, [data], self.timeout_s)
                self._child.coming.add(digest)

    def _load(self, digest: str, data: bytes, pinned: bool = False) -> None:
        """Has the worker load a file, unless it holds it already."""
        self._child.start()
        if digest not in self._child.loaded:
            head = {"verb": "load", "digest": digest, "pinned": pinned}
            self._child.coming.discard(digest)
            reply, _ = self._child.ask(head, [data], self.timeout_s)
            self._child.loaded.add(digest)
            self._ns[digest] = float(reply["ns"])

    def _quick_ms(self, graphs: Sequence[Graph]) -> list[float]:
        """Ms of each graph; equal ones are timed once."""
        files = {g.key: self._write(g, self.format) for g in graphs}
        self._note((g.key, g) for g in graphs)
        taken, reasons = self._sitting(files, "quick", partial(settled, fidelity="quick"))
        if reasons:
            raise DeviceFailed(f"a probe could not be timed: {next(iter(reasons.values()))}")
        return [float(np.median([b.ms for b in taken[g.key]])) for g in graphs]


def _wait(start: float) -> None:
    """Lets a round last at least ROUND_S: blocks that follow each other closely share the machine's mood."""
    time.sleep(max(0.0, start + ROUND_S - time.monotonic()))


def _demand() -> float:
    """Processes that want a core, over the last minute; nan where the system does not tell."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else math.nan


def _last_core() -> int:
    """The last core this process may run on: the first ones serve interrupts, and what starts early sits there."""
    return max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1) - 1
