"""A metric with several aspects counts where it is worst, in totals and in the exact solver."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from chipfit.core.errors import Infeasible
from chipfit.core.types import Limit
from chipfit.search.assign import assign
from chipfit.space.menu import Decision, Menu, Option, Term


def two_devices(seed: int) -> Menu:
    """Four decisions of three options, latency on two devices that disagree, and damage."""
    rng = np.random.default_rng(seed)
    decisions = tuple(Decision(f"d{n}", "width", tuple(Option(str(o)) for o in range(3))) for n in range(4))
    terms = [Term("damage", (d,), np.array([0.0, *np.sort(rng.random(2))])) for d in range(4)]
    for aspect in ("a", "b"):
        terms += [Term("latency_ms", (d,), rng.random(3), aspect=aspect) for d in range(4)]
        terms += [Term("latency_ms", (d, d + 1), rng.random((3, 3)), aspect=aspect) for d in range(3)]
    return Menu("m", decisions, tuple(terms))


def on(menu: Menu, aspect: str, a: tuple[int, ...]) -> float:
    return sum(float(t.table[tuple(a[d] for d in t.on)]) for t in menu.terms if t.aspect == aspect)


def test_a_total_is_the_greatest_aspect() -> None:
    menu = two_devices(0)
    everything = list(product(range(3), repeat=4))
    want = [max(on(menu, "a", a), on(menu, "b", a)) for a in everything]
    assert [menu.total("latency_ms", a) for a in everything] == pytest.approx(want)
    assert menu.totals("latency_ms", np.array(everything)) == pytest.approx(np.array(want))
    assert menu.aspects("latency_ms") == ("a", "b")


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("share", [0.2, 0.7, 0.85, 1.0])
def test_the_solver_holds_the_limit_in_every_aspect(seed: int, share: float) -> None:
    menu = two_devices(seed)
    limit = Limit("latency_ms", share * menu.total("latency_ms", menu.as_is))
    fits = [a for a in product(range(3), repeat=4) if menu.total("latency_ms", a) <= limit.value]
    if not fits:
        with pytest.raises(Infeasible) as told:
            assign(menu, [limit])
        least = min(menu.total("latency_ms", a) for a in product(range(3), repeat=4))
        assert told.value.nearest["latency_ms"] == pytest.approx(least, rel=2e-3)
        return
    found = assign(menu, [limit])
    assert menu.total("latency_ms", found) <= limit.value
    assert menu.total("damage", found) == pytest.approx(min(menu.total("damage", a) for a in fits))
