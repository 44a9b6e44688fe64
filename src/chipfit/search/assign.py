"""The exact best assignment of a menu under limits: HiGHS, through SciPy, on the program of `search.program`.

HiGHS accepts rows that are broken by less than its tolerance and stops at an absolute gap. So goal and rows are scaled
to a fixed spread, rows are opened by a little more than that tolerance, and an answer that does not meet the limits
when its terms are added up is cut off and the program solved again: nothing on a limit is lost, nothing beyond it
returned. Assignments whose objective is equal (to 1e-9 of its spread) are told apart by the metric of the first limit,
then by lower option indices.
"""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp

from chipfit.core.deadline import Deadline
from chipfit.core.errors import BadInput, ChipfitError, Infeasible, OutOfTime, did_you_mean
from chipfit.core.types import METRICS, Limit
from chipfit.search.hull import on_hull
from chipfit.search.least import least
from chipfit.search.program import Program, Row, Tables, linearise, spread, tabulate, total
from chipfit.space.menu import Assignment, Menu

_GOAL_SPREAD = 1e5  # HiGHS stops at an absolute gap of 1e-6: 1e-11 of this
_TIE_SPREAD = 1e-4  # 1e-9 of the goal: too little to change the optimum, enough to be seen above that gap
_ROW_SPREAD = 100.0
_ROW_OPENING = 1e-6  # above HiGHS's feasibility tolerance of 1e-7
_FIRST_LOOK_S, _SECOND_LOOK_S = 2.0, 3.0
_OPTIMAL, _OUT_OF_TIME, _INFEASIBLE = 0, 1, 2  # statuses of scipy.optimize.milp
LATE_GAP = 1e-3
"""Of the objective, where there is a deadline and the best is not proven at once: less than what it is known to."""

_CUTS_OPEN = 10  # answers cut off before the rows are closed by as much instead
_CUTS = 50  # and before what is left, all of it beyond a limit by rounding errors, counts as nothing


def assign(
    menu: Menu,
    limits: Sequence[Limit],
    *,
    objective: str = "damage",
    scale: NDArray[np.float64] | None = None,
    deadline: Deadline | None = None,
    gap: float = 0.0,
) -> Assignment:
    """The assignment with the best total of `objective` among those within every limit.

    Args:
        menu: decisions and their costs; ties are kept.
        limits: absolute limits on metrics of the menu, met by `menu.total` without any tolerance.
        objective: the metric to make least (or most, where larger is better, such as accuracy).
        scale: (decisions,) coefficients that multiply the objective's terms; a term over several decisions takes
            the mean of theirs.
        deadline: when it comes, the best assignment found so far is returned; a good one where the search had none.
        gap: by what share of itself the objective may be short of the best (counted from the least of each table).
            Where there is a deadline and the proof takes long, `LATE_GAP` in any case.

    Raises:
        Infeasible: no assignment is within the limits; `nearest` has the least reachable value of each limited metric
            alone (the most, for an `at_least` limit).
        BadInput: the menu has no terms for a metric, or a limit is relative.
        OutOfTime: the deadline came before any assignment was found.
    """
    found = assigned(menu, limits, objective=objective, scale=scale, deadline=deadline, gap=gap)
    if found is None:
        raise _infeasible(menu, limits, deadline or Deadline.never())
    return found


def assigned(
    menu: Menu,
    limits: Sequence[Limit],
    *,
    objective: str = "damage",
    scale: NDArray[np.float64] | None = None,
    deadline: Deadline | None = None,
    gap: float = 0.0,
) -> Assignment | None:
    """The same, or None where no assignment is within the limits: for those who ask whether there is a better one.

    Raises:
        BadInput: the menu has no terms for a metric, or a limit is relative.
        OutOfTime: the deadline came before any assignment was found.
    """
    for name in (objective, *(x.metric for x in limits)):
        known(menu, name)
    for x in limits:
        if x.relative:
            raise BadInput(f"limit {x} is relative; make it absolute with limit.against(reference)")
    goal = tabulate(menu, objective, -1.0 if METRICS.get(objective, ("", False))[1] else 1.0, scale)
    return _solve(menu, goal, limits, deadline or Deadline.never(), gap)


PROOF_S = 20.0
"""Seconds after which the least value found so far counts: menus of many tables over one another take minutes."""


def reachable(menu: Menu, metric: str) -> tuple[float, Assignment]:
    """The least value of a metric (the most, where larger is better) over all valid assignments, and one that has it.

    Raises:
        BadInput: the menu has no terms for the metric.
    """
    until = Deadline.after(PROOF_S)
    try:
        found = assign(menu, (), objective=metric, deadline=until)
    except OutOfTime:
        found = menu.as_is
    if len(menu.aspects(metric)) > 1:
        found = _least_greatest(menu, metric, (), until) or found
    return menu.total(metric, found), found


def known(menu: Menu, metric: str) -> None:
    """Raises BadInput where the menu has no terms for a metric."""
    if metric not in menu.metrics:
        have = ", ".join(menu.metrics) or "none"
        raise BadInput(f"the menu has no costs for {metric!r}{did_you_mean(metric, menu.metrics)}; it has {have}")


def _sign(limit: Limit) -> float:
    """Rows read "at most": the signs of an `at_least` limit are turned."""
    return -1.0 if limit.at_least else 1.0


def _within(menu: Menu, limits: Sequence[Limit], assignment: Assignment) -> bool:
    return menu.valid(assignment) and all(x.met(menu.total(x.metric, assignment)) for x in limits)


def _solve(
    menu: Menu, goal: Tables, limits: Sequence[Limit], deadline: Deadline, gap: float = 0.0
) -> Assignment | None:
    """The assignment of least goal within the limits, or None when there is none."""
    if not menu.decisions:
        return () if _within(menu, limits, ()) else None
    if not limits and (free := least(menu, goal)).proven:
        return None if free.assignment is None else _settled(menu, goal, {}, (), free.assignment)
    rows = [
        Row(tabulate(menu, x.metric, _sign(x), aspect=aspect), _sign(x) * x.value)
        for x in limits for aspect in menu.aspects(x.metric)
    ]  # fmt: skip
    program = linearise(menu, goal, rows)
    if program is None:
        return None
    tie: Tables = rows[0].tables if rows else {}
    aim = _aim(program, goal, tie)
    costs, most = _scaled(program, rows)
    cuts: list[NDArray[np.float64]] = []
    while len(cuts) < _CUTS:
        opening = _ROW_OPENING if len(cuts) < _CUTS_OPEN else -_ROW_OPENING
        upper = np.r_[most + opening, np.full(len(cuts), len(menu.decisions) - 1.0)]
        within = LinearConstraint(np.array(costs + cuts), -np.inf, upper) if len(upper) else None
        try:
            x = _milp(program, aim, within, deadline, gap)
        except OutOfTime:
            quick = on_hull(menu, goal, rows)
            if quick is None or not _within(menu, limits, quick):
                raise
            return _settled(menu, goal, tie, limits, quick)
        if x is None:
            return None
        found = program.assignment(x)
        if _within(menu, limits, found):
            return _settled(menu, goal, tie, limits, found)
        cuts.append(program.cut(found))
    return None


def _aim(program: Program, goal: Tables, tie: Tables) -> NDArray[np.float64]:
    """(columns,) what is made least: the goal, and where it is equal the tie metric."""
    aim = program.row(goal, _GOAL_SPREAD)[0]
    return aim + program.row(tie, _TIE_SPREAD if aim.any() else _GOAL_SPREAD)[0]


def _scaled(program: Program, rows: Sequence[Row]) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]]:
    """Coefficients (columns,) and right sides of the rows that some choice could break."""
    costs, most = [], []
    for row in rows:
        cost, factor, least = program.row(row.tables, _ROW_SPREAD)
        room = factor * (row.most - least)
        if factor and room < _ROW_SPREAD:
            costs.append(cost)
            most.append(room)
    return costs, np.array(most)


def _milp(
    program: Program, aim: NDArray[np.float64], within: LinearConstraint | None, deadline: Deadline, gap: float
) -> NDArray[np.float64] | None:
    """(columns,) the best answer, or None when there is none."""
    integer = np.arange(program.count) < program.binaries
    # the marginals bound y too, but without this bound HiGHS 1.12 went round in its presolve for ever now and then
    bounds = Bounds(0, 1)
    constraints = [program.equal, *([within] if within is not None else [])]

    def solved(presolve: bool, until: Deadline, gap: float) -> Any:
        options: dict[str, float] = {"mip_rel_gap": gap, "presolve": presolve}
        if math.isfinite(until.at):
            options["time_limit"] = until.left()
        with _quiet():
            return milp(aim, integrality=integer, bounds=bounds, constraints=constraints, options=options)

    # without presolve most programs take half of the time; hard ones want it
    answer = solved(False, deadline.sooner(_FIRST_LOOK_S), gap)
    if answer.status == _OPTIMAL or (answer.x is not None and deadline.left() <= 0):
        return np.asarray(answer.x)
    if answer.status == _INFEASIBLE:
        return None
    first = 0
    late = max(gap, LATE_GAP) if deadline.limited else gap
    # presolve has called programs infeasible that were not: that answer gets a second, short look without it
    for presolve, until in ((True, deadline), (False, deadline.sooner(_SECOND_LOOK_S))):
        answer = solved(presolve, until, late)
        if answer.x is not None:
            return np.asarray(answer.x)
        if answer.status == _OUT_OF_TIME and first != _INFEASIBLE:
            raise OutOfTime("time ran out before the solver found an assignment within the limits; give it more")
        first = first or answer.status
    if _INFEASIBLE in (first, answer.status):
        return None
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
    dust = 1e-12 * spread(goal), 1e-12 * spread(tie)

    def better(a: Assignment, b: Assignment) -> bool:
        for tables, small in zip((goal, tie), dust, strict=True):
            difference = total(tables, a) - total(tables, b)
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
    if len(menu.aspects(limit.metric)) > 1:
        found = _least_greatest(menu, limit.metric, others, deadline)
    else:
        found = _solve(menu, tabulate(menu, limit.metric, _sign(limit)), others, deadline)
    return None if found is None else menu.total(limit.metric, found)


def _least_greatest(menu: Menu, metric: str, others: Sequence[Limit], deadline: Deadline) -> Assignment | None:
    """The assignment whose greatest aspect of a metric is least, to a thousandth.

    That is no linear goal; so the limit is halved between what some assignment reaches and what none does.
    """
    goal = tabulate(menu, metric)
    best = _solve(menu, goal, others, deadline)
    if best is None:
        return None
    low, top = 0.0, menu.total(metric, best)
    while top - low > 1e-3 * top:
        middle = (low + top) / 2
        found = _solve(menu, goal, [Limit(metric, middle), *others], deadline)
        if found is None:
            low = middle
        else:
            best, top = found, menu.total(metric, found)
    return best


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
