from __future__ import annotations

import numpy as np

from chipfit.search.design_costs import Tabled
from chipfit.search.families import halves, least_of, marks


def made(rng: np.random.Generator, designs: int) -> Tabled:
    return Tabled(((), (0,), (1, 0)), (np.zeros(designs), rng.random((designs, 3)), rng.random((designs, 4, 3))))


def test_the_least_of_a_family_is_nowhere_slower_than_a_member() -> None:
    held, rows = made(np.random.default_rng(0), 9), np.array([1, 4, 7])
    least = least_of(held, rows)
    assert least.count == 1
    for table, own in zip(least.held, held.held, strict=True):
        assert (table <= own[rows]).all()
        assert (table == own[rows].min(axis=0)).all()


def test_designs_of_two_kinds_are_parted_into_these() -> None:
    rng = np.random.default_rng(1)
    held = made(rng, 12)
    slow = np.sort(rng.choice(12, 6, replace=False))
    for table in held.held:
        table[slow] += 5.0
    parts = halves(marks(held), np.arange(12))
    assert sorted(map(len, parts)) == [6, 6]
    assert any(sorted(part) == list(slow) for part in parts)


def test_choices_that_run_nowhere_mark_nothing() -> None:
    held = made(np.random.default_rng(2), 5)
    held.held[1][3] = np.inf
    assert np.isfinite(marks(held)).all()


def test_each_design_is_in_one_half() -> None:
    rows = np.array([5, 2, 8])
    first, second = halves(marks(made(np.random.default_rng(3), 9)), rows)
    assert sorted([*first, *second]) == [2, 5, 8]
    assert len(first) == 1
