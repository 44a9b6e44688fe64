"""The least total of a menu without limits: brute force on small menus; long chains need no search."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from chipfit.search.least import least
from chipfit.search.program import tabulate, total
from chipfit.space.menu import Decision, Menu, Option, Term
from search.test_assign import every, menus


@given(menu=menus())
@settings(max_examples=80, deadline=None)
def test_it_is_the_least_of_all(menu: Menu) -> None:
    goal = tabulate(menu, "damage")
    found, valid = least(menu, goal), every(menu)
    assert found.proven
    if not valid:
        assert found.assignment is None
        return
    assert found.assignment in valid
    lowest = min(total(goal, a) for a in valid)
    assert total(goal, found.assignment) == pytest.approx(lowest, abs=1e-9)
    assert found.bound == pytest.approx(lowest, abs=1e-9)


def test_a_stream_through_many_blocks_is_eliminated_block_by_block() -> None:
    """48 blocks of three decisions each on one stream: 9^145 assignments."""
    rng, blocks, n = np.random.default_rng(0), 48, 9
    options = tuple(Option(str(o)) for o in range(n))
    decisions = tuple(Decision(f"d{d}", "width", options) for d in range(1 + 3 * blocks))
    terms = [
        Term("damage", (0, 3 * b + 1, 3 * b + 2 + part), rng.normal(size=(n, n, n)))
        for b in range(blocks) for part in range(2)
    ]  # fmt: skip
    tied = tuple(((3 * b + 1, n - 1), (3 * b + 2, n - 1)) for b in range(blocks))
    menu = Menu("stream", decisions, tuple(terms), tied)
    found = least(menu, tabulate(menu, "damage"))
    assert found.proven
    assert found.assignment is not None
    assert menu.valid(found.assignment)
    assert menu.total("damage", found.assignment) == pytest.approx(found.bound)
    near = (list(found.assignment) for _ in range(200))
    for a in near:
        a[int(rng.integers(len(a)))] = int(rng.integers(n))
        assert not menu.valid(tuple(a)) or menu.total("damage", tuple(a)) >= found.bound - 1e-9


def test_tables_too_large_to_eliminate_leave_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chipfit.search.least.MOST_CELLS", 20)
    rng, options = np.random.default_rng(1), tuple(Option(str(o)) for o in range(4))
    decisions = tuple(Decision(f"d{d}", "width", options) for d in range(5))
    terms = tuple(Term("damage", (a, b), rng.normal(size=(4, 4))) for a in range(5) for b in range(a))
    menu = Menu("clique", decisions, terms)
    found = least(menu, tabulate(menu, "damage"))
    lowest = min(menu.total("damage", a) for a in every(menu))
    assert not found.proven
    assert found.bound < lowest
    assert found.assignment is None or menu.total("damage", found.assignment) >= lowest
