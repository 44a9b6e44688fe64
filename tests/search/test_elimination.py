from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from chipfit.search.elimination import Plan, eliminated, planned, taken
from chipfit.search.order import walk

Drawn = tuple[Plan, list[np.ndarray], int]


@st.composite
def sums(draw: st.DrawFn, most_cells: int = 10**6) -> Drawn:
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))
    where = st.lists(st.integers(0, len(sizes) - 1), max_size=3, unique=True)
    plan = planned(sizes, [tuple(s) for s in draw(st.lists(where, max_size=5))], most_cells)
    count = draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shapes = [tuple(sizes[d] for d in plan.scopes[n]) for n in range(plan.given)]
    return plan, [rng.normal(size=(draw(st.sampled_from([1, count])), *s)) for s in shapes], count


def total(drawn: Drawn, design: int, assignment: tuple[int, ...]) -> float:
    plan, tables, _ = drawn
    rows = [design if len(t) > 1 else 0 for t in tables]
    cells = [(r, *(assignment[d] for d in plan.scopes[n])) for n, r in enumerate(rows)]
    return sum(float(t[c]) for t, c in zip(tables, cells, strict=True))


def least(drawn: Drawn, design: int) -> float:
    return min(total(drawn, design, a) for a in np.ndindex(*drawn[0].sizes))


@given(sums())
@settings(max_examples=60)
def test_the_least_sum_is_what_trying_everything_finds(drawn: Drawn) -> None:
    plan, tables, count = drawn
    found, all_tables = eliminated(plan, tables)
    chosen = taken(plan, all_tables, count)
    assert plan.exact
    for design, value in enumerate(np.broadcast_to(found, (count,))):
        assert abs(value - least(drawn, design)) < 1e-9
        assert abs(value - total(drawn, design, tuple(int(o) for o in chosen[design]))) < 1e-9


@given(sums(most_cells=4))
@settings(max_examples=60)
def test_parted_tables_bound_the_least_sum_from_below(drawn: Drawn) -> None:
    plan, tables, count = drawn
    found, _ = eliminated(plan, tables)
    for design, value in enumerate(np.broadcast_to(found, (count,))):
        assert value <= least(drawn, design) + 1e-9


def test_a_decisions_own_table_is_shared_out_over_its_parts() -> None:
    """Two layers at one width take 2 or 1 ms each; the second harms by 2. Apart, one would take it for nothing."""
    plan = planned([2, 3, 3, 3], [(0, 1), (1, 2), (2, 3), (0, 3)], most_cells=6)
    tables = [np.zeros((1, *(plan.sizes[d] for d in plan.scopes[n]))) for n in range(plan.given)]
    for n, scope in enumerate(plan.scopes[: plan.given]):
        if 0 in scope:
            along = np.array([0.0, 2.0]) if len(scope) == 1 else np.array([2.0, 1.0])
            tables[n] += along.reshape(1, *(2 if d == 0 else 1 for d in scope))
    assert not plan.exact
    assert float(eliminated(plan, tables)[0].ravel()[0]) == 4.0


def test_a_chain_is_walked_with_one_decision_in_hand() -> None:
    scopes = [(i, i + 1) for i in range(9)]
    order = walk([4] * 10, scopes)
    for n in range(1, 10):
        done = set(order[:n])
        asked_for = {d for s in scopes for d in s if d in done and not done.issuperset(s)}
        assert len(asked_for) <= 2


def test_parts_that_see_each_other_no_more_are_walked_one_after_the_other() -> None:
    """Two layers' own decisions between three widths: each is taken as soon as its widths are."""
    order = walk([4, 4, 4, 6, 6], [(0, 1, 3), (1, 2, 4)])
    assert max(order.index(3) - max(order.index(0), order.index(1)), 0) <= 1
    assert sorted(order) == [0, 1, 2, 3, 4]
