from __future__ import annotations

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chipfit.core.types import Limit
from chipfit.search.design_costs import LATENCY, Indices, Table, Tabled
from chipfit.search.elimination import Chosen
from chipfit.search.joint_bounds import _End, _next, lower_bounds
from chipfit.space.menu import Menu, Term
from joint_menus import Case, a_limit, cases, decision, pairs, problem_of


def silent(rows: Indices, chosen: Chosen, goals: Table) -> float:
    return np.inf


@given(cases(), st.data(), st.booleans(), st.sampled_from([None, 0.0, 0.3, 5.0]))
@settings(max_examples=120)
def test_no_design_has_anything_below_its_bound(
    case: Case, data: st.DataObject, latency_is_goal: bool, guess: float | None
) -> None:
    rows = pairs(*case)
    assume(rows)
    goal, cost = (3, 2) if latency_is_goal else (2, 3)
    metrics = ("damage", LATENCY) if latency_is_goal else (LATENCY, "damage")
    limit = Limit(metrics[0], a_limit(data.draw, [row[cost] for row in rows]))
    problem = problem_of(case, metrics[1], limit)
    lower, _ = lower_bounds(problem, guess, np.inf, silent)
    for design in range(case[1].count):
        within = [row[goal] for row in rows if row[0] == design and limit.met(row[cost])]
        if within:
            assert lower[design] <= min(within) + 1e-5
        else:
            # what is beyond the limit by more than rounding is known to be
            beyond = [row for row in rows if row[0] == design and row[cost] <= limit.value + 1e-8]
            assert np.isinf(lower[design]) or beyond


@given(cases(bars=False), st.data())
@settings(max_examples=60)
def test_what_is_reported_is_within_the_limit(case: Case, data: st.DataObject) -> None:
    rows = pairs(*case)
    assume(rows)
    limit = Limit(LATENCY, a_limit(data.draw, [row[3] for row in rows]))
    known = {(row[0], row[1]): row for row in rows}
    told: list[float] = []

    def report(designs: Indices, chosen: Chosen, goals: Table) -> float:
        for d, a, g in zip(designs, chosen, goals, strict=True):
            row = known[int(d), tuple(int(o) for o in a)]
            assert row[3] <= limit.value + 1e-8
            assert abs(row[2] - g) < 1e-5
            told.append(float(g))
        return min(told, default=np.inf)

    lower_bounds(problem_of(case, "damage", limit), None, np.inf, report)
    if any(limit.met(row[3]) for row in rows):
        assert told


def test_the_bound_is_the_hull_of_costs_and_goals() -> None:
    """Costs 4, 2, 1 with damages 0, 3, 4: within 3 the line from (4, 0) to (1, 4) says 4/3; (2, 3) is above it."""
    menu = Menu("g", (decision("a", 3),), (Term("damage", (0,), np.array([0.0, 3.0, 4.0])),))
    costs = Tabled(((0,),), (np.array([[4.0, 2.0, 1.0], [3.0, 2.0, 1.0], [9.0, 8.0, 7.0]]),))
    lower, multiplier = lower_bounds(problem_of((menu, costs), "damage", Limit(LATENCY, 3.0)), None, np.inf, silent)
    np.testing.assert_allclose(lower, [4 / 3, 0.0, np.inf], atol=1e-6)
    np.testing.assert_allclose(multiplier[0], 4 / 3, atol=1e-6)


def test_points_that_are_no_assignments_say_nothing() -> None:
    """Where elimination is not exact, what it finds may break a tie, on either side of the limit."""
    nowhere, goals = np.array([np.inf]), np.array([1.6])
    over, under = _End(goals, nowhere, np.array([0.0])), _End(goals, nowhere, np.array([np.inf]))
    (first,) = _next(over, under, 1.0)
    assert 0 < first < 1e-200
    over.multipliers[:], under.multipliers[:] = 2.0, 4.0
    assert _next(over, under, 1.0).tolist() == [3.0]
