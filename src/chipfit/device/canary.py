"""Fixed networks that a target is timed against, and the small chains that a device is probed with.

A clock that drifts by 20-30 % between minutes is no unit; the time of a fixed network at the same moment is. A canary
must be of the target's own size: after a target that fills the cache a small one runs slow, which would make the
target look fast. So there is a ladder, each rung about three times the one below, and each target takes the nearest.
It must be of the target's own make, too: what slows a machine down for minutes slows depth-wise convolutions, or
int8 kernels, by other factors than dense ones, and most of all what waits for memory: depth-wise convolutions of maps
that a core's cache does not hold. So there is a ladder for each family of networks (`family`).

[measured] Sapphire Rapids, both cores busy with niced training, 10 processes one after another, 8 blocks of 40 ms:
the median wall time of one network moves by 0.7-2.7 % between processes (sd), its ratio to the canary by 0.1-0.7 %.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from chipfit.core.graph import Attr, Graph, op

VERSION = "canary-v5"
"""Changes whenever a rung does: times of different versions are not of one scale."""

Write = Callable[[Graph, str], bytes]
"""(graph, format) -> a file of it with weights of no meaning: how devices come to files of their own formats."""


def chain(channels: int, depth: int, size: int, bits: int = 32, kernel: int = 3) -> Graph:
    """`depth` convolutions channels -> channels with ReLU on (channels, size, size), in `bits`."""
    return _convolutions(channels, size, [(kernel, 1)] * depth, bits)


def separable(channels: int, depth: int, size: int) -> Graph:
    """`depth` times a depth-wise 3x3 and a 1x1 convolution, each with ReLU, on (channels, size, size), in float."""
    return _convolutions(channels, size, [(3, channels), (1, 1)] * depth, 32)


def _convolutions(channels: int, size: int, layers: Sequence[tuple[int, int]], bits: int) -> Graph:
    """A chain of convolutions with ReLU, each as (kernel, groups)."""
    shape, one = (channels, size, size), (1, 1)
    ops = [op("x", "input", (), shape)]
    for n, (kernel, groups) in enumerate(layers):
        window: dict[str, Attr] = {"kernel": (kernel,) * 2, "padding": (kernel // 2,) * 2, "stride": one}
        window |= {"dilation": one, "groups": groups, "bias": 1}
        ops.append(op(f"conv{n}", "conv", (ops[-1].name,), shape, f"conv{n}", bits, **window))
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


Canaries = Literal["dense", "separable", "wide", "int8"]
"""What canaries are made of: `wide` ones are separable, with maps as large as the first ones of 224 x 224 pictures."""

WIDE = 64 * 64
"""Positions of a map beyond which a separable network is timed against wide canaries, settled, in any precision.

[measured] Six MobileNetV2 and EfficientNet-Lite0 of 224 x 224 on ONNX Runtime, AMD EPYC, 1 MB of cache a core, while
another process trains: spread of a final number over 17 sittings 3.4 %, of which 3.3 are common to all six, against
separable and int8 canaries; 1.9 and 1.8 against wide ones (ADR 37).
"""


@dataclass(frozen=True, slots=True)
class Family:
    """Networks that are timed against the same `canaries` in the same way: run by run, or settled (`worker`)."""

    canaries: Canaries
    settled: bool = False

    @property
    def name(self) -> str:
        """As the cache knows it."""
        return f"{self.canaries} settled" if self.settled else self.canaries


BASE = Family("dense")
"""The family whose canary at `HOME` sets the scale of all."""

Int8 = Literal["settled", "int8 canaries"]
"""How a device's int8 networks are timed: settled against float canaries, or run by run against int8 ones."""


def family(graph: Graph, int8: Int8) -> Family:
    """The family of a network on a device that times int8 like that.

    With canaries of int8 those with most of their multiply-accumulates in it count as int8, the others as float. Those
    with large maps wait for memory in either; they are settled, or they would wait for what a canary has displaced.
    """
    canaries = _of_float(graph)
    if canaries == "wide":
        return Family(canaries, settled=True)
    low = [o for o in graph if o.bits == 8]
    if not low:
        return Family(canaries)
    if int8 == "settled":
        return Family(canaries, settled=True)
    return Family("int8" if 2 * sum(map(graph.macs, low)) >= graph.total_macs else canaries)


def _of_float(graph: Graph) -> Canaries:
    """What canaries of a network in float are made of."""
    convs = [o for o in graph if o.kind == "conv"]
    if not any(o["groups"] > 1 for o in convs):
        return "dense"
    return "wide" if any(math.prod(o.shape[1:]) > WIDE for o in convs) else "separable"


# Times on the machine above: 7 us, 18 us, 54 us, 170 us, .5 ms, 1.7 ms, 5.5 ms, 18 ms.
_DENSE = ((16, 1, 7), (16, 2, 14), (16, 2, 28), (32, 2, 28), (32, 6, 28), (64, 6, 28), (64, 20, 28), (64, 16, 56))
# 8 us, 14 us, 38 us, 90 us, .3 ms, 1 ms, 3 ms, 12 ms.
_SEPARABLE = (
    (32, 2, 7), (64, 4, 5), (64, 8, 7), (64, 12, 10), (64, 12, 20), (128, 12, 20), (128, 20, 28), (128, 20, 56),
)  # fmt: skip
# On the AMD EPYC .1 ms, .25 ms, .7 ms, 1.2 ms, 3 ms, 10 ms.
_WIDE = ((16, 1, 112), (16, 3, 112), (24, 3, 112), (48, 3, 112), (48, 9, 112), (64, 20, 112))
# On LiteRT 3 us, 16 us, 58 us, 170 us, .5 ms, 2 ms, 10 ms.
_INT8 = ((16, 1, 7), (16, 2, 14), (16, 2, 28), (32, 6, 28), (64, 16, 28), (128, 16, 28), (128, 20, 56))

_LADDERS: Mapping[Canaries, tuple[Callable[[int, int, int], Graph], Sequence[tuple[int, int, int]]]] = {
    "dense": (chain, _DENSE), "separable": (separable, _SEPARABLE), "wide": (separable, _WIDE),
    "int8": (partial(chain, bits=8), _INT8),
}  # fmt: skip

HOME = 4
"""The rung of `BASE` whose own time sets the scale, and that of any other family which is held against `BASE`."""


def ladder(of: Family, write: Callable[[Graph], bytes]) -> tuple[Rung, ...]:
    """All rungs of a family, lightest first, written by `write`."""
    make, rungs = _LADDERS[of.canaries]
    data = [write(make(*r)) for r in rungs]
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


def calibrate(
    count: int, pair: Pair, home_ms: Callable[[int, float], float] | None = None, rounds: int = 8
) -> tuple[float, ...]:
    """Milliseconds of `count` rungs, lightest first: one scale, made of ratios between neighbours.

    Absolute times of different rungs would be of different moments; so only the `HOME` rung's own time counts (the
    median over all its blocks, or what `home_ms(rung, median)` makes of it), and every other is reached by ratios of
    adjacent runs. Rounds go over all neighbours, so that each pair has seen the whole sitting.
    """
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
    own_ms = float(np.median(times[home]))
    scale = np.exp(up - up[home]) * (own_ms if home_ms is None else home_ms(home, own_ms))
    return tuple(float(s) for s in scale)
