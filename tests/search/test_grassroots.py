"""The published loop, on tuples of whole numbers: its constants, and what was repaired of it."""

from __future__ import annotations

import numpy as np
import pytest

from chipfit.core.errors import BadInput
from chipfit.search.grassroots import PUBLISHED, Grassroots, Variation, least_efficient

Row = tuple[int, ...]
ORIGINAL: Row = (0,) * 6


def first(rng: np.random.Generator) -> Row:
    return tuple(int(v) for v in rng.integers(0, 10, 6))


def cross(a: Row, b: Row, rng: np.random.Generator) -> Row:
    at = int(rng.integers(1, 6))
    return (*a[:at], *b[at:])


def mutate(a: Row, rate: float, rng: np.random.Generator) -> Row:
    return tuple(int(rng.integers(10)) if rng.random() < rate else v for v in a)


def total(a: Row) -> float:
    return float(sum(a))


def test_the_constants_are_the_published_ones() -> None:
    assert (PUBLISHED.population, PUBLISHED.generations, PUBLISHED.mutation, PUBLISHED.elite) == (10, 20, 0.1, 1)


def test_a_population_evolves_and_the_best_is_never_lost() -> None:
    search = Grassroots(ORIGINAL, Variation(first, cross, mutate), total, np.random.default_rng(0))
    found = search.run()
    assert total(found) == max(search.looked_at.values()) > 35
    assert len(search.looked_at) <= 10 + 20 * 9
    again = Grassroots(ORIGINAL, Variation(first, cross, mutate), total, np.random.default_rng(0))
    assert again.run() == found


def test_every_generation_has_nine_children() -> None:
    children: list[Row] = []

    def counted(a: Row, rate: float, rng: np.random.Generator) -> Row:
        assert rate == 0.1
        children.append(a)
        return mutate(a, rate, rng)

    Grassroots(ORIGINAL, Variation(first, cross, counted), total, np.random.default_rng(0)).run()
    assert len(children) == 20 * 9


def test_what_cannot_be_run_is_drawn_again_and_never_wins() -> None:
    def fitness(a: Row) -> float | None:
        return None if a[0] > 4 else total(a)

    found = Grassroots(ORIGINAL, Variation(first, cross, mutate), fitness, np.random.default_rng(1)).run()
    assert found[0] <= 4
    nothing = Variation(lambda rng: None, lambda a, b, rng: None, lambda a, rate, rng: None)
    assert Grassroots(ORIGINAL, nothing, total, np.random.default_rng(0)).run() == ORIGINAL
    with pytest.raises(BadInput, match="cannot be run as a candidate"):
        Grassroots((9,), nothing, fitness, np.random.default_rng(0)).run()


def test_it_ends_after_a_generation_when_told() -> None:
    search = Grassroots(ORIGINAL, Variation(first, cross, mutate), total, np.random.default_rng(0))
    search.run(done=lambda: True)
    assert len(search.looked_at) <= 10


def test_the_least_efficient_come_first() -> None:
    ms, params = {"a": 1.0, "b": 3.0, "c": 2.0, "d": 0.1}, {"a": 10, "b": 90, "c": 95, "d": 1}
    assert least_efficient(ms, params, 3) == ("b", "c", "a")
