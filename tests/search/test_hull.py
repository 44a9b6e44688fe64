"""Where there is no time for a search the hull has a good assignment within the limits."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings

from chipfit.core.deadline import Deadline
from chipfit.core.types import Limit
from chipfit.search.assign import assign
from chipfit.search.hull import on_hull, within
from chipfit.search.program import Row, tabulate
from chipfit.space.menu import Menu
from search.conftest import residual_menu
from search.test_assign import problems


@given(problem=problems())
@settings(max_examples=40, deadline=None)
def test_what_it_finds_is_within_the_rows(problem: tuple[Menu, list[Limit]]) -> None:
    menu, limits = problem
    rows = [
        Row(tabulate(menu, x.metric, -1.0 if x.at_least else 1.0), -x.value if x.at_least else x.value) for x in limits
    ]
    found = on_hull(menu, tabulate(menu, "damage"), rows)
    assert within(menu, limits) == found
    if found is not None:
        assert menu.valid(found)
        assert all(x.met(menu.total(x.metric, found)) for x in limits)


def test_a_budget_is_held_though_the_time_is_over() -> None:
    menu = residual_menu(6, np.random.default_rng(0))
    whole = menu.total("latency_ms", menu.as_is)
    for share in (0.8, 0.5, 0.3):
        limit = Limit("latency_ms", share * whole)
        late = assign(menu, [limit], deadline=Deadline.after(-1.0))
        best = assign(menu, [limit])
        assert limit.met(menu.total("latency_ms", late))
        lost, least = menu.total("damage", late), menu.total("damage", best)
        assert least <= lost <= least + 0.1 * menu.total("damage", tuple(n - 1 for n in menu.sizes))
