from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chipfit.core.deadline import Deadline
from chipfit.core.errors import BadInput, ChipfitError, Infeasible, OutOfTime
from chipfit.core.types import Limit
from chipfit.search import codesign as module
from chipfit.search import joint_problem, labels
from chipfit.search.codesign import Joint, codesign
from chipfit.search.design_costs import LATENCY, Some, Tabled
from chipfit.search.elimination import planned
from chipfit.search.joint_bounds import Bounds
from chipfit.search.joint_problem import Problem
from chipfit.space.menu import Menu, Term
from joint_menus import Case, a_limit, cases, chain, decision, on, pairs


def holds(case: Case, found: Joint, limits: list[Limit]) -> None:
    """The pair keeps every limit exactly, and its figures are those of the menu."""
    menu = on(*case, found.design)
    assert menu.valid(found.assignment)
    assert all(x.met(menu.total(x.metric, found.assignment)) for x in limits)
    assert found.damage == menu.total("damage", found.assignment)
    assert found.latency_ms == pytest.approx(menu.total(LATENCY, found.assignment))
    assert found.seen == case[1].count == found.infeasible + found.bounded + found.solved + found.left


@given(cases(), st.data())
@settings(max_examples=120)
def test_least_damage_within_a_latency_is_what_trying_everything_finds(case: Case, data: st.DataObject) -> None:
    rows = pairs(*case)
    assume(rows)
    limit = Limit(LATENCY, a_limit(data.draw, [row[3] for row in rows]))
    within = [row for row in rows if limit.met(row[3])]
    if not within:
        with pytest.raises(Infeasible) as error:
            codesign(*case, [limit])
        assert error.value.nearest[LATENCY] == pytest.approx(min(row[3] for row in rows))
        return
    found = codesign(*case, [limit])
    holds(case, found, [limit])
    least = min(row[2] for row in within)
    assert found.value == found.damage == pytest.approx(least, abs=1e-5)
    assert found.gap == 0


@given(cases(), st.data())
@settings(max_examples=120)
def test_least_latency_within_a_damage_is_what_trying_everything_finds(case: Case, data: st.DataObject) -> None:
    rows = pairs(*case)
    assume(rows)
    limit = Limit("damage", a_limit(data.draw, [row[2] for row in rows]))
    within = [row for row in rows if limit.met(row[2])]
    if not within:
        with pytest.raises(Infeasible):
            codesign(*case, [limit], objective=LATENCY)
        return
    found = codesign(*case, [limit], objective=LATENCY)
    holds(case, found, [limit])
    assert found.value == found.latency_ms == pytest.approx(min(row[3] for row in within), abs=1e-5)
    assert found.gap == 0


@given(cases(designs=(1, 8)), st.data())
@settings(max_examples=60)
def test_what_is_found_is_the_best_where_bounds_are_weak_and_labels_too_many(case: Case, data: st.DataObject) -> None:
    """Elimination in parts, and HiGHS in place of labels: slower, and no less exact."""
    rows = pairs(*case)
    assume(rows)
    limit = Limit(LATENCY, a_limit(data.draw, [row[3] for row in rows]))
    within = [row for row in rows if limit.met(row[3])]
    assume(within)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joint_problem, "planned", partial(planned, most_cells=4))
        patch.setattr(labels, "MOST_LABELS", data.draw(st.sampled_from([0, 3, 1000])))
        patch.setattr(module, "_ALONE", data.draw(st.sampled_from([0, 8])))
        found = codesign(*case, [limit])
    holds(case, found, [limit])
    assert found.damage == pytest.approx(min(row[2] for row in within), abs=1e-5)
    assert found.gap == 0


@given(cases(designs=(1, 5)), st.data())
@settings(max_examples=60)
def test_limits_on_further_metrics_hold_too(case: Case, data: st.DataObject) -> None:
    menu, costs = case
    rows = [(*row, menu.total("params", row[1])) for row in pairs(*case)]
    assume(rows)
    limits = [
        Limit("params", a_limit(data.draw, [row[4] for row in rows])),
        Limit(LATENCY, a_limit(data.draw, [row[3] for row in rows])),
    ]
    within = [row for row in rows if limits[0].met(row[4]) and limits[1].met(row[3])]
    if not within:
        with pytest.raises(ChipfitError):
            codesign(menu, costs, limits)
        return
    found = codesign(menu, costs, limits)
    holds(case, found, limits)
    assert found.damage == pytest.approx(min(row[2] for row in within), abs=1e-5)


@given(cases(designs=(2, 8), bars=False), st.data())
@settings(max_examples=30)
def test_equal_damage_is_told_apart_by_latency(case: Case, data: st.DataObject) -> None:
    menu, costs = case
    harmless = menu.priced([Term("damage", (0,), np.zeros(int(menu.sizes[0])))])
    rows = pairs(harmless, costs)
    assume(rows)
    limit = Limit(LATENCY, max(row[3] for row in rows))
    found = codesign(harmless, costs, [limit])
    assert found.damage == 0
    assert found.latency_ms == pytest.approx(min(row[3] for row in rows), abs=1e-5)


def test_designs_in_small_portions_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    menu, costs = chain(8, 300)
    limits = [Limit(LATENCY, 8.0)]
    whole = codesign(menu, costs, limits)
    monkeypatch.setattr(module, "CELLS", 1000)
    monkeypatch.setattr(module, "_SAMPLE", 5)
    assert codesign(menu, costs, limits).value == pytest.approx(whole.value, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_families_of_designs_give_what_each_alone_gives(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(module, "lower_bounds", nothing_is_bounded)
    menu, costs = chain(6, 60, seed=seed)
    limits = [Limit(LATENCY, 6.5)]
    monkeypatch.setattr(module, "_ALONE", costs.count)
    alone = codesign(menu, costs, limits)
    monkeypatch.setattr(module, "_ALONE", 1)
    families = codesign(menu, costs, limits)
    assert families.value == alone.value
    assert families.gap == alone.gap == 0
    assert families.solved < alone.solved / 2


def nothing_is_bounded(problem: Problem, guess: float | None, best: float, report: object) -> Bounds:
    """Bounds that leave every design."""
    return Bounds(np.full(problem.count, -1e3), np.full(problem.count, 0.1))


def test_most_designs_are_ruled_out_by_their_bounds() -> None:
    menu, costs = chain(12, 400)
    found = codesign(menu, costs, [Limit(LATENCY, 13.0)])
    assert found.gap == 0
    assert found.solved <= 20
    assert found.infeasible + found.bounded + found.solved == 400


def test_equal_designs_are_solved_once() -> None:
    menu, costs = chain(6, 1)
    copies = Tabled(costs.scopes, tuple(np.repeat(table, 50, axis=0) for table in costs.held))
    limits = [Limit(LATENCY, 0.7 * on(menu, costs, 0).total(LATENCY, menu.as_is))]
    found = codesign(menu, copies, limits)
    assert found.value == codesign(menu, costs, limits).value
    assert found.solved <= 1


def test_one_decision_on_one_design() -> None:
    menu = Menu("g", (decision("a", 3),), (Term("damage", (0,), np.array([0.0, 1.0, 2.0])),))
    costs = Tabled(((0,),), (np.array([[3.0, 2.0, np.inf]]),))
    assert codesign(menu, costs, [Limit(LATENCY, 2.5)]).assignment == (1,)
    with pytest.raises(Infeasible) as error:
        codesign(menu, costs, [Limit(LATENCY, 1.0)])
    assert error.value.nearest == {LATENCY: 2.0}
    assert "the least latency_ms that any choice reaches on the design is 2" in str(error.value)


def test_choices_that_run_on_no_design_are_said() -> None:
    menu = Menu("g", (decision("a", 1),), (Term("damage", (0,), np.zeros(1)),))
    costs = Tabled(((0,),), (np.array([[np.inf], [np.inf]]),))
    with pytest.raises(ChipfitError, match="no choice of the menu runs on any of 2 designs"):
        codesign(menu, costs, [Limit(LATENCY, 1.0)])


def test_limits_that_cannot_be_met_together_say_what_can() -> None:
    menu = Menu("g", (decision("a", 2),), (Term("damage", (0,), np.array([0.0, 1.0])),))
    costs = Tabled(((0,),), (np.array([[3.0, 2.0]]),))
    with pytest.raises(Infeasible, match="each be met alone.*within the rest, the least latency_ms is 3") as error:
        codesign(menu, costs, [Limit("damage", 0.5), Limit(LATENCY, 2.5)])
    assert error.value.nearest[LATENCY] == 3.0


class Ticking:
    """A clock that moves on each time it is read."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def test_a_deadline_leaves_a_stated_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SAMPLE", 20)
    monkeypatch.setattr(module, "HELD", 1)
    menu, costs = chain(12, 400, seed=3)
    limits = [Limit(LATENCY, 13.0)]
    best = codesign(menu, costs, limits).value
    gaps = []
    for seconds in range(2, 40, 2):
        found = codesign(menu, costs, limits, deadline=Deadline.after(seconds, Ticking()))
        assert found.bound <= best + 1e-9
        assert found.value >= best - 1e-9
        assert found.seen == found.infeasible + found.bounded + found.solved + found.left
        gaps.append(found.gap)
    assert gaps[0] > 0
    assert gaps[-1] == 0


def test_no_time_at_all_is_said() -> None:
    menu, costs = chain(4, 3)
    with pytest.raises(OutOfTime):
        codesign(menu, costs, [Limit(LATENCY, 5.0)], deadline=Deadline.after(-1.0))


def test_what_cannot_be_asked_is_said() -> None:
    menu, costs = chain(4, 3)
    with pytest.raises(BadInput, match="no limit is on latency_ms"):
        codesign(menu, costs, [])
    with pytest.raises(BadInput, match="has no costs for 'accuracy'|more is better"):
        codesign(menu, costs, [Limit(LATENCY, 5.0)], objective="accuracy")
    with pytest.raises(BadInput, match="relative"):
        codesign(menu, costs, [Limit(LATENCY, 0.5, relative=True)])
    with pytest.raises(BadInput, match="has no costs for 'params'"):
        codesign(menu, costs, [Limit(LATENCY, 5.0), Limit("params", 1.0)])


def test_some_of_the_designs_are_searched_like_designs_of_their_own() -> None:
    menu, costs = chain(6, 30)
    limits = [Limit(LATENCY, 7.0)]
    some = np.array([3, 7, 21])
    found = codesign(menu, Some(costs, some), limits)
    alone = [codesign(menu, Some(costs, some[i : i + 1]), limits).value for i in range(3)]
    assert found.value == pytest.approx(min(alone), abs=1e-9)
    assert found.latency_ms == pytest.approx(on(menu, costs, int(some[found.design])).total(LATENCY, found.assignment))


def test_under_a_limit_that_binds_nothing_the_fastest_design_is_taken() -> None:
    menu, costs = chain(6, 40)
    found = codesign(menu, costs, [Limit(LATENCY, 1e4)])
    assert found.assignment == menu.as_is
    assert found.latency_ms == pytest.approx(min(on(menu, costs, i).total(LATENCY, menu.as_is) for i in range(40)))
