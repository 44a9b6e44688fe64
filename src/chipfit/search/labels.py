"""The exact best assignment of one design: all partial assignments that could still be part of it, extended together.

Decisions are taken in the plan's order. A *label* is a choice of those taken so far, with its goal and cost. Of labels
that agree in the decisions that open tables still ask for, one that is dominated in goal and cost leads nowhere better
and is dropped (Pareto dynamic programming; the multiple-choice knapsack's where no table is over two decisions). Before
that every label is held against what is at least still to come, from the tables that elimination leaves:

    cost so far  +  least cost to come                 <=  most
    goal so far  +  m cost so far  +  least (goal + m cost) to come  -  m most   <   the best goal known

The second for several multipliers m about the best one of the design. It leaves the labels within the duality gap of
the best known goal, hundreds where a menu has 10^20 assignments: what remains at the end is proven best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chipfit.core.deadline import Deadline
from chipfit.search.design_costs import Table
from chipfit.search.elimination import Chosen, eliminated
from chipfit.search.joint_problem import Problem
from chipfit.search.program import Scope
from chipfit.space.menu import Assignment

MOST_LABELS = 1_000_000
"""Labels at a time, some hundred bytes each."""

_MOST_KEYS = 1 << 40
"""Keys of labels that are told apart before they are numbered anew."""

_ABOUT = (0.0, 0.5, 1.0, 2.0)
"""Multipliers of the tests, as shares of the design's best one."""


class TooMany(Exception):
    """More labels than memory is meant for, or no time for them."""


class Labels(NamedTuple):
    """Partial assignments: (labels, decisions) options, of which only those taken count, and (labels,) totals."""

    chosen: Chosen
    goals: Table
    costs: Table


@dataclass(frozen=True, slots=True)
class _Test:
    """goal_weight goal + cost_weight cost <= most, for all tables; `tables` are those that elimination leaves."""

    goal_weight: float
    cost_weight: float
    most: float
    tables: Sequence[Table]


def pareto(problem: Problem, multiplier: float, best: float, deadline: Deadline) -> list[tuple[Assignment, float]]:
    """Assignments and their goals, least first: the best within the limit, where it is below `best`.

    Behind it come others that neither goal nor cost rules out, in case rounding put the best beyond the limit.

    Args:
        problem: on one design.
        multiplier: of the design's bound.
        best: a goal that is known to be reached; infinite for none.
        deadline: no decision is taken after it.

    Raises:
        TooMany: the labels are too many, or the deadline came.
    """
    tests = _tests(problem, multiplier, best)
    plan = problem.plan
    labels = Labels(np.zeros((1, len(plan.sizes)), np.int16), np.zeros(1), np.zeros(1))
    for n in range(len(plan.order)):
        if deadline.passed():
            raise TooMany
        labels = _undominated(_extended(problem, labels, n, tests), _frontier(problem, n + 1), plan.sizes)
    ties = problem.scale.tie * (labels.costs + _constant(problem, problem.cost))
    goals = labels.goals + _constant(problem, problem.goal) + ties
    order = np.lexsort((labels.costs, goals))
    assignments: list[list[int]] = labels.chosen[order].tolist()
    return list(zip(map(tuple, assignments), goals[order].tolist(), strict=True))


def _constant(problem: Problem, slots: Sequence[Table | None]) -> float:
    """What no decision changes."""
    return sum(float(t[0]) for s, t in zip(problem.plan.scopes, slots, strict=False) if not s and t is not None)


def _tests(problem: Problem, multiplier: float, best: float) -> list[_Test]:
    """The tests of the module's docstring; constants, which labels leave out, are taken off the right sides."""
    scale = problem.scale
    weights = [(0.0, 1.0, problem.most + scale.cost_dust)]
    if np.isfinite(best):
        below = best - scale.goal_dust
        shares = dict.fromkeys(share * multiplier for share in _ABOUT)
        weights += [(1.0, m + scale.tie, below + m * problem.most) for m in shares]
    goal, cost = _constant(problem, problem.goal), _constant(problem, problem.cost)
    return [
        _Test(g, c, most - g * goal - c * cost, eliminated(problem.plan, problem.weighed(g, c))[1])
        for g, c, most in weights
    ]


def _extended(problem: Problem, labels: Labels, n: int, tests: Sequence[_Test]) -> Labels:
    """The labels with each option of the plan's n-th decision that passes all tests."""
    plan = problem.plan
    d = plan.order[n]
    whole = [i for i in range(plan.given) if plan.scopes[i] and plan.scopes[i][-1] == d]
    more_goal = _looked_up(plan.scopes, problem.goal, whole, d, labels.chosen)
    more_cost = _looked_up(plan.scopes, problem.cost, whole, d, labels.chosen)
    shut = _looked_up(plan.scopes, problem.barred, whole, d, labels.chosen)
    goals, costs = labels.goals[:, None] + more_goal, labels.costs[:, None] + more_cost
    passing = np.broadcast_to(np.isfinite(shut), (len(labels.goals), plan.sizes[d]))
    ahead = plan.ahead(n + 1)
    for test in tests:
        to_come = _looked_up(plan.scopes, test.tables, ahead, d, labels.chosen)
        passing = passing & (test.goal_weight * goals + test.cost_weight * costs + to_come <= test.most)
    rows, options = np.nonzero(passing)
    if len(rows) > MOST_LABELS:
        raise TooMany
    chosen = labels.chosen[rows]
    chosen[:, d] = options
    shape = passing.shape
    return Labels(chosen, np.broadcast_to(goals, shape)[passing], np.broadcast_to(costs, shape)[passing])


def _looked_up(
    scopes: Sequence[Scope], tables: Sequence[Table | None], which: Sequence[int], d: int, chosen: Chosen
) -> Table:
    """(labels or 1, options of d or 1) the sum of these tables' cells, for each option of decision d."""
    found: Table = np.zeros((1, 1))
    for i in which:
        table = tables[i]
        if table is not None:
            scope = scopes[i]
            before = scope[:-1] if scope and scope[-1] == d else scope
            cells = table[(0, *(chosen[:, b] for b in before))]
            found = found + (cells.reshape(-1, 1) if before == scope else cells.reshape(-1, table.shape[-1]))
    return found


def _frontier(problem: Problem, taken: int) -> list[int]:
    """The first `taken` decisions that are in a table with one that is still open."""
    plan = problem.plan
    done = set(plan.order[:taken])
    seen = {d for scope in plan.scopes[: plan.given] if not done.issuperset(scope) for d in scope}
    return [d for d in plan.order[:taken] if d in seen]


def _undominated(labels: Labels, frontier: Sequence[int], sizes: Sequence[int]) -> Labels:
    """The labels that no other with the same options of the frontier equals or beats in goal and cost."""
    key, keys = np.zeros(len(labels.goals), np.int64), 1
    for d in frontier:
        key, keys = key * sizes[d] + labels.chosen[:, d], keys * sizes[d]
        if keys > _MOST_KEYS:  # numbered anew, so that no product overflows
            key = np.unique(key, return_inverse=True)[1]
            keys = len(key)
    if keys > len(key):
        key = np.unique(key, return_inverse=True)[1]
    order = np.lexsort((labels.goals, labels.costs, key))
    key, goals = key[order], labels.goals[order]
    # Within a key costs rise, so that a label must have a lower goal than all before it. Ranks, later keys in a lower
    # range, make that one running minimum over all keys.
    ranks = np.unique(goals, return_inverse=True)[1] - key * (len(goals) + 1)
    least = np.minimum.accumulate(ranks)
    better: NDArray[np.bool_] = np.ones(len(ranks), np.bool_)
    better[1:] = ranks[1:] < least[:-1]
    kept = order[better]
    return Labels(labels.chosen[kept], labels.goals[kept], labels.costs[kept])
