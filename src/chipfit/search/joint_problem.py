"""A menu on many designs as tables to be added up: a goal to be made least, and a cost that must stay within a limit.

Two forms share everything: the least damage within a latency, and the least latency within a damage. Latencies differ
from design to design and the menu's own metrics do not, so that tables have a leading axis over designs, of 1 where all
have the same.

Limits on further metrics are priced: where an assignment keeps a limit, excess(a) = metric(a) - limit is at most 0, and
goal(a) + price excess(a) at most the goal, for any price >= 0. So a lower bound of the goal with such prices is one of
the goal itself (`search.further_limits` says what prices are good).

Assignments of equal goal are told apart by their cost: the goal that is made least is goal + tie cost, where a cost at
the limit is worth 1e-8 of the goal's spread.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from chipfit.core.types import Limit
from chipfit.search.design_costs import LATENCY, Indices, Table, Tabled
from chipfit.search.elimination import Chosen, Plan, Stacked, cells, planned
from chipfit.search.program import Scope, Tables, spread, tabulate
from chipfit.space.menu import Menu

_TIE = 1e-8
"""Share of the goal's spread that a cost at the limit is worth."""

_LEAST_LIMITED = 0.01
"""A limit counts as this share of the whole cost at least, where costs are weighed against the goal."""

_DUST = 1e-13
"""Share of a metric's size below which a difference may be rounding."""

Slots = tuple[Table | None, ...]
"""One table for each scope that a plan is given, None where there is nothing to add."""


@dataclass(frozen=True, slots=True)
class Scale:
    """What one unit of cost adds to the goal to break ties, and differences of goal and cost that may be rounding."""

    tie: float
    goal_dust: float
    cost_dust: float


@dataclass(frozen=True, slots=True)
class Problem:
    """On `count` designs: the least sum of `goal` tables with the sum of `cost` tables at most `most`.

    `plain` is the goal without the prices of further limits. `barred` tables are infinite in cells that cannot be taken
    and 0 elsewhere; the others are finite.
    """

    plan: Plan
    count: int
    goal: Slots
    plain: Slots
    cost: Slots
    barred: Slots
    most: float
    scale: Scale

    def weighed(self, goal: float, cost: float | NDArray[np.float64]) -> list[Table]:
        """The tables of goal times one weight and cost times another, which may be one of each design."""
        return [self._slot(n, goal, np.asarray(cost)) for n in range(self.plan.given)]

    def _slot(self, n: int, goal: float, weight: NDArray[np.float64]) -> Table:
        parts: list[Table] = []
        if goal and (table := self.goal[n]) is not None:
            parts.append(table)
        if (table := self.cost[n]) is not None:
            one_of_each = weight.reshape(-1, *[1] * (table.ndim - 1))
            parts.append(one_of_each * table)
        if (table := self.barred[n]) is not None:
            parts.append(table)
        if not parts:
            options = [self.plan.sizes[d] for d in self.plan.scopes[n]]
            return np.zeros((1, *options))
        return np.asarray(sum(parts[1:], parts[0]))

    def goals(self, chosen: Chosen) -> Table:
        """(designs,) goal of an assignment on each design, ties with the cost broken."""
        return self._total(self.goal, chosen) + self.scale.tie * self._total(self.cost, chosen)

    def reached(self, chosen: Chosen) -> Table:
        """(designs,) the same without the prices of further limits."""
        return self._total(self.plain, chosen) + self.scale.tie * self._total(self.cost, chosen)

    def costs(self, chosen: Chosen) -> Table:
        """(designs,) cost of an assignment on each design, infinite where it cannot be taken."""
        return self._total(self.cost, chosen) + self._total(self.barred, chosen)

    def _total(self, slots: Slots, chosen: Chosen) -> Table:
        whole = np.zeros(self.count)
        for scope, table in zip(self.plan.scopes, slots, strict=False):
            if table is not None:
                whole += cells(table, scope, chosen)
        return whole

    def take(self, rows: Indices) -> Problem:
        """The problem on some of its designs."""

        def taken(slots: Slots) -> Slots:
            return tuple(t[rows] if t is not None and len(t) == self.count else t for t in slots)

        return replace(
            self,
            count=len(rows),
            goal=taken(self.goal),
            plain=taken(self.plain),
            cost=taken(self.cost),
            barred=taken(self.barred),
        )

    def ceiling(self) -> Table:
        """(designs or 1,) what the goal without prices of no assignment is above."""
        most = [t.reshape(len(t), -1).max(axis=1) for t in self.plain if t is not None]
        return np.asarray(sum(most, np.full(1, self.scale.tie * abs(self.most) + self.scale.goal_dust)))


@dataclass(frozen=True, slots=True)
class Form:
    """What is asked of a menu on any designs: `objective` least within `limit`, one of the two being the latency.

    `own`: the tables of the menu's own metric among the two; `ties`: infinite where a tie is broken; `excesses`: by how
    much each further limit is exceeded; `priced`: their sum, times the prices. Axes are in the plan's order, designs
    first.
    """

    plan: Plan
    latency_is_goal: bool
    own: Stacked
    ties: Stacked
    most: float
    excesses: tuple[Stacked, ...] = ()
    priced: Stacked = field(default_factory=dict)

    def pricing(self, prices: Sequence[float]) -> Form:
        """The form with a price for each unit by which a further limit is exceeded."""
        priced: dict[Scope, Table] = {}
        for price, excess in zip(prices, self.excesses, strict=True):
            for scope, table in excess.items():
                _add(priced, scope, price * table)
        return replace(self, priced=priced)

    def at(self, costs: Tabled, scale: Scale) -> Problem:
        """The problem on the designs of these costs."""
        latency, barred = self._latency(costs)
        mine = self._slots(self.own)
        plain, cost = (latency, mine) if self.latency_is_goal else (mine, latency)
        goal = tuple(map(_sum, plain, self._slots(self.priced))) if self.priced else plain
        return Problem(self.plan, costs.count, goal, plain, cost, barred, self.most, scale)

    def scale(self, some: Tabled) -> Scale:
        """The scale of the problem, from some of the designs: one for all, so that their goals can be compared."""
        problem = self.at(some, Scale(0.0, 0.0, 0.0))
        goal_size, cost_size = _size(problem.goal), _size(problem.cost)
        # costs below 0 must not outweigh a limit near it, nor all costs count for little below a limit far above them
        limited = min(max(abs(self.most), _LEAST_LIMITED * cost_size), cost_size)
        worth = _TIE * (_reach(problem.goal) or goal_size or 1.0)
        tie = worth / limited if limited else 0.0
        return Scale(tie, _DUST * (goal_size + tie * limited), _DUST * (cost_size + abs(self.most)))

    def _latency(self, costs: Tabled) -> tuple[Slots, Slots]:
        """The tables of the designs, and what they bar beside the ties."""
        summed: dict[Scope, Table] = {}
        for on, table in zip(costs.scopes, costs.held, strict=True):
            _add(summed, *_arranged(self.plan, on, table))
        barred = dict(self.ties)
        for scope, table in summed.items():
            infinite = np.isinf(table)
            if infinite.any():
                summed[scope] = np.where(infinite, 0.0, table)
                _add(barred, scope, np.where(infinite, np.inf, 0.0))
        return self._slots(summed), self._slots(barred)

    def _slots(self, tables: Stacked) -> Slots:
        return tuple(tables.get(scope) for scope in self.plan.scopes[: self.plan.given])


def formed(menu: Menu, on: Iterable[Scope], objective: str, limit: Limit | None, further: Sequence[Limit] = ()) -> Form:
    """The form of a menu on designs, its further limits without a price.

    Args:
        menu: has the metric among objective and limit that is not the latency.
        on: decisions of each table of latencies.
        objective: what is made least.
        limit: an upper limit on the latency, or where that is the objective on a metric of the menu; None for none.
        further: limits on metrics of the menu that are neither.
    """
    metric = limit.metric if objective == LATENCY and limit else objective
    tables: Tables = {} if metric == LATENCY else tabulate(menu, metric)
    barred, excesses = barred_by_ties(menu), [_excess(menu, x) for x in further]
    scopes = [(), *tables, *barred, *(scope for excess in excesses for scope in excess)]
    plan = planned([int(n) for n in menu.sizes], [*scopes, *(tuple(sorted(scope)) for scope in on)])
    return Form(
        plan=plan,
        latency_is_goal=objective == LATENCY,
        own=stacked(plan, tables),
        ties=stacked(plan, barred),
        most=limit.value if limit else 0.0,
        excesses=tuple(stacked(plan, excess) for excess in excesses),
    )


def _excess(menu: Menu, limit: Limit) -> Tables:
    """Tables of how much a limit is exceeded by."""
    sign = -1.0 if limit.at_least else 1.0
    tables = dict(tabulate(menu, limit.metric, sign))
    return tables | {(): tables.get((), np.zeros(())) - sign * limit.value}


def stacked(plan: Plan, tables: Tables) -> Stacked:
    """Tables that are the same on all designs, (1, *options), with their axes in the plan's order."""
    found: dict[Scope, Table] = {}
    for scope, table in tables.items():
        _add(found, *_arranged(plan, scope, table[None]))
    return found


def _sum(a: Table | None, b: Table | None) -> Table | None:
    return a + b if a is not None and b is not None else b if a is None else a


def _arranged(plan: Plan, on: Scope, table: Table) -> tuple[Scope, Table]:
    """A table (designs, *options) with its axes in the plan's order."""
    place = {d: i for i, d in enumerate(plan.order)}
    axes = sorted(range(len(on)), key=lambda axis: place[on[axis]])
    return tuple(on[axis] for axis in axes), np.transpose(table, (0, *(axis + 1 for axis in axes)))


def _add(tables: dict[Scope, Table], scope: Scope, table: Table) -> None:
    tables[scope] = tables[scope] + table if scope in tables else table


def barred_by_ties(menu: Menu) -> dict[Scope, Table]:
    """Infinite where just one of two choices that are tied is taken."""
    found: dict[Scope, Table] = {}
    for (a, i), (b, j) in menu.ties:
        one = np.arange(menu.sizes[a]) == i
        other = np.arange(menu.sizes[b]) == j
        if a == b:
            _add(found, (a,), _infinite(one != other))
        elif a < b:
            _add(found, (a, b), _infinite(one[:, None] != other[None, :]))
        else:
            _add(found, (b, a), _infinite(other[:, None] != one[None, :]))
    return found


def _infinite(broken: NDArray[np.bool_]) -> Table:
    return np.where(broken, np.inf, 0.0)


def _size(slots: Slots) -> float:
    """The largest sum of magnitudes of any design."""
    return math.fsum(float(np.abs(t).max(initial=0.0)) for t in slots if t is not None)


def _reach(slots: Slots) -> float:
    """The largest difference that the tables of any one design make."""
    return spread({(n,): _span(t) for n, t in enumerate(slots) if t is not None})


def _span(table: Table) -> Table:
    """(2,) 0 and the widest spread of the table over its options, of any design."""
    flat = table.reshape(len(table), -1)
    return np.array([0.0, float((flat.max(axis=1) - flat.min(axis=1)).max(initial=0.0))])
