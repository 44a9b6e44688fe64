"""Ageing evolution with hurdles: the youngest survive, and a child is only looked at as long as it is promising.

Regularised evolution (Real et al., 1802.01548, as in AutoML-Zero, 2003.03384): the best of a few members drawn by
chance has a child, which joins the population in the place of the oldest, however good that was. A child that is known
already by its `key` is not looked at again. Hurdles: candidates climb a ladder of rungs, cheap ones first; one that is
among the worse part of those seen on a rung is left there. The value on the last rung is what is made least.

What differs, and why: the hurdle of a rung is a share of those seen on it so far and not a threshold that is set each
so many children, since here a rung may see twenty candidates in all; the first on each rung always pass. Nothing here
knows what evolves: candidates, their variation and their values come from whoever asks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from chipfit.core.errors import BadInput

T = TypeVar("T")

_FIRST = 5
"""So many pass a rung before a share of them is known."""


@dataclass(frozen=True, slots=True)
class Rung(Generic[T]):
    """One look at a candidate.

    Attributes:
        name: for the account of what was tried.
        value: smaller is better; None for what is not valid, which ends there.
        keep: share of those seen on it that go on.
    """

    name: str
    value: Callable[[T], float | None]
    keep: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.keep <= 1:
            raise BadInput(f"rung {self.name!r} keeps {self.keep}; give a share above 0 and up to 1")


@dataclass(frozen=True, slots=True)
class Tried(Generic[T]):
    """A candidate with its value on each rung that it reached; `passed` where it stood on the last."""

    candidate: T
    values: tuple[float, ...]
    passed: bool

    @property
    def fitness(self) -> float:
        """The value on the last rung; infinite where it was not reached."""
        return self.values[-1] if self.passed else float("inf")


class Ladder(Generic[T]):
    """Rungs with what was seen on each, so that each lets the best share of all go on."""

    def __init__(self, rungs: Sequence[Rung[T]]) -> None:
        if not rungs:
            raise BadInput("a ladder has at least one rung; give one")
        self._rungs = tuple(rungs)
        self._seen: list[list[float]] = [[] for _ in rungs]

    def climb(self, candidate: T) -> Tried[T]:
        """The candidate's values, up to the rung at which it is left."""
        values: list[float] = []
        for rung, seen in zip(self._rungs, self._seen, strict=True):
            value = rung.value(candidate)
            if value is None or value != value:
                return Tried(candidate, tuple(values), False)
            values.append(value)
            seen.append(value)
            if rung is not self._rungs[-1] and not _goes_on(value, seen, rung.keep):
                return Tried(candidate, tuple(values), False)
        return Tried(candidate, tuple(values), True)


def _goes_on(value: float, seen: Sequence[float], keep: float) -> bool:
    """True for one of the best share, ties included, or one of the first."""
    if len(seen) <= _FIRST:
        return True
    better = sum(v < value for v in seen)
    return better < keep * len(seen)


@dataclass(frozen=True, slots=True)
class Ageing:
    """How many live together, how many are drawn of whom the best has a child, and how many children are looked at.

    So many children in a row that are known already, as `stubborn` says, end the search: it goes in circles.
    """

    population: int = 20
    tournament: int = 4
    children: int = 100
    stubborn: int = 20

    def __post_init__(self) -> None:
        if not 1 <= self.tournament <= self.population:
            raise BadInput(f"tournaments of {self.tournament} among {self.population}; give 1 up to the population")


def evolve(
    seeds: Sequence[T],
    vary: Callable[[T, Sequence[T], np.random.Generator], T | None],
    rungs: Sequence[Rung[T]],
    rng: np.random.Generator,
    *,
    key: Callable[[T], str] = str,
    ageing: Ageing | None = None,
    done: Callable[[], bool] = lambda: False,
) -> list[Tried[T]]:
    """Every candidate that was looked at, in order; the best is the one of least `fitness`.

    Args:
        seeds: where it begins; each is looked at.
        vary: a child of a parent, given the whole population for parts of it; None where chance found none.
        rungs: cheap ones first.
        rng: the only source of chance.
        key: equal for candidates that are the same.
        ageing: sizes.
        done: asked before each child; True ends the search, as a deadline does.

    Raises:
        BadInput: no seed, no rung.
    """
    if not seeds:
        raise BadInput("evolution begins with at least one seed; give one")
    life = _Life(Ladder(rungs), key, ageing or Ageing())
    for seed in seeds:
        if not done():
            life.look_at(seed)
    last, in_vain = len(life.tried) + life.sizes.children, 0
    while life.living and len(life.tried) < last and in_vain < life.sizes.stubborn and not done():
        parent = _parent(life.living, life.sizes.tournament, rng)
        child = vary(parent, [member.candidate for member in life.living], rng)
        in_vain = 0 if child is not None and life.look_at(child) else in_vain + 1
    return life.tried


class _Life(Generic[T]):
    """What was looked at, and who lives: the youngest of those that stood on the last rung."""

    def __init__(self, ladder: Ladder[T], key: Callable[[T], str], sizes: Ageing) -> None:
        self.sizes = sizes
        self.tried: list[Tried[T]] = []
        self.living: deque[Tried[T]] = deque(maxlen=sizes.population)
        self._ladder, self._key = ladder, key
        self._known: set[str] = set()

    def look_at(self, candidate: T) -> bool:
        """False for one that is known."""
        name = self._key(candidate)
        if name in self._known:
            return False
        self._known.add(name)
        self.tried.append(self._ladder.climb(candidate))
        if self.tried[-1].passed:
            self.living.append(self.tried[-1])
        return True


def _parent(living: Sequence[Tried[T]], tournament: int, rng: np.random.Generator) -> T:
    """The fittest of some that are drawn, each at most once; of equals the oldest."""
    places = sorted(int(i) for i in rng.permutation(len(living))[:tournament])
    best = min((living[i] for i in places), key=lambda m: m.fitness)
    return best.candidate
