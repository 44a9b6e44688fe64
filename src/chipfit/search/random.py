"""Random search: the baseline that every strategy must beat, and the first generation of those that evolve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from chipfit.core.protocols import Space
from chipfit.core.types import Candidate, Trial

_TRIES = 200
_ENUMERABLE = 2**16


def fresh(space: Space, seen: set[str], rng: np.random.Generator) -> Candidate | None:
    """A sample whose key is not in `seen`, or None when the space is used up.

    A space of at most 2^16 gene vectors is looked through before None is returned; in a larger one, 200 samples in a
    row that were all seen before count as used up.
    """
    for _ in range(_TRIES):
        candidate = space.sample(rng)
        if candidate.key not in seen:
            return candidate
    shape = tuple(int(u) + 1 for u in space.upper)
    if math.prod(shape) > _ENUMERABLE:
        return None
    for genes in np.ndindex(shape):
        candidate = space.decode(np.array(genes, np.int64))
        if candidate.key not in seen:
            return candidate
    return None


@dataclass(slots=True)
class Random:
    """Proposes samples of a space, each once; learns nothing from trials but what not to propose again.

    >>> from chipfit.space.choices import Choices
    >>> strategy = Random(Choices({"depth": (2, 3)}), np.random.default_rng(0))
    >>> sorted(c.values["depth"] for c in strategy.ask(5))
    [2, 3]
    """

    space: Space
    rng: np.random.Generator
    _seen: set[str] = field(default_factory=set, init=False, repr=False)

    def ask(self, n: int) -> list[Candidate]:
        """Up to `n` new candidates; fewer when the space is used up."""
        asked: list[Candidate] = []
        while len(asked) < n and (candidate := fresh(self.space, self._seen, self.rng)) is not None:
            self._seen.add(candidate.key)
            asked.append(candidate)
        return asked

    def tell(self, trials: Sequence[Trial]) -> None:
        """Marks the trials' candidates as known, also those of an earlier run."""
        self._seen.update(t.candidate.key for t in trials)
