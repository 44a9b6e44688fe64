"""Families of units: a grid tells smooth ones, rough ones are found out by points between and timed further."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipfit.core.kernel import Kernel
from chipfit.evaluate.families import FULL_TABLE, ROUGH_TABLE, Family, families_of

WIDTHS = range(8, 72, 8)


def unit(cin: int, cout: int, kind: str = "conv") -> Kernel:
    return Kernel(kind, cin, cout, (8, 8), 32)


def square(widths: range) -> Family:
    return Family(frozenset(unit(a, b) for a in widths for b in widths))


def along(widths: range) -> Family:
    return Family(frozenset(unit(w, w) for w in widths))


def smooth(u: Kernel) -> float:
    return 1.0 + u.cin * u.cout / 64


def remainders(u: Kernel) -> float:
    """What does not fill sixteen channels takes kernels that are slower, by another factor on each side."""
    return smooth(u) * (1.5 if u.cin % 16 else 1.0) * (2.5 if u.cout % 16 else 1.0)


def told(family: Family, ms: Callable[[Kernel], float]) -> tuple[dict[Kernel, float], int]:
    """What a family says when units take so long, and how many were timed for it."""
    known = {u: ms(u) for u in family.first}
    if not family.smooth(known):
        known |= {u: ms(u) for u in family.more}
    return family.told(known), len(known)


def worst(family: Family, ms: Callable[[Kernel], float]) -> float:
    return max(abs(v / ms(u) - 1) for u, v in told(family, ms)[0].items())


@pytest.mark.parametrize("family", [square(WIDTHS), along(WIDTHS), square(range(8, 200, 8))])
def test_a_smooth_family_is_told_by_its_grid(family: Family) -> None:
    bilinear = worst(family, lambda u: 1.0 + u.cin + (0 if family.diagonal else u.cin * u.cout))
    assert bilinear < 1e-9
    _, timed = told(family, lambda u: 1.0 + u.cin)
    assert timed == len(family.first) < len(family.members)


@pytest.mark.parametrize("family", [square(WIDTHS), along(WIDTHS), square(range(8, 200, 8)), square(range(8, 48, 8))])
def test_a_rough_family_is_found_out(family: Family) -> None:
    values, timed = told(family, remainders)
    assert values.keys() == family.members
    assert timed > len(family.first)
    if family.diagonal or len(family.members) <= ROUGH_TABLE:
        assert timed == len(family.members)


def test_edges_tell_what_each_width_does() -> None:
    """Remainders of both sides multiply: edges tell all of them, the grid alone errs by a factor."""
    family = square(range(16, 144, 8))
    known = {u: remainders(u) for u in family.first}
    alone = max(abs(v / remainders(u) - 1) for u, v in family.told(known).items())
    assert worst(family, remainders) < 0.6 < alone
    assert len(family.first | family.more) < len(family.members) / 3


def test_with_only_the_grid_known_everything_is_told() -> None:
    family = square(WIDTHS)
    known = {u: smooth(u) for u in family.grid}
    assert family.smooth(known), "nothing that was timed says otherwise"
    assert family.told(known).keys() == family.members


def test_edges_that_the_time_did_not_reach_are_left_out() -> None:
    family = square(WIDTHS)
    known = {u: remainders(u) for u in [*family.first, *sorted(family.more, key=repr)[:3]]}
    assert family.told(known).keys() == family.members


@given(st.sets(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=60))
def test_any_set_of_widths_is_told_whole(widths: set[tuple[int, int]]) -> None:
    family = Family(frozenset(unit(8 * a, 8 * b) for a, b in widths))
    values, _ = told(family, remainders)
    assert values.keys() >= family.members
    assert all(v > 0 for v in values.values())
    assert family.first <= family.grid | family.between
    if len(family.members) <= FULL_TABLE:
        assert family.first == family.members
        assert values == {u: remainders(u) for u in family.members}


def test_units_of_other_kinds_are_other_families() -> None:
    found = families_of([unit(8, 8), unit(16, 8), unit(8, 8, "add"), unit(8, 8)])
    assert sorted(len(f.members) for f in found) == [1, 2]
