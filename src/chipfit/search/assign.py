"""The exact best assignment of a menu under limits, as a mixed-integer linear program (HiGHS, through SciPy).

A choice is a binary x[d, o] for option o of decision d. A table over several decisions is linearised with a
continuous y >= 0 for each of its cells, whose marginals are the x: once x is integer, y is 1 in the chosen cell and 0
elsewhere. Cells are shared by all metrics on the same decisions, and two tables that share a pair of decisions also
agree on the marginals of that pair (one level of Sherali and Adams' hierarchy), which tightens the relaxation.

    minimise   objective(x, y)          sum_o x[d, o] = 1,   x[a, i] = x[b, j] for each tie
    subject to metric(x, y) <= limit    sum of the cells of S that agree with t = y[T, t]   for T within S

What differs from the plain program, and why: HiGHS accepts rows that are broken by less than its tolerance and stops
at an absolute gap. So objective and rows are scaled to a fixed spread, rows are opened by a little more than that
tolerance, and an answer that does not meet the limits when its terms are added up is cut off and the program solved
again: nothing on a limit is lost, nothing beyond it returned. Assignments whose objective is equal (to 1e-9 of its
spread) are told apart by the metric of the first limit, then by lower option indices.
"""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

from chipfit.core.deadline import Deadline
from chipfit.core.errors import BadInput, ChipfitError, Infeasible, did_you_mean
from chipfit.core.types import METRICS, Limit
from chipfit.space.menu import Assignment, Menu, Term

Scope = tuple[int, ...]
"""Decisions in ascending order."""
Tables = dict[Scope, NDArray[np.float64]]
"""A metric: one table for each set of decisions that it depends on; constants are under ()."""

_GOAL_SPREAD = 1e5  # HiGHS stops at an absolute gap of 1e-6: 1e-11 of this
_TIE_SPREAD = 1e-4  # 1e-9 of the goal: too little to change the optimum, enough to be seen above that gap
_ROW_SPREAD = 100.0
_ROW_OPENING = 1e-6  # above HiGHS's feasibility tolerance of 1e-7
_CUTS_OPEN = 10  # answers cut off before the rows are closed instead


def assign(
    menu: Menu,
    limits: Sequence[Limit],
    *,
    objective: str = "damage",
    scale: NDArray[np.float64] | None = None,
    deadline: Deadline | None = None,
) -> Assignment:
    """The assignment with the best total of `objective` among those within every limit.

    Args:
        menu: decisions and their costs; ties are kept.
        limits: absolute limits on metrics of the menu, met by `menu.total` without any tolerance.
        objective: the metric to make least (or most, where larger is better, such as accuracy).
        scale: (decisions,) coefficients that multiply the objective's terms; a term over several decisions takes
            the mean of theirs.
        deadline: when it comes, the best assignment found so far is returned.

    Raises:
        Infeasible: no assignment is within the limits; `nearest` has the least reachable value of each limited metric
            alone (the most, for an `at_least` limit).
        BadInput: the menu has no terms for a metric, or a limit is relative.
        ChipfitError: the deadline came before any assignment was found.
    """
    for name in (objective, *(x.metric for x in limits)):
        _known(menu, name)
    for x in limits:
        if x.relative:
            raise BadInput(f"limit {x} is relative; make it absolute with limit.against(reference)")
    until = deadline or Deadline.never()
    goal = _tables(menu, objective, -1.0 if METRICS.get(objective, ("", False))[1] else 1.0, scale)
    found = _solve(menu, goal, limits, until)
    if found is None:
        raise _infeasible(menu, limits, until)
    return found


def reachable(menu: Menu, metric: str) -> tuple[float, Assignment]:
    """The least value of a metric (the most, where larger is better) over all valid assignments, and one that has it.

    Raises:
        BadInput: the menu has no terms for the metric.
    """
    found = assign(menu, (), objective=metric)
    return menu.total(metric, found), found


def _known(menu: Menu, metric: str) -> None:
    if metric not in menu.metrics:
        have = ", ".join(menu.metrics) or "none"
        raise BadInput(f"the menu has no costs for {metric!r}{did_you_mean(metric, menu.metrics)}; it has {have}")


# --- the menu as tables


def _merged(term: Term) -> tuple[Scope, NDArray[np.float64]]:
    """The term over its decisions in ascending order, each once, without those that make no difference."""
    scope = tuple(sorted(set(term.on)))
    letters = "".join("abc"[scope.index(d)] for d in term.on)
    table = np.einsum(f"{letters}->{'abc'[: len(scope)]}", term.table)
    for axis in reversed(range(len(scope))):
        if np.all(table == table.take([0], axis)):
            table, scope = table.take(0, axis), scope[:axis] + scope[axis + 1 :]
    return scope, np.asarray(table, np.float64)


def _tables(menu: Menu, metric: str, sign: float, scale: NDArray[np.float64] | None = None) -> Tables:
    tables: Tables = {}
    for term in menu.terms:
        if term.metric == metric:
            scope, table = _merged(term)
            weight = sign if scale is None or not term.on else sign * float(np.mean(scale[sorted(set(term.on))]))
            tables[scope] = tables.get(scope, np.zeros(table.shape)) + weight * table
    return tables


def _value(tables: Tables, assignment: Assignment) -> float:
    return math.fsum(float(t[tuple(assignment[d] for d in scope)]) for scope, t in tables.items())


def _spread(tables: Tables) -> float:
    """The largest difference that the tables could make; 1 where they make none."""
    return float(sum(np.ptp(t) for t in tables.values())) or 1.0


def _within(menu: Menu, limits: Sequence[Limit], assignment: Assignment) -> bool:
    return menu.valid(assignment) and all(x.met(menu.total(x.metric, assignment)) for x in limits)


# --- the tables as a program


@dataclass(frozen=True, slots=True)
class _Layout:
    """The columns of the program, one for each cell of each scope; the cells of single decisions come first."""

    cells: dict[Scope, NDArray[np.intp]]
    count: int

    def row(self, tables: Tables, spread: float) -> NDArray[np.float64]:
        """(columns,) coefficients of the tables scaled to a spread, the least of each table taken as 0."""
        row = np.zeros(self.count)
        for scope, table in tables.items():
            if scope:
                row[self.cells[scope].ravel()] += (spread / _spread(tables)) * (table - table.min()).ravel()
        return row

    def chosen(self, assignment: Assignment) -> NDArray[np.intp]:
        """The column of each decision's option."""
        return np.array([self.cells[(d,)][o] for d, o in enumerate(assignment)], np.intp)


def _layout(menu: Menu, tables: Sequence[Tables]) -> _Layout:
    wide = {scope for t in tables for scope in t if len(scope) > 1}
    shared = {tuple(sorted(set(a) & set(b))) for a, b in combinations(sorted(wide), 2)}
    wide |= {scope for scope in shared if len(scope) == 2}
    cells: dict[Scope, NDArray[np.intp]] = {}
    count = 0
    for scope in [(d,) for d in range(len(menu.decisions))] + sorted(wide):
        shape = tuple(int(menu.sizes[d]) for d in scope)
        cells[scope] = np.arange(count, count + math.prod(shape)).reshape(shape)
        count += math.prod(shape)
    return _Layout(cells, count)


def _equalities(menu: Menu, layout: _Layout) -> LinearConstraint:
    """One option for each decision, agreeing marginals, and the ties."""
    plus: list[NDArray[np.intp]] = []
    minus: list[int] = []  # -1: the sum is 1
    cells = layout.cells
    for scope, of_scope in cells.items():
        if len(scope) == 1:
            plus.append(of_scope)
            minus.append(-1)
            continue
        inside = [t for t in cells if set(t) < set(scope)]
        for part in (t for t in inside if not any(set(t) < set(u) for u in inside)):
            by_part = np.moveaxis(of_scope, [scope.index(d) for d in part], range(len(part)))
            plus.extend(by_part.reshape(cells[part].size, -1))
            minus.extend(cells[part].ravel())
    for (a, i), (b, j) in menu.ties:
        plus.append(cells[(a,)][[i]])
        minus.append(int(cells[(b,)][j]))
    values = np.r_[np.ones(sum(len(p) for p in plus)), -np.ones(sum(m >= 0 for m in minus))]
    rows = [r for r, p in enumerate(plus) for _ in p] + [r for r, m in enumerate(minus) if m >= 0]
    columns = [*np.concatenate(plus), *(m for m in minus if m >= 0)]
    matrix = coo_array((values, (rows, columns)), (len(plus), layout.count)).tocsr()
    right = [float(m < 0) for m in minus]
    return LinearConstraint(matrix, right, right)


def _solve(menu: Menu, goal: Tables, limits: Sequence[Limit], deadline: Deadline) -> Assignment | None:
    """The assignment of least goal within the limits, or None when there is none."""
    # rows read "at most": those of an `at_least` limit have their signs turned
    signs = [-1.0 if x.at_least else 1.0 for x in limits]
    costs = [_tables(menu, x.metric, sign) for x, sign in zip(limits, signs, strict=True)]
    floors = [float(sum(t.min() for t in c.values())) for c in costs]
    room = [sign * x.value - floor for x, sign, floor in zip(limits, signs, floors, strict=True)]
    if any(r < -1e-9 * (abs(x.value) + _spread(c)) for r, x, c in zip(room, limits, costs, strict=True)):
        return None
    if not any(n > 1 for n in menu.sizes):
        return menu.as_is if _within(menu, limits, menu.as_is) else None
    layout = _layout(menu, [goal, *costs])
    equal = _equalities(menu, layout)
    tie = costs[0] if costs else {}
    aim = layout.row(goal, _GOAL_SPREAD) + layout.row(tie, _TIE_SPREAD)
    rows = [layout.row(c, _ROW_SPREAD) for c in costs]
    upper = np.array([r * _ROW_SPREAD / _spread(c) for r, c in zip(room, costs, strict=True)])
    cuts: list[NDArray[np.float64]] = []
    while True:
        opening = _ROW_OPENING if len(cuts) < _CUTS_OPEN else -_ROW_OPENING
        most = np.r_[upper + opening, np.full(len(cuts), len(menu.decisions) - 1.0)]
        within = [LinearConstraint(np.array(rows + cuts), -np.inf, most)] if len(most) else []
        x = _milp(aim, [equal, *within], menu, deadline)
        if x is None:
            return None
        found = tuple(int(np.argmax(x[layout.cells[(d,)]])) for d in range(len(menu.decisions)))
        if _within(menu, limits, found):
            return _settled(menu, goal, tie, limits, found)
        cuts.append(np.zeros(layout.count))
        cuts[-1][layout.chosen(found)] = 1.0


def _milp(
    aim: NDArray[np.float64], constraints: Sequence[LinearConstraint], menu: Menu, deadline: Deadline
) -> NDArray[np.float64] | None:
    """The columns of the best answer, or None when there is none."""
    integer = np.arange(len(aim)) < menu.sizes.sum()
    # without an upper bound on y (the marginals give it) HiGHS has fewer answers to repair
    bounds = Bounds(0, np.where(integer, 1.0, np.inf))
    for presolve in (True, False):
        options: dict[str, float] = {"mip_rel_gap": 0.0, "presolve": presolve}
        if math.isfinite(deadline.at):
            options["time_limit"] = deadline.left()
        with _quiet():
            answer = milp(aim, integrality=integer, bounds=bounds, constraints=constraints, options=options)
        if answer.x is not None:
            return np.asarray(answer.x)
        if answer.status == 2:
            return None
        if answer.status == 1:
            raise ChipfitError("time ran out before the solver found an assignment within the limits; give it more")
    raise ChipfitError(f"the solver failed on this menu: {answer.message}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Sends what C code prints to nowhere.

    HiGHS 1.12 has a bare printf where it repairs an answer ("...transformNewIntegerFeasibleSolution
    tmpSolver.run();"), which no option turns off and which would end up among the results on standard output.
    """
    if os.name != "posix":
        yield
        return
    libc = ctypes.CDLL(None)
    libc.fflush(None)
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
        libc.fflush(None)
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _settled(menu: Menu, goal: Tables, tie: Tables, limits: Sequence[Limit], found: Assignment) -> Assignment:
    """The assignment after single changes to a lower (goal, tie metric, option index), rounding errors aside."""
    dust = 1e-12 * _spread(goal), 1e-12 * _spread(tie)

    def better(a: Assignment, b: Assignment) -> bool:
        for tables, small in zip((goal, tie), dust, strict=True):
            difference = _value(tables, a) - _value(tables, b)
            if abs(difference) > small:
                return difference < 0
        return a < b

    for _ in menu.decisions:
        before = found
        for d, n in enumerate(menu.sizes):
            for o in range(n):
                near = (*found[:d], o, *found[d + 1 :])
                if o != found[d] and better(near, found) and _within(menu, limits, near):
                    found = near
        if found == before:
            break
    return found


# --- what to say when nothing fits


def _extreme(menu: Menu, limit: Limit, others: Sequence[Limit], deadline: Deadline) -> float | None:
    """The least value (the most, for `at_least`) of a limit's metric within the other limits."""
    found = _solve(menu, _tables(menu, limit.metric, -1.0 if limit.at_least else 1.0), others, deadline)
    return None if found is None else menu.total(limit.metric, found)


def _infeasible(menu: Menu, limits: Sequence[Limit], deadline: Deadline) -> ChipfitError:
    ends = {x: _extreme(menu, x, (), deadline) for x in limits}
    if any(end is None for end in ends.values()) or not limits:
        return ChipfitError("the ties of the menu contradict each other: no assignment keeps them all")
    nearest = {x.metric: end for x, end in ends.items() if end is not None}
    beyond = [x for x in limits if not x.met(nearest[x.metric])]

    def reach(x: Limit, value: float) -> str:
        return f"the {'most' if x.at_least else 'least'} {x.metric} that any choice reaches is {value:.6g}"

    if beyond:
        said = "; ".join(f"{x} is impossible: {reach(x, nearest[x.metric])}" for x in beyond)
        return Infeasible(f"{said}; relax {' and '.join(x.metric for x in beyond)}", nearest)
    said = f"{' and '.join(map(str, limits))} can each be met alone, but not together"
    alone = _extreme(menu, limits[0], limits[1:], deadline)
    if alone is not None:
        said += f": within the rest, {reach(limits[0], alone)}"
    return Infeasible(f"{said}; relax one of them", nearest)
