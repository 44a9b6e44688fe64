"""Lower bounds of a menu's best assignment on many designs at once: the Lagrangian dual, and assignments on its way.

For a multiplier m >= 0 and any assignment a within the limit, cost(a) <= most, so that

    goal(a)  >=  goal(a) + m (cost(a) - most)  >=  min over all a' of [goal(a') + m cost(a')]  -  m most

The right side is a bound whatever m is, and its inner minimum is one elimination (`search.elimination`, which may
return less than the minimum, never more). The best m of each design is where a line touches the lower convex hull of
its points (cost, goal): two points beside the limit give the next m as the slope between them, and the assignment that
is least there replaces one of them, until it is one of the two (Everett, 1963; Handler and Zang, 1980). Each design
walks with a multiplier of its own, all at once in arrays.

Assignments within the limit that turn up on the way are reported at once: a design whose bound is not below the best of
them has no better one, and its walk ends. Since good designs have similar multipliers, one look with that of the best
design so far is enough for most.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chipfit.search.design_costs import Indices, Table
from chipfit.search.elimination import Chosen, eliminated, taken
from chipfit.search.joint_problem import Problem

_STEPS = 20
"""Multipliers of a design at most. Five to ten suffice where elimination is exact."""

Report = Callable[[Indices, Chosen, Table], float]
"""Takes rows of designs, an assignment within the limit for each, and its goal without the prices of further limits.

Returns the least such goal known so far.
"""


class Bounds(NamedTuple):
    """Of each design: a lower bound of its goal, infinite where nothing is within the limit, and the multiplier."""

    lower: Table
    multiplier: Table


@dataclass(slots=True)
class _End:
    """A point (cost, goal) of each design on one side of the limit, and the multiplier that led there."""

    goals: Table
    costs: Table
    multipliers: Table

    def move(self, rows: NDArray[np.bool_], probe: Probe, multipliers: Table) -> None:
        """Puts the point of these designs where a probe found one."""
        self.goals[rows] = probe.goals[rows]
        self.costs[rows] = probe.costs[rows]
        self.multipliers[rows] = multipliers[rows]

    def keep(self, rows: NDArray[np.bool_]) -> None:
        """Forgets the other designs."""
        self.goals, self.costs, self.multipliers = self.goals[rows], self.costs[rows], self.multipliers[rows]


class Probe(NamedTuple):
    """Of each design: the least weighted sum, the assignment that has it, its goal, goal without prices, and cost."""

    least: Table
    chosen: Chosen
    goals: Table
    reached: Table
    costs: Table


def probed(problem: Problem, goal: float, cost: float | NDArray[np.float64]) -> Probe:
    """The assignment of the least goal times one weight plus cost times the other, on each design."""
    least, tables = eliminated(problem.plan, problem.weighed(goal, cost))
    least = np.broadcast_to(least, (problem.count,))
    chosen = taken(problem.plan, tables, problem.count)
    return Probe(least, chosen, problem.goals(chosen), problem.reached(chosen), problem.costs(chosen))


class _Walk:
    """The state of all designs of a problem; `open` are the rows of those that still walk, `problem` is on them."""

    def __init__(self, problem: Problem, report: Report) -> None:
        self.problem = problem
        self.report = report
        self.lower: Table = np.full(problem.count, -np.inf)
        self.multiplier: Table = np.zeros(problem.count)
        self.open: Indices = np.arange(problem.count)
        self.best = np.inf

    def probe(self, multipliers: Table) -> Probe:
        """Looks with a multiplier for each open design: bounds rise, and what is within the limit is reported."""
        found = probed(self.problem, 1.0, multipliers + self.problem.scale.tie)
        # the elimination's sum and this product have the size of the goal, so that little is lost in the difference
        bound = found.least - multipliers * self.problem.most
        higher = bound > self.lower[self.open]
        self.lower[self.open[higher]] = bound[higher]
        self.multiplier[self.open[higher]] = multipliers[higher]
        self.tell(found)
        return found

    def tell(self, found: Probe) -> None:
        """Reports the assignments of the open designs that are within the limit."""
        within = found.costs <= self.problem.most + self.problem.scale.cost_dust
        self.best = self.report(self.open[within], found.chosen[within], found.reached[within])

    def hopeful(self) -> NDArray[np.bool_]:
        """Which of the open designs may still have a better assignment than the best known."""
        return self.lower[self.open] < self.best - self.problem.scale.goal_dust

    def keep(self, rows: NDArray[np.bool_]) -> None:
        """Ends the walk of the other designs."""
        if not rows.all():
            self.open = self.open[rows]
            self.problem = self.problem.take(np.flatnonzero(rows))


def lower_bounds(problem: Problem, guess: float | None, best: float, report: Report) -> Bounds:
    """A lower bound of the goal on each design, as high as is needed to see that it is not below the best known.

    Args:
        problem: on the designs.
        guess: a multiplier that is likely to be good for all, if there is one.
        best: the least goal of any assignment within the limit that is known.
        report: is told of assignments within the limit.
    """
    walk = _Walk(problem, report)
    walk.best = best
    if guess is not None:
        walk.probe(np.full(problem.count, guess))
        walk.keep(walk.hopeful())
    if len(walk.open):
        _walked(walk)
    return Bounds(walk.lower, walk.multiplier)


def _walked(walk: _Walk) -> None:
    """Walks along the hull of each open design from both of its ends."""
    over = _free_end(walk)
    if over is None:
        return
    under = _cheap_end(walk, over)
    for _ in range(_STEPS):
        if not len(walk.open):
            return
        multipliers = _next(over, under, walk.problem.most)
        found = walk.probe(multipliers)
        inside = found.costs <= walk.problem.most + walk.problem.scale.cost_dust
        # at the slope between the two points both have the least sum where no point lies below the line
        line = over.goals + multipliers * (over.costs - walk.problem.most)
        touches = walk.lower[walk.open] >= line - walk.problem.scale.goal_dust
        over.move(~inside, found, multipliers)
        under.move(inside, found, multipliers)
        rows = walk.hopeful() & ~touches
        walk.keep(rows)
        over.keep(rows)
        under.keep(rows)


def _free_end(walk: _Walk) -> _End | None:
    """The assignment of least goal whatever it costs; designs on which that is within the limit are done."""
    free = np.zeros(len(walk.open))
    found = walk.probe(free)
    within = found.costs <= walk.problem.most + walk.problem.scale.cost_dust
    rows = walk.hopeful() & ~within
    if not rows.any():
        walk.keep(rows)
        return None
    over = _End(found.goals, found.costs, free)
    walk.keep(rows)
    over.keep(rows)
    return over


def _cheap_end(walk: _Walk, over: _End) -> _End:
    """The assignment of least cost; designs on which even that is beyond the limit are done, their bound infinite."""
    found = probed(walk.problem, 0.0, 1.0)
    walk.tell(found)
    beyond = found.least > walk.problem.most + walk.problem.scale.cost_dust
    walk.lower[walk.open[beyond]] = np.inf
    under = _End(found.goals, found.costs, np.full(len(walk.open), np.inf))
    rows = walk.hopeful() & ~beyond
    walk.keep(rows)
    over.keep(rows)
    under.keep(rows)
    return under


def _next(over: _End, under: _End, most: float) -> Table:
    """The slope between the two points of each design; where that says nothing, a multiplier between theirs.

    It says nothing where elimination is not exact and a point is not on the hull, or is no assignment, whose cost is
    infinite.
    """
    apart = np.subtract(over.costs, under.costs, out=np.zeros(len(over.costs)), where=np.isfinite(under.costs))
    safe = np.where(apart > 0, apart, 1.0)
    slope = (under.goals - over.goals) / safe
    between = (slope > over.multipliers) & (slope < under.multipliers) & (apart > 0) & (under.costs <= most)
    doubled = np.maximum(2 * over.multipliers, np.abs(slope) + 1e-300)
    middle = np.where(np.isinf(under.multipliers), doubled, (over.multipliers + under.multipliers) / 2)
    return np.asarray(np.where(between, slope, middle), np.float64)
