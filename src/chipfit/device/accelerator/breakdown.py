"""Where a network's time goes on one design: layer by layer, by what holds each one back, and how far the next is.

A layer is held back by the largest of four totals: its arithmetic, its weights' loading, its inputs' loading, its
outputs' storing, each as if the others took no time. Its `slack`, the largest over the second, is what a remedy for the
largest can gain before the second takes over: fewer taps for arithmetic, fewer bits or channels for weights, other
ports for inputs and outputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from chipfit.device.accelerator.parts import Part
from chipfit.device.accelerator.tiling import Columns
from chipfit.device.accelerator.v2 import FULL, Model, ms, totals
from chipfit.device.accelerator.work import Layer, Work
from chipfit.space.hardware import Designs

Bottleneck = Literal["computing", "loading weights", "loading inputs", "storing outputs"]
BOTTLENECKS: tuple[Bottleneck, ...] = ("computing", "loading weights", "loading inputs", "storing outputs")


@dataclass(frozen=True, slots=True)
class LayerTime:
    """Milliseconds of a piece of work, and of its four parts if each were alone, in the order of `BOTTLENECKS`.

    `ms` is at least the largest part: tiles that different parts hold back, and a layer's start and end, add to it.
    `engine` is "conv", "depth-wise" or "ports".
    """

    op: str
    engine: str
    kernel: tuple[int, int]
    ms: float
    parts_ms: tuple[float, float, float, float]

    @property
    def bottleneck(self) -> Bottleneck:
        """The largest part; the first of equal ones."""
        return BOTTLENECKS[max(range(4), key=lambda part: self.parts_ms[part])]

    @property
    def slack(self) -> float:
        """The largest part over the second, at least 1; infinite where there is no second."""
        second, largest = sorted(self.parts_ms)[-2:]
        return largest / second if second else math.inf


@dataclass(frozen=True, slots=True)
class Share:
    """All work with one bottleneck and one size of kernel: its operators, and their milliseconds together."""

    bottleneck: Bottleneck
    kernel: tuple[int, int]
    ops: tuple[str, ...]
    ms: float


def breakdown(
    works: Sequence[Work], designs: Designs, index: int, part: Part, model: Model = FULL
) -> tuple[LayerTime, ...]:
    """Each piece of work on the design at this place, in the network's order."""
    one = designs.take([index])
    columns = Columns(one)
    cycles_a_ms = part.clock_mhz * 1e3
    times = ms(works, one, part, model)[0]
    return tuple(_layer_time(work, float(t), columns, cycles_a_ms) for work, t in zip(works, times, strict=True))


def shares(rows: Sequence[LayerTime]) -> tuple[Share, ...]:
    """The rows by bottleneck and kernel, most milliseconds first."""
    members: dict[tuple[Bottleneck, tuple[int, int]], list[LayerTime]] = {}
    for row in rows:
        members.setdefault((row.bottleneck, row.kernel), []).append(row)
    found = []
    for (bottleneck, kernel), group in members.items():
        ops = tuple(row.op for row in group)
        found.append(Share(bottleneck, kernel, ops, math.fsum(row.ms for row in group)))
    return tuple(sorted(found, key=lambda share: -share.ms))


def interval_ms(rows: Sequence[LayerTime]) -> float:
    """Milliseconds between two inputs when the engines work on different ones: those of the busiest engine.

    The latency of one input stays the sum of all rows.
    """
    busy: dict[str, float] = {}
    for row in rows:
        busy[row.engine] = busy.get(row.engine, 0.0) + row.ms
    return max(busy.values(), default=0.0)


def _layer_time(work: Work, time_ms: float, columns: Columns, cycles_a_ms: float) -> LayerTime:
    computing, weights, inputs, outputs = (float(t[0]) / cycles_a_ms for t in np.asarray(totals(work, columns)))
    parts_ms = computing, weights, inputs, outputs
    if not isinstance(work, Layer):
        return LayerTime(work.op, "ports", (1, 1), time_ms, parts_ms)
    depthwise = work.depthwise and columns["tm_dw"][0] > 0
    return LayerTime(work.op, "depth-wise" if depthwise else "conv", work.kernel, time_ms, parts_ms)
