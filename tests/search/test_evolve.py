"""Ageing evolution with hurdles, on whole numbers: what it finds, what it does not look at, and what it forgets."""

from __future__ import annotations

import numpy as np
import pytest

from chipfit.core.errors import BadInput
from chipfit.search.evolve import Ageing, Ladder, Rung, Tried, evolve


def step(parent: int, others: list[int], rng: np.random.Generator) -> int | None:
    return parent + int(rng.integers(-3, 4))


def distance(n: int) -> float:
    return abs(n - 40.0)


def best(tried: list[Tried[int]]) -> int:
    return min(tried, key=lambda t: t.fitness).candidate


def test_it_walks_to_the_optimum() -> None:
    tried = evolve([0], step, [Rung("distance", distance)], np.random.default_rng(0), ageing=Ageing(10, 4, 200))
    assert best(tried) == 40
    assert tried == evolve([0], step, [Rung("distance", distance)], np.random.default_rng(0), ageing=Ageing(10, 4, 200))


def test_nothing_is_looked_at_twice() -> None:
    seen: list[int] = []

    def value(n: int) -> float:
        seen.append(n)
        return distance(n)

    evolve([0, 0, 1], step, [Rung("distance", value)], np.random.default_rng(0))
    assert len(seen) == len(set(seen)) > 10


def test_what_a_cheap_rung_leaves_is_not_looked_at_dearly() -> None:
    dear: list[int] = []

    def measured(n: int) -> float:
        dear.append(n)
        return distance(n)

    rungs = [
        Rung("valid", lambda n: None if n % 7 == 0 and n else 0.0),
        Rung("cheap", distance, keep=0.25),
        Rung("dear", measured),
    ]
    tried = evolve([0], step, rungs, np.random.default_rng(0), ageing=Ageing(10, 4, 200))
    assert best(tried) == 40
    assert not [n for n in dear if n and n % 7 == 0]
    assert len(dear) == sum(t.passed for t in tried) < len(tried)
    assert all(len(t.values) == 3 for t in tried if t.passed)
    assert all(t.fitness == float("inf") for t in tried if not t.passed)


def test_the_first_on_a_rung_pass_and_then_the_best_share() -> None:
    ladder = Ladder([Rung("cheap", float, keep=0.5), Rung("dear", lambda v: -v)])
    assert [ladder.climb(v).passed for v in (5.0, 4.0, 3.0, 2.0, 1.0)] == [True] * 5
    assert [ladder.climb(v).passed for v in (4.5, 1.5, 9.0, 2.5)] == [False, True, False, True]
    assert ladder.climb(0.5) == Tried(0.5, (0.5, -0.5), True)


def test_the_oldest_goes_however_good_it_was() -> None:
    """A seed that nothing beats has children only while it is among the youngest."""
    parents: list[int] = []

    def vary(parent: int, others: list[int], rng: np.random.Generator) -> int:
        parents.append(parent)
        assert len(others) <= 3
        return len(parents)

    evolve([0], vary, [Rung("age", float)], np.random.default_rng(0), ageing=Ageing(3, 3, 6))
    assert parents == [0, 0, 0, 1, 2, 3]


def test_it_ends_when_told_and_when_it_goes_in_circles() -> None:
    asked = iter([False, False, False, True])
    few = evolve([0], step, [Rung("d", distance)], np.random.default_rng(0), done=lambda: next(asked, True))
    assert len(few) <= 3
    circles = evolve([0], lambda p, o, r: 0, [Rung("d", distance)], np.random.default_rng(0))
    assert [t.candidate for t in circles] == [0]
    none = evolve([0], lambda p, o, r: None, [Rung("d", distance)], np.random.default_rng(0))
    assert [t.candidate for t in none] == [0]


def test_what_it_cannot_begin_with_is_said() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(BadInput, match="begins with at least one seed"):
        evolve([], step, [Rung("d", distance)], rng)
    with pytest.raises(BadInput, match="at least one rung"):
        evolve([0], step, [], rng)
    with pytest.raises(BadInput, match="'d' keeps 0"):
        Rung("d", distance, keep=0)
    with pytest.raises(BadInput, match="tournaments of 5 among 3"):
        Ageing(3, 5)
