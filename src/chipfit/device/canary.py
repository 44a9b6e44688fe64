"""Fixed networks that a target is timed against, and the small chains that a device is probed with.

A clock that drifts by 20-30 % between minutes is no unit; the time of a fixed network at the same moment is. A canary
must be of the target's own size: after a target that fills the cache a small one runs slow, which would make the
target look fast. So there is a ladder, each rung about three times the one below, and each target takes the nearest.

[measured] Sapphire Rapids, both cores busy with niced training, 10 processes one after another, 8 blocks of 40 ms:
the median wall time of one network moves by 0.7-2.7 % between processes (sd), its ratio to the canary by 0.1-0.7 %.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from chipfit.core.graph import Attr, Graph, op

VERSION = "canary-v4"
"""Changes whenever a rung does: times of different versions are not of one scale."""

Write = Callable[[Graph, str], bytes]
"""(graph, format) -> a file of it with weights of no meaning: how devices come to files of their own formats."""


def chain(channels: int, depth: int, size: int, bits: int = 32, kernel: int = 3) -> Graph:
    """`depth` convolutions channels -> channels with ReLU on (channels, size, size), in `bits`."""
    shape, one = (channels, size, size), (1, 1)
    window: dict[str, Attr] = {"kernel": (kernel,) * 2, "padding": (kernel // 2,) * 2, "stride": one, "dilation": one}
    ops = [op("x", "input", (), shape)]
    for n in range(depth):
        ops.append(op(f"conv{n}", "conv", (ops[-1].name,), shape, f"conv{n}", bits, **window, groups=1, bias=1))
        ops.append(op(f"relu{n}", "relu", (ops[-1].name,), shape, bits=bits))
    return Graph(tuple(ops), ops[-1].name)


def trivial() -> Graph:
    """One ReLU of one value: what a call costs."""
    return Graph((op("x", "input", (), (1,)), op("relu", "relu", ("x",), (1,))), "relu")


def adds(depth: int, values: int) -> Graph:
    """`depth` additions of a vector of `values` to itself: what moving memory costs."""
    ops = [op("x", "input", (), (values,))]
    for n in range(depth):
        ops.append(op(f"y{n}", "add", (ops[-1].name,) * 2, (values,)))
    return Graph(tuple(ops), ops[-1].name)


@dataclass(frozen=True, slots=True)
class Rung:
    """One canary: its bytes and their digest."""

    data: bytes
    digest: str


# Times on the machine above: 7 us, 18 us, 54 us, 170 us, .5 ms, 1.7 ms, 5.5 ms, 18 ms.
_RUNGS = ((16, 1, 7), (16, 2, 14), (16, 2, 28), (32, 2, 28), (32, 6, 28), (64, 6, 28), (64, 20, 28), (64, 16, 56))

HOME = 4
"""The rung whose own time sets the scale."""


def ladder(write: Callable[[Graph], bytes]) -> tuple[Rung, ...]:
    """All rungs, lightest first, written by `write`."""
    data = [write(chain(*r)) for r in _RUNGS]
    return tuple(Rung(d, hashlib.sha256(d).hexdigest()[:16]) for d in data)


def nearest(ladder_ms: Sequence[float], ms: float) -> int:
    """The rung whose time is nearest in ratio.

    >>> nearest([0.01, 0.03, 0.1], 0.05)
    1
    """
    return int(np.argmin(np.abs(np.log(np.asarray(ladder_ms) / ms))))


Pair = Callable[[int, int], tuple[float, float]]
"""(rung, its canary) -> (median of adjacent ratios, median ms of the rung) of one block."""

TOO_SLOW_MS = 60.0
"""Rungs above this are left out: calibrating them would take too long on a slow machine."""


def calibrate(pair: Pair, rounds: int = 8) -> tuple[float, ...]:
    """Milliseconds of each rung, lightest first: one scale, made of ratios between neighbours.

    Absolute times of different rungs would be of different moments; so only the `HOME` rung's own time counts (the
    median over all its blocks), and every other is reached by ratios of adjacent runs. Rounds go over all
    neighbours, so that each pair has seen the whole sitting.
    """
    count = len(_RUNGS)
    ratios: list[list[float]] = [[] for _ in range(count)]
    times: list[list[float]] = [[] for _ in range(count)]
    for _ in range(rounds):
        for upper in range(1, count):
            ratio, ms = pair(upper, upper - 1)
            ratios[upper].append(ratio)
            times[upper].append(ms)
            if ms > TOO_SLOW_MS:
                count = upper
                break
    up = np.concatenate([[0.0], np.cumsum([np.log(np.median(r)) for r in ratios[1:] if r])])
    home = min(HOME, len(up) - 1)
    scale = np.exp(up - up[home]) * float(np.median(times[home]))
    return tuple(float(s) for s in scale)
