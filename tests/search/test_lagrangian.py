from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from chipfit.core.types import Limit
from chipfit.search.codesign import codesign
from chipfit.search.design_costs import LATENCY, Tabled
from chipfit.search.lagrangian import greedy
from chipfit.space.menu import Menu, Term
from joint_menus import Case, a_limit, cases, chain, decision, on, pairs


@given(cases(), st.data())
@settings(max_examples=60)
def test_what_it_finds_keeps_the_limit_and_is_no_better_than_the_best(case: Case, data: st.DataObject) -> None:
    rows = pairs(*case)
    if not rows:
        return
    limit = Limit(LATENCY, a_limit(data.draw, [row[3] for row in rows]))
    found = greedy(*case, limit)
    if found is not None:
        menu = on(*case, found.design)
        assert menu.valid(found.assignment)
        assert limit.met(menu.total(LATENCY, found.assignment))
        assert found.value == menu.total("damage", found.assignment)
        assert found.value >= min(row[2] for row in rows if limit.met(row[3])) - 1e-9


def test_filling_finds_what_is_above_the_hull() -> None:
    """Costs 4, 2, 1 with damages 0, 3, 4: the second is above the line between the others, and filling finds it."""
    menu = Menu("g", (decision("a", 3),), (Term("damage", (0,), np.array([0.0, 3.0, 4.0])),))
    found = greedy(menu, Tabled(((0,),), (np.array([[4.0, 2.0, 1.0]]),)), Limit(LATENCY, 3.0))
    assert found is not None
    assert found.assignment == (1,)


def test_it_comes_close_on_a_chain() -> None:
    menu, costs = chain(12, 60)
    limit = Limit(LATENCY, 13.0)
    found, best = greedy(menu, costs, limit), codesign(menu, costs, [limit])
    assert found is not None
    assert best.value <= found.value <= 1.2 * best.value
