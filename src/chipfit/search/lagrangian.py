"""A good design and assignment without proof: the best point on any design's hull, and then whatever still fits.

What a Lagrangian relaxation alone gives (Everett, 1963): among the assignments that are least for some multiplier, the
best within the limit. These lie on the lower convex hull of (cost, goal) only, so that some of the limit is left over;
it is spent greedily, one decision at a time, always on what lowers the goal most. The baseline of the exact search,
which begins the same way (`search.codesign`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from chipfit.core.types import Limit
from chipfit.search.design_costs import LATENCY, DesignCosts, Indices, Table, Tabled, all_over, portions, tabled
from chipfit.search.elimination import Chosen
from chipfit.search.joint_bounds import lower_bounds
from chipfit.search.joint_problem import formed
from chipfit.space.menu import Assignment, Menu

_CELLS = 1 << 22
_SAMPLE = 64


class Pair(NamedTuple):
    """A design and an assignment, and the objective that they reach."""

    design: int
    assignment: Assignment
    value: float


def greedy(menu: Menu, costs: DesignCosts, limit: Limit, *, objective: str = "damage") -> Pair | None:
    """The best pair that the hulls of all designs and greedy filling lead to; None where they find none.

    Args:
        menu: decisions, ties, and terms of all metrics but the latency.
        costs: the latency of its choices on each design.
        limit: an absolute upper limit, on the latency unless that is the objective.
        objective: "latency_ms", or a metric of the menu of which less is better.
    """
    some = tabled(costs, all_over(costs.count, _SAMPLE))
    form = formed(menu, some.scopes, objective, limit)
    scale = form.scale(some)
    best: Pair | None = None
    for designs in portions(costs.count, max(1, _CELLS // form.plan.cells), _SAMPLE):
        held = tabled(costs, designs)
        hull = _Hull(menu, held, designs, limit, objective, best)
        lower_bounds(form.at(held, scale), None, hull.value, hull.report)
        best = hull.best
    if best is None:
        return None
    own = tabled(costs, np.array([best.design])).priced(menu, 0)
    return Pair(best.design, *filled(own, limit, objective, best.assignment))


@dataclass(slots=True)
class _Hull:
    """Keeps the best assignment that walks report."""

    menu: Menu
    held: Tabled
    designs: Indices
    limit: Limit
    objective: str
    best: Pair | None

    @property
    def value(self) -> float:
        """The objective of the best, infinite for none."""
        return np.inf if self.best is None else self.best.value

    def report(self, rows: Indices, chosen: Chosen, goals: Table) -> float:
        """Takes the best of these where it is within the limit and better."""
        if len(goals):
            i = int(np.argmin(goals))
            assignment = tuple(int(o) for o in chosen[i])
            menu = self.held.priced(self.menu, int(rows[i]))
            value = menu.total(self.objective, assignment)
            if _within(menu, self.limit, assignment) and value < self.value:
                self.best = Pair(int(self.designs[rows[i]]), assignment, value)
        return self.value


def filled(menu: Menu, limit: Limit, objective: str, assignment: Assignment) -> tuple[Assignment, float]:
    """The assignment after single changes within the limit, each the one that lowers the objective most.

    Also the objective reached.
    """
    value = menu.total(objective, assignment)
    while True:
        near = [(menu.total(objective, a), a) for a in _changed(menu, assignment) if _within(menu, limit, a)]
        lowest = min(near, default=(value, assignment))
        if lowest[0] >= value:
            return assignment, value
        value, assignment = lowest


def _changed(menu: Menu, assignment: Assignment) -> Iterator[Assignment]:
    """Every assignment that differs in one decision."""
    for d, n in enumerate(menu.sizes):
        for o in range(n):
            if o != assignment[d]:
                yield (*assignment[:d], o, *assignment[d + 1 :])


def _within(menu: Menu, limit: Limit, assignment: Assignment) -> bool:
    runs = bool(np.isfinite(menu.total(LATENCY, assignment)))
    return runs and menu.valid(assignment) and limit.met(menu.total(limit.metric, assignment))
