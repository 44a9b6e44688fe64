"""A menu with latencies, and how its tables are held against whole networks that were measured.

Tables of a device are right but for a few factors: a part of a menu's terms shares one. Whole networks tell the factors
(Bayesian least squares around "as the tables have it").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

from chipfit.core.deadline import Deadline
from chipfit.core.errors import ChipfitError
from chipfit.core.graph import Graph
from chipfit.evaluate.in_time import InTime
from chipfit.evaluate.timing import Timing
from chipfit.search.design_costs import DesignCosts
from chipfit.space import edits as on_graph
from chipfit.space.menu import Assignment, Menu, Term


@dataclass(frozen=True, slots=True)
class Part:
    """Terms that are right up to one common factor, which is known to about `spread`; equal names share it."""

    name: str
    terms: tuple[Term, ...]
    spread: float


@dataclass(frozen=True)
class Pricing:
    """A priced menu, and the whole networks (`assignments`, `measured` in ms) that its tables were corrected on.

    Where a device's tables are exact there are none, and no `parts` to correct.
    """

    menu: Menu
    measured: tuple[float, ...]
    assignments: tuple[Assignment, ...]
    parts: tuple[Part, ...]
    timed: float = 1.0
    """Share of what was to be timed that there was time for."""
    costs: DesignCosts | None = None
    """The same on every design of the chip, where that is a variable too; the menu then has those of one."""

    @cached_property
    def predicted(self) -> tuple[float, ...]:
        """What the tables, corrected on all the others, foretell of each measured network, in ms."""
        sums, measured = _sums(self.parts, self.assignments), np.array(self.measured)
        found = []
        for i in range(len(sums)):
            others = np.arange(len(sums)) != i
            factors = scales(sums[others], measured[others], _spread(self.parts))
            found.append(float(sums[i] @ factors))
        return tuple(found)

    @cached_property
    def error(self) -> float:
        """Relative error of `predicted`: the median of its absolute values, times 1.48 (a normal's sd)."""
        if not self.measured:
            return 0.0
        relative = np.array(self.predicted) / np.array(self.measured) - 1
        return 1.4826 * float(np.median(np.abs(relative)))

    def refined(
        self, graph: Graph, assignments: Sequence[Assignment], timing: Timing, deadline: Deadline | None = None
    ) -> Pricing:
        """The same tables, corrected on these networks too: on optima, say, which are where errors of tables gather."""
        new = [a for a in dict.fromkeys(assignments) if a not in self.assignments]
        if not new or not self.parts:
            return self
        return corrected(self, graph, new, InTime(timing, deadline or Deadline.never()))


def corrected(known: Pricing, graph: Graph, assignments: Sequence[Assignment], timing: InTime) -> Pricing:
    """What is known, with these networks measured and every scale fitted to all of them."""
    graphs = [on_graph.apply(graph, known.menu.edits(a)) for a in assignments]
    reached = [(a, m) for a, m in zip(assignments, timing.graphs(graphs), strict=True) if m is not None]
    timed = [(a, m.bound) for a, m in reached if np.isfinite(m.value)]
    if not timed and not known.measured:
        raise ChipfitError(f"no version of this network can be timed on the device: {reached[0][1].protocol}")
    everyone = (*known.assignments, *(a for a, _ in timed))
    measured = (*known.measured, *(ms for _, ms in timed))
    factors = scales(_sums(known.parts, everyone), np.array(measured), _spread(known.parts))
    terms: list[Term] = []
    for part, factor in zip(known.parts, factors, strict=True):
        terms += [replace(t, table=t.table * factor) for t in part.terms]
    return replace(known, menu=known.menu.priced(terms), measured=measured, assignments=everyone)


def _spread(parts: Sequence[Part]) -> NDArray[np.float64]:
    """(parts,) how well the scale of each is known."""
    return np.array([p.spread for p in parts])


NOISES = (0.015, 0.025, 0.04, 0.06)
"""What a quick measurement of a whole network, and what no table can tell, may err by together, as shares.

Which of them it is the networks tell (`noise_of`): on a quiet machine the first, on a busy one more. Where that was
taken for the first, scales of a dozen borders were fitted to noise: [measured] 24 random MobileNetV2 and as many
EfficientNet-Lite0 were foretold to 2.7 and 6.2 % instead of 2.9 and 5.0.
"""


def _sums(parts: Sequence[Part], assignments: Sequence[Assignment]) -> NDArray[np.float64]:
    """(assignments, parts) uncorrected ms of each part."""
    options = np.array(assignments, np.int64).T  # (decisions, assignments)
    sums = np.zeros((len(assignments), len(parts)))
    for n, part in enumerate(parts):
        for t in part.terms:
            sums[:, n] += t.table[tuple(options[d] for d in t.on)]
    return sums


def scales(
    sums: NDArray[np.float64], measured: NDArray[np.float64], spread: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(parts,) the scale of each part of the (networks, parts) sums that fits the (networks,) measured ms.

    Least squares of relative errors in units of their noise, with each scale drawn to 1 in units of the part's spread.
    """
    noise = noise_of(sums, measured, spread)
    a = np.vstack([sums / measured[:, None] / noise, np.diag(1 / spread)])
    b = np.concatenate([np.full(len(measured), 1 / noise), 1 / spread])
    theta: NDArray[np.float64] = lsq_linear(a, b, bounds=(0.0, np.inf)).x
    return theta


def noise_of(sums: NDArray[np.float64], measured: NDArray[np.float64], spread: NDArray[np.float64]) -> float:
    """The likeliest of `NOISES`, arguments as for `scales`.

    With relative parts A and scales around 1 that are known to the diagonal S, what A 1 misses of 1 is normal with
    covariance A S² Aᵀ + noise² I.
    """
    a = sums / measured[:, None]
    missed, told = 1 - a.sum(axis=1), (a * spread**2) @ a.T

    def likelihood(noise: float) -> float:
        covariance = told + noise**2 * np.eye(len(missed))
        return -float(missed @ np.linalg.solve(covariance, missed) + np.linalg.slogdet(covariance)[1])

    return max(NOISES, key=likelihood)
