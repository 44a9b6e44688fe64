"""The least sum of tables over all assignments that keep the ties: by elimination, which needs no search.

Widths of one block, its precision and whether it is there stand in tables with one another, but with other blocks only
by the stream between them. So decisions are eliminated one after the other (`search.elimination`), and the largest
table on the way is small, however many blocks there are. A program of the same tables (`search.program`) takes a branch
and bound, which proves the least of a transformer's multiply-accumulates in minutes only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from chipfit.search.elimination import eliminated, planned, taken
from chipfit.search.joint_problem import barred_by_ties, stacked
from chipfit.search.program import Tables
from chipfit.space.menu import Assignment, Menu

MOST_CELLS = 1 << 21
"""Of the largest table on the way (16 MB). Where a larger one is needed it is parted, and what is left is a bound."""


@dataclass(frozen=True, slots=True)
class Least:
    """An assignment, None where none was found that keeps the ties, and what no assignment falls below.

    Where that is `proven` the assignment is the least, or there is none.
    """

    assignment: Assignment | None
    bound: float
    proven: bool


def least(menu: Menu, goal: Tables) -> Least:
    """The assignment of the least goal among those that keep the menu's ties."""
    barred = barred_by_ties(menu)
    plan = planned([int(n) for n in menu.sizes], [*goal, *barred], MOST_CELLS)
    tables = [stacked(plan, goal), stacked(plan, barred)]
    given = []
    for scope in plan.scopes[: plan.given]:
        empty = np.zeros((1, *(plan.sizes[d] for d in scope)))
        given.append(np.asarray(sum((of[scope] for of in tables if scope in of), empty)))
    sums, every = eliminated(plan, given)
    bound = float(sums[0])
    if math.isinf(bound):
        return Least(None, bound, proven=True)
    chosen = tuple(int(o) for o in taken(plan, every, 1)[0])
    return Least(chosen, bound, plan.exact) if menu.valid(chosen) else Least(None, bound, proven=False)
