"""What a processor is and where wider layers begin to cost more: read from the system, and probed once."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from chipfit.core.graph import Graph
from chipfit.device.canary import chain, trivial

ISA = {
    "avx2": "avx2",
    "avx512": "avx512f",
    "vnni": "avx512_vnni",
    "avx_vnni": "avx_vnni",
    "amx": "amx_int8",
    "neon": "asimd",
    "dotprod": "asimddp",
    "i8mm": "i8mm",
    "sve": "sve",
}
"""Our name of an instruction set to the flag of /proc/cpuinfo that tells of it."""

X86 = frozenset({"x86_64", "amd64", "i386", "i686", "x86"})


@dataclass(frozen=True, slots=True)
class Cpu:
    """A processor: what it calls itself, its flags (empty where the system does not tell), its architecture."""

    model: str
    flags: frozenset[str]
    machine: str

    @property
    def isa(self) -> tuple[str, ...]:
        """The instruction sets that kernels are chosen by, in `ISA`'s order."""
        return tuple(name for name, flag in ISA.items() if flag in self.flags)

    @property
    def reduce_range(self) -> bool:
        """True on x86 without VNNI: u8 x s8 products saturate there, so weights should use 7 bits.

        Where the flags are not known, the safe answer for x86 is yes.
        """
        return self.machine.lower() in X86 and not self.flags & {"avx512_vnni", "avx_vnni"}

    def fingerprint(self, runtime: str, threads: int) -> str:
        """Model, digest of the flags, runtime with version, threads: equal where latencies are comparable."""
        flags = hashlib.sha256(" ".join(sorted(self.flags)).encode()).hexdigest()[:8]
        return f"{self.model} {flags}, {runtime}, {threads} thread{'s' if threads > 1 else ''}"


@cache
def cpu(path: Path = Path("/proc/cpuinfo")) -> Cpu:
    """This machine's processor, read once; where there is no `path`, as far as Python knows it."""
    rows: dict[str, str] = {}
    try:
        for line in path.read_text().splitlines():
            key, colon, value = line.partition(":")
            if colon:
                rows.setdefault(key.strip().lower(), value.strip())
    except OSError:
        rows = {}
    arm = " ".join(rows[k] for k in ("cpu implementer", "cpu part") if k in rows)
    model = rows.get("model name") or rows.get("hardware") or arm or platform.processor() or platform.machine()
    flags = (rows.get("flags") or rows.get("features") or "").split()
    return Cpu(model, frozenset(flags), platform.machine())


Latency = Callable[[Sequence[Graph]], list[float]]
"""Graphs -> ms of each, taken in one sitting."""

WIDTHS = (16, 20, 24, 28, 32)
FLAT = 1.05
DEPTH, SIZE = 4, 14


def staircase(latency: Latency, bits: int) -> dict[int, float]:
    """Width to ms of one chain of 3x3 convolutions C -> C on 14x14 (four of them), in `bits`."""
    return dict(zip(WIDTHS, latency([chain(c, DEPTH, SIZE, bits) for c in WIDTHS]), strict=True))


def block_of(ms: Mapping[int, float]) -> int:
    """The channel block that a staircase shows: 16, 8 or 4.

    It is the largest of them for which no multiple of 4 between two of its own is worth having: rounding it up to the
    next costs at most 5 %. A step below 4 is not looked for: so narrow a choice is worth no menu entry.

    >>> block_of({16: 1.0, 20: 3.9, 24: 3.9, 28: 3.9, 32: 4.0})
    16
    >>> block_of({16: 1.0, 20: 2.0, 24: 2.0, 28: 4.0, 32: 4.0})
    8
    """
    for block in (16, 8):
        tops = {c: -(-c // block) * block for c in ms if c % 4 == 0}
        if all(ms[top] <= FLAT * ms[c] for c, top in tops.items() if top in ms):
            return block
    return 4


@dataclass(frozen=True, slots=True)
class Probe:
    """What timing told: channel block per bits, and the milliseconds of a call that computes nothing."""

    channel_block: Mapping[int, int]
    overhead_ms: float
    staircase: Mapping[int, Mapping[int, float]]


def probe(latency: Latency, precisions: Sequence[int], rounds: int = 3) -> Probe:
    """Times the chains of these precisions `rounds` times (medians count); takes a second or two."""
    stairs = {bits: _median_staircase(latency, bits, rounds) for bits in precisions}
    call = float(np.median([latency([trivial()])[0] for _ in range(rounds)]))
    return Probe({bits: block_of(ms) for bits, ms in stairs.items()}, call, stairs)


def _median_staircase(latency: Latency, bits: int, rounds: int) -> dict[int, float]:
    taken = [list(staircase(latency, bits).values()) for _ in range(rounds)]
    return dict(zip(WIDTHS, np.median(taken, axis=0).tolist(), strict=True))
