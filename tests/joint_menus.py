"""Small random menus with the latencies of several designs, and what trying everything says about them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from chipfit.core.types import Limit
from chipfit.search.design_costs import LATENCY, Tabled, tabled
from chipfit.search.joint_problem import Problem, formed
from chipfit.space.menu import Assignment, Decision, Menu, Option, Term

Case = tuple[Menu, Tabled]


def decision(name: str, n: int) -> Decision:
    return Decision(name, "width", tuple(Option(str(i)) for i in range(n)))


def every(menu: Menu) -> list[Assignment]:
    """All assignments that keep the ties."""
    return [a for a in np.ndindex(*(int(n) for n in menu.sizes)) if menu.valid(a)]


def on(menu: Menu, costs: Tabled, design: int) -> Menu:
    """The menu with the latencies of one design."""
    rows = zip(costs.scopes, costs.held, strict=True)
    return menu.priced(Term(LATENCY, scope, table[design]) for scope, table in rows)


def pairs(menu: Menu, costs: Tabled) -> list[tuple[int, Assignment, float, float]]:
    """(design, assignment, damage, latency) of everything that runs."""
    found = []
    for design in range(costs.count):
        priced = on(menu, costs, design)
        for a in every(menu):
            latency = priced.total(LATENCY, a)
            if np.isfinite(latency):
                found.append((design, a, priced.total("damage", a), latency))
    return found


@st.composite
def cases(draw: st.DrawFn, designs: tuple[int, int] = (1, 30), bars: bool = True) -> Case:
    """Decisions coupled in twos and threes, now and then tied, on 1 to 30 designs, some of them equal.

    Whole numbers make many totals equal, and put many on a limit. Some choices run on some designs only.
    """
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    count = draw(st.integers(*designs))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    whole = draw(st.booleans())

    def values(shape: tuple[int, ...], least: int) -> np.ndarray:
        return rng.integers(least, 4, shape).astype(float) if whole else rng.normal(1.0, 1.0, shape)

    where = st.lists(st.integers(0, len(sizes) - 1), max_size=3, unique=True)
    scopes = draw(st.lists(where, min_size=1, max_size=4))
    held = [values((count, *(sizes[d] for d in scope)), 0) for scope in scopes]
    if draw(st.booleans()):
        held = [table[rng.integers(0, count, count)] for table in held]
    if bars and draw(st.booleans()):
        held = [np.where(rng.random(table.shape) < 0.1, np.inf, table) for table in held]
    terms = [
        Term(metric, tuple(scope), values(tuple(sizes[d] for d in scope), -1))
        for metric in ("damage", "params")
        for scope in draw(st.lists(where, min_size=1, max_size=4))
    ]
    choice = st.integers(0, len(sizes) - 1).flatmap(lambda d: st.tuples(st.just(d), st.integers(0, sizes[d] - 1)))
    ties = draw(st.lists(st.tuples(choice, choice), max_size=2))
    menu = Menu("small", tuple(decision(f"d{i}", n) for i, n in enumerate(sizes)), tuple(terms), tuple(ties))
    return menu, Tabled(tuple(tuple(s) for s in scopes), tuple(held))


def a_limit(draw: st.DrawFn, totals: list[float]) -> float:
    """A limit that falls on, just beside, or anywhere near one of these totals."""
    ordered = sorted(totals)
    value = ordered[draw(st.integers(0, len(ordered) - 1))]
    return value + draw(st.sampled_from([0.0, 0.0, -1e-9, 1e-9, 0.1, -0.1]))


def problem_of(case: Case, objective: str, limit: Limit) -> Problem:
    """All designs of a case as one problem."""
    menu, costs = case
    held = tabled(costs, np.arange(costs.count))
    form = formed(menu, held.scopes, objective, limit)
    return form.at(held, form.scale(held))


def chain(n: int, designs: int, seed: int = 0) -> Case:
    """Layers between widths, each cheaper and more harmful the narrower it is, on designs that differ by layer."""
    rng = np.random.default_rng(seed)
    kept = np.linspace(1.0, 0.4, 4)
    work = rng.uniform(1.0, 3.0, (designs, n - 1))
    scopes = tuple((i, i + 1) for i in range(n - 1))
    held = tuple(work[:, i, None, None] * np.outer(kept, kept) for i in range(n - 1))
    harm = [Term("damage", (i,), rng.uniform(0.5, 2.0) * (1 - kept) ** 2) for i in range(n)]
    return Menu("chain", tuple(decision(f"w{i}", 4) for i in range(n)), tuple(harm)), Tabled(scopes, held)
