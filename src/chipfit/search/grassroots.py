"""The published operator search (Benmeziane et al., arXiv 2309.11246), as the arm that others are held against.

Constants as published: a population of 10 over 20 generations, parents uniformly by chance, one-point cross-over,
mutation of each node with .1, the best one carried over. Operators are taken one by one, the least efficient first.

What differs, and why: the released code cannot run, so what prevents it is repaired and nothing else. Its population is
kept from one generation to the next. The fitness, which has no body there, is accuracy after a short fine-tuning less a
penalty on latency, given by whoever asks. A child that cannot be run (there, shapes are never checked) is drawn again,
and after ten times its first parent stands in for it. What was looked at once is not looked at again, which changes no
outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

import numpy as np

from chipfit.core.errors import BadInput

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Published:
    """The published constants."""

    population: int = 10
    generations: int = 20
    mutation: float = 0.1
    elite: int = 1


PUBLISHED = Published()

_AGAIN = 10


@dataclass(frozen=True, slots=True)
class Variation(Generic[T]):
    """How candidates come to be; each may fail, which is None.

    Attributes:
        first: one of the first generation, by chance.
        cross: one-point cross-over of two.
        mutate: one of them with each node changed by this chance.
    """

    first: Callable[[np.random.Generator], T | None]
    cross: Callable[[T, T, np.random.Generator], T | None]
    mutate: Callable[[T, float, np.random.Generator], T | None]


@dataclass(slots=True)
class Grassroots(Generic[T]):
    """One operator's search.

    Args:
        original: the operator as a candidate, which is in the first generation.
        variation: how candidates come to be.
        fitness: accuracy less a penalty on latency; larger is better, None where a candidate cannot be run.
        rng: the only source of chance.
        key: equal for candidates that are the same.
        constants: as published.
    """

    original: T
    variation: Variation[T]
    fitness: Callable[[T], float | None]
    rng: np.random.Generator
    key: Callable[[T], str] = str
    constants: Published = PUBLISHED
    looked_at: dict[str, float] = field(default_factory=dict, init=False)
    """Fitness by key of all candidates; minus infinity for those that cannot be run."""

    def run(self, done: Callable[[], bool] = lambda: False) -> T:
        """The fittest candidate of the last generation; `done` ends the search after a generation.

        Raises:
            BadInput: the original itself cannot be run.
        """
        if self._fitness(self.original) == float("-inf"):
            raise BadInput("the operator to be replaced cannot be run as a candidate; give one that can")
        people = self._first()
        for _ in range(self.constants.generations):
            if done():
                break
            people = self._next(people)
        return max(people, key=self._fitness)

    def _first(self) -> list[T]:
        people = [self.original]
        while len(people) < self.constants.population:
            made = _drawn(lambda: self.variation.first(self.rng))
            people.append(self.original if made is None else made)
        return people

    def _next(self, people: Sequence[T]) -> list[T]:
        """The elite, and children of parents by chance."""
        best = sorted(people, key=self._fitness, reverse=True)
        following = best[: self.constants.elite]
        while len(following) < self.constants.population:
            a, b = (people[int(self.rng.integers(len(people)))] for _ in range(2))
            child = _drawn(partial(self._child, a, b))
            following.append(a if child is None else child)
        return following

    def _child(self, a: T, b: T) -> T | None:
        crossed = self.variation.cross(a, b, self.rng)
        return None if crossed is None else self.variation.mutate(crossed, self.constants.mutation, self.rng)

    def _fitness(self, candidate: T) -> float:
        name = self.key(candidate)
        if name not in self.looked_at:
            value = self.fitness(candidate)
            self.looked_at[name] = float("-inf") if value is None or value != value else value
        return self.looked_at[name]


def _drawn(draw: Callable[[], T | None]) -> T | None:
    """What is drawn, again as long as it is nothing, up to ten times."""
    for _ in range(_AGAIN):
        if (made := draw()) is not None:
            return made
    return None


def least_efficient(ms: Mapping[str, float], params: Mapping[str, int], most: int) -> tuple[str, ...]:
    """Up to so many operators, the least efficient first.

    The published analysis ranks by latency and by the number of parameters and does not say how the two are joined;
    here by the sum of both ranks, of equals the slower.
    """
    by_ms, by_params = (sorted(values, key=values.__getitem__) for values in (ms, params))
    rank = {name: by_ms.index(name) + by_params.index(name) for name in ms}
    order = sorted(ms, key=lambda name: (-rank[name], -ms[name], name))
    return tuple(order[:most])
