"""A design of the chip and an assignment of the menu, chosen together: exactly, and with proof.

The best of all pairs is found in three passes over the designs, each of which leaves fewer:

1. *Bounds* (`search.joint_bounds`): the Lagrangian dual of every design, many at once. Assignments that turn up on the
   way are kept where they are the best so far; designs on which nothing is within the limit, and those whose bound is
   not below the best, drop out. A few designs from all over the grid come first, so that there soon is a good best.
2. *Order*: what is left, least bound first; the first design whose bound is not below the best ends the search. After
   a few of them, what is alike goes together (`search.families`): where nothing is better than the best even on a
   design that is nowhere slower than any of a family, all of it drops out; where something is, its halves are asked.
3. *Exact* (`search.labels`): the best assignment of a design, among those better than the best. One that is nowhere
   faster than another that was solved has none. Limits on further metrics have prices so far
   (`search.further_limits`); where these do not decide, and where labels are too many, HiGHS solves the design's menu
   (`search.assign`).

When nothing is left the best is proven, to 1e-8 of the objective's spread. A deadline ends any pass; the bounds of what
it leaves then say how much better the best could be.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from chipfit.core.deadline import Deadline
from chipfit.core.errors import BadInput, ChipfitError, Infeasible, OutOfTime
from chipfit.core.types import METRICS, Limit
from chipfit.search.assign import assigned, known, reachable
from chipfit.search.design_costs import LATENCY, DesignCosts, Indices, Table, Tabled, all_over, portions, tabled
from chipfit.search.elimination import Chosen
from chipfit.search.families import MOST, halves, least_of, marks
from chipfit.search.further_limits import prices
from chipfit.search.joint_bounds import lower_bounds
from chipfit.search.joint_problem import Form, Problem, Scale, formed
from chipfit.search.labels import TooMany, pareto
from chipfit.space.menu import Assignment, Menu

CELLS = 1 << 23
"""Cells of all tables of the designs that are bounded at a time: 64 MB, and about twice that for their sums."""

_SAMPLE = 256
"""Designs from all over the grid that are bounded first, and whose latencies set the scale."""

HELD = 1 << 24
"""Cells of the designs among which families are sought: 128 MB."""

_ALONE = 8
"""Designs that are solved one by one before families are asked, which takes a good best."""

_TRIED = 8
"""Assignments that turn up together and are held against all limits, until one keeps them."""


@dataclass(frozen=True, slots=True)
class Joint:
    """The best design and assignment, and what is proven of it.

    `value` is the objective reached and `bound` what no pair falls below: `gap` 0 is a proof. `damage` is nan where the
    menu has no such metric. Of `seen` designs nothing is within the limits on `infeasible`, bounds ruled out `bounded`,
    `solved` were solved exactly, and `left` are those that the deadline left.
    """

    design: int
    assignment: Assignment
    damage: float
    latency_ms: float
    value: float
    bound: float
    seen: int
    infeasible: int
    bounded: int
    solved: int
    left: int
    cpu_s: float

    @property
    def gap(self) -> float:
        """By how much the objective could be lower at most."""
        return self.value - self.bound


def codesign(
    menu: Menu,
    costs: DesignCosts,
    limits: Sequence[Limit],
    *,
    objective: str = "damage",
    deadline: Deadline | None = None,
) -> Joint:
    """The design and assignment with the least total of `objective` within every limit.

    Args:
        menu: decisions, ties, and terms of all metrics but the latency; terms of that are ignored.
        costs: the latency of its choices on each design.
        limits: absolute limits, met without tolerance. One is on the latency, unless that is the objective.
        objective: "latency_ms", or a metric of the menu of which less is better.
        deadline: when it comes, the best pair so far is returned, with a gap.

    Returns:
        The pair. Of pairs of equal objective (to 1e-8 of its spread) one with less of the limited metric; of those
        equal in both one that bounds lead to first, which depends on the arguments alone.

    Raises:
        Infeasible: no pair is within the limits; `nearest` has the least reachable value of what cannot be met.
        BadInput: the menu has no terms for a metric, a limit is relative, or none is on the latency.
        OutOfTime: the deadline came before any pair was found.
    """
    _check(menu, costs, limits, objective)
    until = deadline or Deadline.never()
    found = _searched(menu, costs, limits, objective, until)
    if found is None:
        raise _infeasible(menu, costs, limits, until)
    return found


def _searched(menu: Menu, costs: DesignCosts, limits: Sequence[Limit], objective: str, until: Deadline) -> Joint | None:
    """The best pair, or None where none is within the limits."""
    search = _Search(menu, costs, limits, objective, until)
    found = search.run()
    if found is None and search.left:
        raise OutOfTime("time ran out before a design was found that is within the limits; give it more")
    return found


def _check(menu: Menu, costs: DesignCosts, limits: Sequence[Limit], objective: str) -> None:
    if not costs.count:
        raise BadInput("there is no design to choose from; give a grid with at least one that fits the part")
    if METRICS.get(objective, ("", False))[1]:
        raise BadInput(f"of {objective} more is better; give an objective of which less is, such as damage")
    for x in limits:
        if x.relative:
            raise BadInput(f"limit {x} is relative; make it absolute with limit.against(reference)")
    for name in (objective, *(x.metric for x in limits)):
        if name != LATENCY:
            known(menu, name)
    if objective != LATENCY and not any(x.metric == LATENCY and not x.at_least for x in limits):
        raise BadInput(f"no limit is on {LATENCY}, so that any design would do; give one, or make it the objective")


def _main(menu: Menu, limits: Sequence[Limit], objective: str) -> Limit | None:
    """The limit that bounds see: the least on the latency, or where that is the objective the first on a sum."""
    most = [x for x in limits if not x.at_least]
    if objective != LATENCY:
        return min((x for x in most if x.metric == LATENCY), key=lambda x: x.value)
    return next((x for x in most if _is_sum(menu, x)), None)


def _is_sum(menu: Menu, limit: Limit) -> bool:
    """True for a limit on a metric of the menu that is one sum, and not the greatest of several."""
    return limit.metric != LATENCY and len(menu.aspects(limit.metric)) == 1


@dataclass(slots=True)
class _Search:
    """The state of one search: the best pair so far, how designs were dealt with, and what the deadline left."""

    menu: Menu
    costs: DesignCosts
    limits: Sequence[Limit]
    objective: str
    deadline: Deadline
    form: Form = field(init=False)
    scale: Scale = field(init=False)
    cells: int = field(init=False)  # of the tables of a design
    best: float = math.inf  # the goal of the best pair, ties with the cost broken
    joint: Joint | None = None
    guess: float | None = None  # the best pair's multiplier
    infeasible: int = 0
    bounded: int = 0
    solved: int = 0
    left: int = 0
    least_left: float = math.inf
    known: list[Table] = field(default_factory=list)  # cells of the designs that were solved

    def __post_init__(self) -> None:
        some = tabled(self.costs, all_over(self.costs.count, _SAMPLE))
        main = _main(self.menu, self.limits, self.objective)
        further = [x for x in self.limits if x is not main and _is_sum(self.menu, x)]
        self.form = formed(self.menu, some.scopes, self.objective, main, further)
        if further:
            self.form = self.form.pricing(prices(self.form, some))
        self.scale = self.form.scale(some)
        self.cells = some.cells

    def run(self) -> Joint | None:
        """The best pair, or None where none was found."""
        began = time.process_time()
        left = self._bound_all()
        order = np.lexsort((left.designs, left.lower))
        size = max(1, HELD // self.cells)
        parts = [order[:_ALONE], *(order[n : n + size] for n in range(_ALONE, len(order), size))]
        for number, part in enumerate(parts):
            self._solve_batch(left.take(part), alone=number == 0)
        return self._told(time.process_time() - began)

    @property
    def _at_a_time(self) -> int:
        """Designs whose tables are held together."""
        return max(1, CELLS // self.form.plan.cells)

    def _hopeful(self, lower: float) -> bool:
        return lower < self.best - self.scale.goal_dust

    def _leave(self, designs: int, lower: float) -> None:
        self.left += designs
        self.least_left = min(self.least_left, lower)

    # --- bounds

    def _bound_all(self) -> _Left:
        """The designs that may have a better assignment than the best."""
        kept = [_Left(np.empty(0, np.int64), np.empty(0), np.empty(0))]
        for designs in portions(self.costs.count, self._at_a_time, _SAMPLE):
            if self.deadline.passed():
                self._leave(len(designs), -math.inf)
            else:
                kept.append(self._bound(designs))
        return self._still(_Left(*(np.concatenate(column) for column in zip(*kept, strict=True))))

    def _still(self, left: _Left) -> _Left:
        """Those that may have a better assignment than the best; the others are ruled out by their bounds."""
        hopeful = left.lower < self.best - self.scale.goal_dust
        self.bounded += int((~hopeful).sum())
        return left.take(np.flatnonzero(hopeful))

    def _bound(self, designs: Indices) -> _Left:
        """The same for some designs."""
        held = tabled(self.costs, designs)
        before = self.best

        def report(rows: Indices, chosen: Chosen, goals: Table) -> float:
            for i in np.argsort(goals, kind="stable")[:_TRIED]:
                if self._offer(held, int(rows[i]), int(designs[rows[i]]), _plain(chosen[i]), float(goals[i])):
                    break
            return self.best

        problem = self.form.at(held, self.scale)
        bounds = lower_bounds(problem, self.guess, self.best, report)
        if self.joint is not None and self.best < before:
            self.guess = float(bounds.multiplier[np.flatnonzero(designs == self.joint.design)[0]])
        able = bounds.lower <= problem.ceiling()
        self.infeasible += int((~able).sum())
        return self._still(_Left(designs, *bounds).take(np.flatnonzero(able)))

    def _offer(self, held: Tabled, row: int, design: int, assignment: Assignment, goal: float) -> bool:
        """Takes a pair as the best where it is better and keeps all limits exactly; False where it breaks one."""
        menu = held.priced(self.menu, row)
        latency_ms = menu.total(LATENCY, assignment)
        if not (math.isfinite(latency_ms) and _within(menu, self.limits, assignment)):
            return False
        if self._hopeful(goal):
            value = menu.total(self.objective, assignment)
            damage = menu.total("damage", assignment) if "damage" in menu.metrics else math.nan
            self.best = goal
            self.joint = Joint(design, assignment, damage, latency_ms, value, value, 0, 0, 0, 0, 0, 0.0)
        return True

    # --- exact

    def _solve_batch(self, batch: _Left, *, alone: bool) -> None:
        """Solves designs one by one, or family by family."""
        left = self._still(batch)
        if len(left.designs):
            held = tabled(self.costs, left.designs)
            rows, marked = np.arange(held.count), marks(held)
            for some in np.split(rows, held.count) if alone else [rows]:
                self._solve_alike(held, left, marked, some)

    def _solve_alike(self, held: Tabled, batch: _Left, marked: Table, rows: Indices) -> None:
        """Solves the designs of these rows, as few of them by themselves as that takes."""
        if self.deadline.passed():
            self._leave(len(rows), float(batch.lower[rows].min()))
        elif len(rows) == 1:
            self._solve(held, int(rows[0]), *batch.one(int(rows[0])))
        elif len(rows) <= MOST and self._ruled_out(least_of(held, rows), float(np.median(batch.multiplier[rows]))):
            self.bounded += len(rows)
        else:
            for half in halves(marked, rows):
                self._solve_alike(held, batch, marked, half)

    def _ruled_out(self, least: Tabled, multiplier: float) -> bool:
        """True where labels prove that a design has nothing better than the best."""
        if not math.isfinite(self.best):
            return False
        try:
            return not pareto(self.form.at(least, self.scale), multiplier, self.best, self.deadline)
        except TooMany:
            return False

    def _solve(self, held: Tabled, row: int, design: int, lower: float, multiplier: float) -> None:
        """Solves one design among what is better than the best."""
        flat = held.flat(row)
        if not self._hopeful(lower) or any((flat >= cells).all() for cells in self.known):
            self.bounded += 1
            return
        problem = self.form.at(tabled(held, np.array([row])), self.scale)
        try:
            found = pareto(problem, multiplier, self.best, self.deadline)
            done = not found or self._offer_priced(held, row, design, problem, *found[0])
        except TooMany:
            done = False
        if done or self._solve_by_program(held, row, design):
            self.solved += 1
            self.known.append(flat)
        else:
            self._leave(1, lower)

    def _offer_priced(
        self, held: Tabled, row: int, design: int, problem: Problem, assignment: Assignment, goal: float
    ) -> bool:
        """Offers what has the least goal with prices: True where that proves it the best of its design."""
        reached = float(problem.reached(np.array([assignment]))[0])
        return self._offer(held, row, design, assignment, reached) and reached <= goal + self.scale.goal_dust

    def _solve_by_program(self, held: Tabled, row: int, design: int) -> bool:
        """The same by HiGHS, with all limits; False where the deadline came first."""
        menu, limits = finite(held.priced(self.menu, row)), list(self.limits)
        if self.joint is not None:
            limits.append(Limit(self.objective, self.joint.value))
        try:
            found = assigned(menu, limits, objective=self.objective, deadline=self.deadline)
        except OutOfTime:
            return False
        if found is not None:
            problem = self.form.at(tabled(held, np.array([row])), self.scale)
            self._offer(held, row, design, found, float(problem.reached(np.array([found]))[0]))
        return not self.deadline.passed()

    def _told(self, cpu_s: float) -> Joint | None:
        """The best pair with the account of all designs."""
        if self.joint is None:
            return None
        # bounds are of the goal with its ties broken, which adds this much at most
        bound = self.least_left - self.scale.tie * abs(self.form.most)
        return replace(
            self.joint,
            bound=min(self.joint.value, bound) if self.left else self.joint.value,
            seen=self.costs.count,
            infeasible=self.infeasible,
            bounded=self.bounded,
            solved=self.solved,
            left=self.left,
            cpu_s=cpu_s,
        )


class _Left(NamedTuple):
    """Designs that may have a better assignment than the best, and the bound and multiplier of each."""

    designs: Indices
    lower: Table
    multiplier: Table

    def take(self, rows: Indices) -> _Left:
        """Some of them."""
        return _Left(self.designs[rows], self.lower[rows], self.multiplier[rows])

    def one(self, row: int) -> tuple[int, float, float]:
        """One of them."""
        return int(self.designs[row]), float(self.lower[row]), float(self.multiplier[row])


def _plain(options: Chosen) -> Assignment:
    return tuple(int(o) for o in options)


def _within(menu: Menu, limits: Sequence[Limit], assignment: Assignment) -> bool:
    return menu.valid(assignment) and all(x.met(menu.total(x.metric, assignment)) for x in limits)


def finite(menu: Menu) -> Menu:
    """The menu without infinite latencies, which are beyond the sum of all finite ones in their place."""
    latencies = [t for t in menu.terms if t.metric == LATENCY]
    finite = [t.table[np.isfinite(t.table)] for t in latencies]
    beyond = 2 * math.fsum(float(np.abs(values).max(initial=0.0)) for values in finite) + 1.0
    return menu.priced(replace(t, table=np.where(np.isfinite(t.table), t.table, beyond)) for t in latencies)


def _infeasible(menu: Menu, costs: DesignCosts, limits: Sequence[Limit], until: Deadline) -> ChipfitError:
    """What to say when no pair is within the limits."""
    on = f"any of {costs.count:,} designs" if costs.count > 1 else "the design"
    fastest = _searched(menu, costs, (), LATENCY, until)
    if fastest is None:
        return ChipfitError(f"no choice of the menu runs on {on}, or its ties contradict each other")
    nearest = {x.metric: fastest.value if x.metric == LATENCY else reachable(menu, x.metric)[0] for x in limits}
    beyond = [x for x in limits if not x.met(nearest[x.metric])]
    if beyond:
        said = "; ".join(_impossible(x, nearest[x.metric], on) for x in beyond)
        return Infeasible(f"{said}; relax {' and '.join(x.metric for x in beyond)}", nearest)
    said = f"{' and '.join(map(str, limits))} can each be met alone, but not together on {on}"
    within = _searched(menu, costs, [x for x in limits if x.metric != LATENCY], LATENCY, until)
    if within is not None:
        said += f": within the rest, the least {LATENCY} is {within.value:.6g}"
        nearest[LATENCY] = within.value
    return Infeasible(f"{said}; relax one of them", nearest)


def _impossible(limit: Limit, nearest: float, on: str) -> str:
    end = "most" if limit.at_least else "least"
    where = f" on {on}" if limit.metric == LATENCY else ""
    return f"{limit} is impossible: the {end} {limit.metric} that any choice reaches{where} is {nearest:.6g}"
