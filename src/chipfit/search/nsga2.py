"""NSGA-II (Deb et al., 2002): evolution by non-dominated sorting and crowding, with constraint domination.

A candidate that meets every limit goes before one that does not; of two that do not, the one with the smaller excess
goes first (the excess is summed over limits, each as a share of its limit); of two that do, the lower front, then the
larger crowding distance. Parents win a binary tournament in that order.

What differs, and why: variation is the space's own (`cross`, `mutate`, repaired by `decode`), so that ties and menus
of any kind work; nothing is proposed twice, since an evaluation costs minutes; survivors are chosen whenever trials
are told, so that any number can be asked for at a time (with `population` at a time it is the published algorithm).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import moocore
import numpy as np
from numpy.typing import NDArray

from chipfit.core.errors import BadInput
from chipfit.core.protocols import Space
from chipfit.core.types import Candidate, Limit, Trial
from chipfit.search.random import fresh

_CROSSED = 0.9
_TRIES = 50


@dataclass(frozen=True, slots=True)
class _Member:
    candidate: Candidate
    goals: tuple[float, ...]  # all to be made least
    excess: float


@dataclass(slots=True)
class Nsga2:
    """Proposes candidates by evolving those told so far.

    Args:
        space: what may vary.
        objectives: (metric, larger is better) of each objective.
        rng: the only source of chance.
        limits: absolute limits, on objectives or on other metrics of the trials.
        population: survivors; as many random candidates are proposed before evolution begins.
        start: candidates to propose first, such as exact optima.

    Raises:
        BadInput: no objective, a population below 2, or a relative limit.
    """

    space: Space
    objectives: Sequence[tuple[str, bool]]
    rng: np.random.Generator
    limits: Sequence[Limit] = ()
    population: int = 32
    start: Sequence[Candidate] = ()
    _seen: set[str] = field(default_factory=set, init=False, repr=False)
    _survivors: list[_Member] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.objectives:
            raise BadInput("objectives are empty; give at least one, such as ('accuracy', True)")
        if self.population < 2:
            raise BadInput(f"population {self.population} is too small; give 2 or more")
        for limit in self.limits:
            if limit.relative:
                raise BadInput(f"limit {limit} is relative; make it absolute with limit.against(reference)")

    def ask(self, n: int) -> list[Candidate]:
        """Up to `n` new candidates; fewer when the space is used up."""
        asked: list[Candidate] = []
        while len(asked) < n and (candidate := self._propose()) is not None:
            self._seen.add(candidate.key)
            asked.append(candidate)
        return asked

    def tell(self, trials: Sequence[Trial]) -> None:
        """Lets the trials compete; failed ones, and those with a value that is not a number, only become known.

        Raises:
            BadInput: a trial that did not fail lacks the metric of an objective or limit.
        """
        self._seen.update(t.candidate.key for t in trials)
        pool = {m.candidate.key: m for m in self._survivors}
        for trial in trials:
            if trial.error is None and (member := self._member(trial)) is not None:
                pool[member.candidate.key] = member
        members = list(pool.values())
        if members:
            order = survival(np.array([m.goals for m in members]), np.array([m.excess for m in members]))
            self._survivors = [members[i] for i in order[: self.population]]

    def _member(self, trial: Trial) -> _Member | None:
        for name in (*(m for m, _ in self.objectives), *(x.metric for x in self.limits)):
            if not trial.has(name):
                have = ", ".join(m.metric for m in trial.measurements) or "none"
                raise BadInput(
                    f"trial {trial.candidate.key} has no {name!r}; it has {have}. Measure or drop that metric"
                )
        goals = tuple(-trial.get(m) if larger else trial.get(m) for m, larger in self.objectives)
        excess = sum(_excess(x, trial.get(x.metric)) for x in self.limits)
        return None if math.isnan(excess + sum(goals)) else _Member(trial.candidate, goals, excess)

    def _propose(self) -> Candidate | None:
        for candidate in self.start:
            if candidate.key not in self._seen:
                return candidate
        if len(self._seen) >= self.population and self._survivors:
            for _ in range(_TRIES):
                child = self._child()
                if child.key not in self._seen:
                    return child
        return fresh(self.space, self._seen, self.rng)

    def _child(self) -> Candidate:
        child = self._parent()
        if self.rng.random() < _CROSSED:
            child = self.space.cross(child, self._parent(), self.rng)
        child = self.space.mutate(child, self.rng)
        return self.space.decode(self.space.encode(child))

    def _parent(self) -> Candidate:
        # survivors are kept in the order of the tournament, so that the lower index wins
        return self._survivors[int(self.rng.integers(0, len(self._survivors), 2).min())].candidate


def _excess(limit: Limit, value: float) -> float:
    """By how much of itself a limit is missed; 0 where it is met."""
    over = limit.value - value if limit.at_least else value - limit.value
    return over / (abs(limit.value) or 1.0) if not over <= 0 else 0.0


def survival(goals: NDArray[np.float64], excess: NDArray[np.float64]) -> NDArray[np.intp]:
    """Indices from best to worst by constraint domination, front and crowding; equals keep their order.

    Args:
        goals: (n, objectives), all to be made least.
        excess: (n,) by how much limits are missed; 0 or less where they are met.
    """
    within = excess <= 0
    ranks = np.zeros(len(goals), np.int64)
    if within.any():
        ranks[within] = moocore.pareto_rank(goals[within])
    if not within.all():
        ranks[~within] = len(goals) + np.unique(excess[~within], return_inverse=True)[1]
    crowding = np.zeros(len(goals))
    for rank in np.unique(ranks):
        crowding[ranks == rank] = crowding_distance(goals[ranks == rank])
    return np.lexsort((-crowding, ranks))


def crowding_distance(goals: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) for each point of one front, how far apart its neighbours are: shares of the span, summed over objectives.

    The ends of each objective have infinite distance.
    """
    distance = np.zeros(len(goals))
    for column in goals.T:
        order = np.argsort(column, kind="stable")
        span = column[order[-1]] - column[order[0]]
        distance[order[[0, -1]]] = np.inf
        if span > 0:
            distance[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / span
    return distance
