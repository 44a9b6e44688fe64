from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipfit.core.errors import Infeasible
from chipfit.core.types import Limit
from chipfit.search import codesign as module
from chipfit.search.codesign import codesign
from chipfit.search.design_costs import LATENCY, tabled
from chipfit.search.further_limits import prices
from chipfit.search.joint_bounds import lower_bounds
from chipfit.search.joint_problem import formed
from chipfit.space.menu import Term
from joint_menus import Case, cases, chain, pairs


@given(cases(designs=(1, 6)), st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.floats(0.0, 5.0))
@settings(max_examples=60)
def test_whatever_the_price_no_design_has_anything_below_its_bound(
    case: Case, latency_at: float, params_at: float, price: float
) -> None:
    menu, costs = case
    rows = [(*row, menu.total("params", row[1])) for row in pairs(menu, costs)]
    if not rows:
        return
    limit = Limit(LATENCY, float(np.quantile([row[3] for row in rows], latency_at)))
    further = Limit("params", float(np.quantile([row[4] for row in rows], params_at)))
    held = tabled(costs, np.arange(costs.count))
    form = formed(menu, held.scopes, "damage", limit, [further]).pricing([price])
    problem = form.at(held, form.scale(held))
    lower = lower_bounds(problem, None, np.inf, lambda *_: np.inf).lower
    for design in range(costs.count):
        within = [row[2] for row in rows if row[0] == design and limit.met(row[3]) and further.met(row[4])]
        if within:
            assert lower[design] <= min(within) + 1e-5
            assert lower[design] <= np.broadcast_to(problem.ceiling(), costs.count)[design] + 1e-5


def sized(n: int, designs: int) -> Case:
    """A chain whose options have parameters too, which do not go with their latency."""
    menu, costs = chain(n, designs)
    rng = np.random.default_rng(1)
    return menu.priced([*menu.terms, *(Term("params", (i,), rng.uniform(0.0, 1.0, 4)) for i in range(n))]), costs


def test_prices_leave_fewer_designs_to_be_solved(monkeypatch: pytest.MonkeyPatch) -> None:
    menu, costs = sized(10, 150)
    limits = [Limit(LATENCY, 11.0), Limit("params", 3.0)]
    found = codesign(menu, costs, limits)
    monkeypatch.setattr(module, "prices", lambda form, some: (0.0,) * len(form.excesses))
    without = codesign(menu, costs, limits)
    assert found.value == pytest.approx(without.value, abs=1e-6)
    assert found.solved < without.solved / 2


def test_what_cannot_be_met_together_is_seen_without_solving_every_design(monkeypatch: pytest.MonkeyPatch) -> None:
    menu, costs = sized(8, 60)
    solves: list[int] = []
    plain = module.assigned

    def counting(*args: object, **named: object) -> object:
        solves.append(1)
        return plain(*args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "assigned", counting)
    least = sum(float(t.table.min()) for t in menu.terms if t.metric == "params")
    with pytest.raises(Infeasible, match="not together"):
        codesign(menu, costs, [Limit(LATENCY, 3.6), Limit("params", least + 0.05)])
    assert len(solves) < 30


def test_a_limit_that_is_kept_anyway_has_no_price() -> None:
    menu, costs = sized(6, 10)
    held = tabled(costs, np.arange(costs.count))
    form = formed(menu, held.scopes, "damage", Limit(LATENCY, 7.0), [Limit("params", 100.0), Limit("params", 2.0)])
    free, tight = prices(form, held)
    assert free == 0
    assert tight > 0
