"""Kernels timed where they stand: networks of a menu are watched as a runtime executes them.

For kernels that no recipe times by themselves (`chains`), and for all kernels of a network so large that there is no
time for chains: one look at a network of fifty kernels of a millisecond tells all of them at once, at the widths that
it has. Random networks of the menu are looked at, each with other widths, and what was not seen follows from what was
(`rates`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from chipfit.core.deadline import Deadline
from chipfit.core.graph import Graph, Op
from chipfit.core.kernel import Kernel, executed_within
from chipfit.core.protocols import Observing
from chipfit.evaluate.borders import read_by_conv
from chipfit.evaluate.cells import Read
from chipfit.evaluate.families import filled
from chipfit.evaluate.observed import Observed
from chipfit.evaluate.rates import Rates
from chipfit.evaluate.ticker import Ticker, quiet
from chipfit.evaluate.timing import Timing

WATCHED = 128
"""Networks that are watched, as far as there is time, where all kernels are timed in place.

[measured] ONNX Runtime on an AMD EPYC, whole networks drawn at random against their tables, mean absolute error with 48
and with 128 of them: MobileNetV2 6.7 and 4.0 %, EfficientNet-Lite0 10.8 and 4.6 %; 25 and 65 s of looking.
"""

FEW = 8
"""Networks that are watched for the sake of kernels without a recipe alone."""

BY_CUTS = 2
"""The same on a device that takes seconds for each."""

LEAST = 3
"""Networks that are watched whatever the time."""


@dataclass
class Watch:
    """Networks of one menu as they were watched on a device; `read` tells their kernels.

    Max pools in int8 of a map made in float are kept apart: they run in the layout of float kernels, where they are
    slow, and what that takes beyond a pool is the price of the border before it.
    """

    timing: Timing
    read: Read[Kernel]
    deadline: Deadline
    tell: Callable[[str], None] = quiet
    reached: int = 0
    _seen: dict[Kernel, list[float]] = field(default_factory=lambda: defaultdict(list))
    _slow_pools: dict[Kernel, list[float]] = field(default_factory=lambda: defaultdict(list))
    _crossed: dict[Kernel, list[float]] = field(default_factory=lambda: defaultdict(list))
    _conversions: list[tuple[int, float]] = field(default_factory=list)

    def look(self, graphs: Iterable[Graph], most: int) -> None:
        """Watches these networks in their order, as many as asked for and as there is time for."""
        ticker = Ticker(self.tell, "networks whose operators were timed")
        for n, graph in enumerate(graphs):
            ticker(n, most)
            if n >= most or (n >= LEAST and self.deadline.passed()):
                break
            observed = self.timing.observed(graph)
            if observed is None:
                break
            self.reached += 1
            self._note(graph, observed)

    def ms(self, kernels: Sequence[Kernel]) -> dict[Kernel, float]:
        """Milliseconds of kernels, also of conversions and of what brings maps out of the kernels' layout."""
        rates = Rates(self._seen)
        plain = [u for u in kernels if u.kind not in BETWEEN]
        filled_up = [self._filled(u) for u in plain]
        found = dict(zip(plain, rates.ms(filled_up).tolist(), strict=True))
        found |= self._before_pools(kernels, rates)
        found |= self._boundaries(kernels)
        one_way = self._per_converted_ms or rates.per_value_ms
        for u in kernels:
            if u not in found:
                passes = BETWEEN[u.kind] / 2  # a pass moves what is read and what is made
                found[u] = passes * one_way * u.moved
        return found

    def _before_pools(self, kernels: Sequence[Kernel], rates: Rates) -> dict[Kernel, float]:
        """What slow pools take beyond usual ones, where any was seen."""
        before = [u for u in kernels if u.kind == BEFORE_A_POOL and self._slow_pools]
        slow = Rates(self._slow_pools).ms(before)
        usual = rates.ms([_pool(u) for u in before])
        more = np.maximum(slow - usual, 0.0)
        return dict(zip(before, more.tolist(), strict=True))

    def _boundaries(self, kernels: Sequence[Kernel]) -> dict[Kernel, float]:
        """Boundaries, there and back as if both ways were alike, where any was seen."""
        between = [u for u in kernels if u.kind == BOUNDARY and self._crossed]
        return dict(zip(between, (2 * Rates(self._crossed).ms(between)).tolist(), strict=True))

    @property
    def blind(self) -> bool:
        """True where the device did not let itself be watched."""
        return not self._seen

    @property
    def _per_converted_ms(self) -> float:
        """What converting a value takes, one way; 0 where nothing was converted."""
        return sum(ms for _, ms in self._conversions) / max(1, sum(values for values, _ in self._conversions))

    def _filled(self, kernel: Kernel) -> Kernel:
        return filled(kernel, self.timing.facts.channel_block.get(kernel.bits, 1))

    def _note(self, graph: Graph, observed: Observed) -> None:
        for name, kernel in self.read(graph).items():
            o = graph[name]
            taken = sum(observed.ops.get(inside, 0.0) for inside in executed_within(graph, o))
            if _behind_a_border(graph, o):
                source = graph[o.inputs[0]]
                made = taken + _crossing_ms(observed, source.name)
                self._slow_pools[replace(kernel, kind=BEFORE_A_POOL, bits=source.bits)].append(made)
            else:
                self._seen[self._filled(kernel)].append(taken)
        for name, ms in observed.conversions.items():
            o = graph[name]
            self._conversions.append((o.size, ms))
            if o.kind != "input" and len(o.shape) == 3:
                across = Kernel(BOUNDARY, o.shape[0], o.shape[0], o.shape[1:], o.bits)
                self._crossed[across].append(_crossing_ms(observed, name))


def _crossing_ms(observed: Observed, name: str) -> float:
    """What it takes to bring an operator's output to another precision, in the layout of the kernels there."""
    return observed.conversions.get(name, 0.0) + observed.layouts.get(name, 0.0)


BOUNDARY, BEFORE_A_POOL = "boundary", "boundary before a pool"

BETWEEN: Mapping[str, float] = {BOUNDARY: 2.0, BEFORE_A_POOL: 1.0, "unblocked": 1.0}
"""What stands between kernels (`borders`), with the passes over a map that it takes: the first is there and back."""


def _behind_a_border(graph: Graph, o: Op) -> bool:
    """True for a max pool in int8 of a map made in float, of which a convolution reads."""
    return o.kind == "max_pool" and o.bits == 8 != graph[o.inputs[0]].bits and read_by_conv(graph, o)


def _pool(before: Kernel) -> Kernel:
    """The pool in int8 that such a border stands before."""
    return replace(before, kind="max_pool", bits=8)


def watchable(timing: Timing) -> int:
    """Networks that kernels without a recipe are worth: fewer where each takes the device seconds."""
    device = timing.device
    return BY_CUTS if isinstance(device, Observing) and device.by_cuts else FEW
