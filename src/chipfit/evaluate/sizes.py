"""From a limit on a file's megabytes to one that a menu knows.

A menu counts weights and scales. A file also holds names, shapes and, in int8, nodes that quantise: a tenth of a
ResNet's megabytes, half of a small depth-wise network's, and it differs between designs and formats. So the design that
was solved for is written, the limit on its weights moved by what its file holds beside them, and solved again, until
the file uses the limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from chipfit.core.errors import Infeasible
from chipfit.core.graph import Graph
from chipfit.core.types import Limit
from chipfit.evaluate.timing import Latencies
from chipfit.search.assign import reachable
from chipfit.space import edits as on_graph
from chipfit.space.edits import computed_in
from chipfit.space.menu import Assignment, Decision, Menu

USED = 0.97
"""Share of a size limit that a file should use."""

ROUNDS = 10
"""Solves at most for one size limit."""

NARROW = 2e-3
"""Share of the limit: aims that lie closer together are not told apart."""

Solve = Callable[[Sequence[Limit]], Assignment]


@dataclass(frozen=True)
class Sizes:
    """Megabytes of the files of a menu's designs, each written once; `notes_mb` is what ready files hold beside."""

    menu: Menu
    graph: Graph
    timing: Latencies
    notes_mb: float = 0.0
    known: dict[Assignment, float] = field(default_factory=dict)

    def file_mb(self, a: Assignment) -> float:
        """The size of a design's file."""
        if a not in self.known:
            written = self.timing.size_mb(on_graph.apply(self.graph, self.menu.edits(a)))
            self.known[a] = written + self.notes_mb
        return self.known[a]

    def beside_mb(self, a: Assignment) -> float:
        """What a design's file holds beside the weights that the menu counts."""
        return self.file_mb(a) - self.menu.total("size_mb", a)


def on_weights(limits: Sequence[Limit], beside_mb: float) -> list[Limit]:
    """The limits with the one on a file's size turned into one on its weights."""
    return [replace(x, value=x.value - beside_mb) if x.metric == "size_mb" else x for x in limits]


def sized(solve: Solve, sizes: Sizes, prefer: Callable[[Assignment], float]) -> Solve:
    """A solver whose size limits are those of files: of the designs found within them the one that `prefer` likes best.

    What it returns raises Infeasible where no file within the limit is found; `nearest` has the smallest that was.
    """

    def solved(limits: Sequence[Limit]) -> Assignment:
        limit = next((x for x in limits if x.metric == "size_mb"), None)
        if limit is None:
            return solve(limits)
        return _Search(solve, sizes, limits, limit).run(prefer)

    return solved


@dataclass
class _Search:
    """The files tried for one limit, and the aims (MB of weights) that are known to lead below and above it."""

    solve: Solve
    sizes: Sizes
    limits: Sequence[Limit]
    limit: Limit
    tried: dict[Assignment, float] = field(default_factory=dict)
    low: float = -math.inf
    high: float = math.inf
    refused: Infeasible | None = None

    def run(self, prefer: Callable[[Assignment], float]) -> Assignment:
        """Aims as the last file says, by halves where that leads no further."""
        aim: float | None = self.limit.value - self._first_beside()
        for _ in range(ROUNDS):
            if aim is None:
                break
            try:
                a = self.solve(on_weights(self.limits, self.limit.value - aim))
            except Infeasible as e:
                self.refused, self.low = e, max(self.low, aim)
                aim = self._halved() if self.tried else self._least_aim(aim)
                continue
            aim = self._after(a, aim)
        within = [a for a, mb in self.tried.items() if self.limit.met(mb)]
        if not within:
            raise self._infeasible()
        return min(within, key=prefer)

    def _first_beside(self) -> float:
        """What to expect: of designs that are known the largest within the limit tells best.

        Where none is, the network as it is, in its lowest precisions if it is too large without them.
        """
        sizes, menu = self.sizes, self.sizes.menu
        within = [a for a, mb in sizes.known.items() if self.limit.met(mb)]
        if within:
            return sizes.beside_mb(max(within, key=sizes.file_mb))
        if self.limit.met(sizes.file_mb(menu.as_is)):
            return sizes.beside_mb(menu.as_is)
        return sizes.beside_mb(tuple(map(_lowest, menu.decisions)))

    def _least_aim(self, aim: float) -> float | None:
        """The aim where files hold no more beside weights than the smallest one does: the last that is worth a try."""
        wider = self.limit.value - self.sizes.beside_mb(smallest(self.sizes))
        return wider if wider > aim else None

    def _after(self, a: Assignment, aim: float) -> float | None:
        """Where to aim after this design; None where it will do, or nothing else is to be had."""
        again, mb = a in self.tried, self.sizes.file_mb(a)
        self.tried[a] = mb
        proposed = self.limit.value - self.sizes.beside_mb(a)
        if self.limit.met(mb):
            self.low = max(self.low, aim)
            if mb >= USED * self.limit.value or proposed <= aim * (1 + NARROW):
                return None
        else:
            self.high = min(self.high, aim)
        if again or not self.low < proposed < self.high:
            return self._halved()
        return proposed

    def _halved(self) -> float | None:
        if math.isinf(self.low) or math.isinf(self.high) or self.high - self.low < NARROW * self.limit.value:
            return None
        return (self.low + self.high) / 2

    def _infeasible(self) -> Infeasible:
        """With the smallest file in the place of the least weights, where it is the size that is out of reach."""
        least = self.sizes.file_mb(smallest(self.sizes))
        nearest = dict(self.refused.nearest) if self.refused is not None else {}
        if self.refused is not None and self.limit.met(least):
            return self.refused
        text = f"no file within {self.limit} was found: the smallest has {least:.4g} MB"
        return Infeasible(text, nearest | {"size_mb": least})


def _lowest(d: Decision) -> int:
    """The option of the fewest bits; the first where none changes them."""
    bits = {n: b for n, option in enumerate(d.options) if (b := computed_in(option.edits)) is not None}
    return min(bits, key=bits.__getitem__, default=0)


def smallest(sizes: Sizes) -> Assignment:
    """The design of least weights, whose file is about the smallest."""
    return reachable(sizes.menu, "size_mb")[1]
