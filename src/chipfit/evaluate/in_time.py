"""What there is time for: graphs timed in the order of their weight, calibration inputs, and guesses for the rest.

Where time is short the menu is still a whole one: kernels that were not timed cost what their work says at the rate of
those that were and are most like them. That is told (`Pricing.timed`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from chipfit.core.deadline import Deadline
from chipfit.core.graph import Graph, Network
from chipfit.core.kernel import Kernel
from chipfit.core.types import Measurement
from chipfit.evaluate.parts import FEWEST, WHOLE
from chipfit.evaluate.ticker import Ticker, quiet
from chipfit.evaluate.timing import Timing
from chipfit.nets.build import build

FIRST, MOST = 4, 32
"""Graphs that are timed before anything is known of their pace, and at most without looking at the time."""

AT_ONCE = 0.25
"""Share of the time that is left that the next graphs may take."""

PER_INPUT, PER_OPTION = 2.0, 0.1
"""What the damages of a menu cost for each calibration input, in passes of the network: its moments, and each option.

[measured] ResNet-20, 90 options, 1,600 inputs of .6 ms: 11 s.
"""


PASSES, PASSES_S = 7, 0.1
"""Passes that tell how long one takes, as far as they are done within these seconds; one in any case."""


@dataclass
class InTime:
    """A device's quick timings until a deadline; counts the graphs that were asked for and those that were reached."""

    timing: Timing
    deadline: Deadline
    tell: Callable[[str], None] = quiet
    asked: int = 0
    reached: int = 0
    _slowest_s: float = field(default=0.0, init=False)

    def graphs(self, graphs: Sequence[Graph]) -> list[Measurement | None]:
        """Latency of each graph in this order, None for those that the time did not reach; some are always timed."""
        self.asked += len(graphs)
        if not self.deadline.limited:
            self.reached += len(graphs)
            return list(self.timing.graphs(graphs, "quick"))
        found: list[Measurement | None] = []
        size, ticker = FIRST, Ticker(self.tell, "timed")
        while len(found) < len(graphs) and not (found and self.deadline.passed()):
            part = graphs[len(found) : len(found) + size]
            began = self.deadline.clock()
            found += self.timing.graphs(part, "quick")
            ticker(len(found), len(graphs))
            self._slowest_s = max(self._slowest_s, (self.deadline.clock() - began) / len(part))
            fit = int(AT_ONCE * self.deadline.left() / max(self._slowest_s, 1e-6))
            size = max(1, min(2 * size, MOST, fit))
        self.reached += len(found)
        return found + [None] * (len(graphs) - len(found))


def by_weight(kernels: Sequence[Kernel]) -> list[Kernel]:
    """The kernels in the order in which they are worth timing: the largest of each kind, the smallest, then the rest.

    Kinds with more work come first.
    """
    families: dict[Kernel, list[Kernel]] = {}
    for u in kernels:
        families.setdefault(u.family, []).append(u)
    ranked: list[tuple[int, float, Kernel]] = []
    for members in families.values():
        ordered = sorted(members, key=work)
        ends = [ordered.pop()] + ([ordered.pop(0)] if ordered else [])
        ranked += [(n, -work(ends[0]), u) for n, u in enumerate(ends)]
        ranked += [(2, -work(ends[0]), u) for u in ordered]
    ranked.sort(key=lambda r: r[:2])
    return [u for *_, u in ranked]


def work(kernel: Kernel) -> float:
    """What a kernel does, in multiply-accumulates: its own, ten for each value read or written, and its launch."""
    taps = np.prod(kernel.attr("kernel", (1, 1)))
    groups = kernel.attr("groups", 1)
    inputs = 1 if groups == "dw" else kernel.cin / groups
    layer = kernel.kind in ("conv", "linear") and not kernel.in_place
    rows = np.prod(kernel.out_size) * kernel.attr("rows", 1)
    macs = kernel.cout * rows * inputs * taps if layer else kernel.macs
    return float(macs + 10 * kernel.moved + 20_000)


def guessed_ms(kernel: Kernel, known: Mapping[Kernel, float]) -> float:
    """Milliseconds of a kernel that was not timed, at the rate of those that are most like it; 0 without any."""
    alike = (
        lambda u: u.family == kernel.family,
        lambda u: (u.kind, u.bits) == (kernel.kind, kernel.bits),
        lambda u: u.bits == kernel.bits,
        lambda u: True,
    )
    for same in alike:
        rates = [ms / work(u) for u, ms in known.items() if same(u)]
        if rates:
            return float(np.median(rates)) * work(kernel)
    return 0.0


@torch.inference_mode()
def pass_s(network: Network) -> float:
    """Seconds that one input takes through the network on the processor, in a small batch.

    The median of a few passes where these are quick: where others have the processor now and then, one pass of a
    millisecond may take thirty, and data are cut to what there is time for by this.
    """
    x = torch.zeros(4, *network.graph.input_shape)
    net = build(network)
    net(x)  # prepares kernels
    took: list[float] = []
    while len(took) < PASSES and sum(took) < PASSES_S:
        began = time.perf_counter()
        net(x)
        took.append(time.perf_counter() - began)
    return float(np.median(took)) / len(x)


def inputs_in_time(network: Network, options: int, available: int, deadline: Deadline) -> int:
    """How many of the available calibration inputs there is time for, when so many options are scored on them."""
    most = min(available, WHOLE)
    if not deadline.limited:
        return most
    cost_s = most * pass_s(network) * (PER_INPUT + PER_OPTION * options)
    return min(most, max(FEWEST, int(most * deadline.left() / max(cost_s, 1e-9))))
