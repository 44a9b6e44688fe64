from __future__ import annotations

import numpy as np

from chipfit.core.types import Candidate, Trial
from chipfit.search.random import Random, fresh
from chipfit.space.choices import Choices

SMALL = Choices({"a": (1, 2, 3), "b": ("x", "y")})


def test_all_of_a_small_space_is_proposed_once() -> None:
    strategy = Random(SMALL, np.random.default_rng(0))
    asked = strategy.ask(4) + strategy.ask(4)
    assert len(asked) == 6
    assert {(c.values["a"], c.values["b"]) for c in asked} == {(a, b) for a in (1, 2, 3) for b in "xy"}
    assert strategy.ask(1) == []


def test_what_was_told_is_known() -> None:
    strategy = Random(SMALL, np.random.default_rng(0))
    known = Candidate({"a": 1, "b": "x"})
    strategy.tell([Trial(known, error="too slow")])
    assert known.key not in {c.key for c in strategy.ask(10)}


def test_samples_are_uniform() -> None:
    space = Choices({"a": tuple(range(4)), "b": tuple(range(1000))})
    asked = Random(space, np.random.default_rng(1)).ask(1200)
    counts = np.bincount([c.values["a"] for c in asked])
    assert counts.min() > 240
    assert counts.max() < 360


class Biased:
    """A space whose samples are nearly always the same, so that the rest is only found by looking."""

    def __init__(self, values: int) -> None:
        self.inner = Choices({"a": tuple(range(values))})
        self.upper = self.inner.upper
        self.mutate, self.cross = self.inner.mutate, self.inner.cross
        self.encode, self.decode = self.inner.encode, self.inner.decode

    def sample(self, rng: np.random.Generator) -> Candidate:
        return Candidate({"a": 0})


def test_what_sampling_misses_is_enumerated() -> None:
    strategy = Random(Biased(5), np.random.default_rng(0))
    assert [c.values["a"] for c in strategy.ask(9)] == [0, 1, 2, 3, 4]


def test_a_space_too_large_to_enumerate_counts_as_used_up_when_samples_repeat() -> None:
    space = Biased(2**17)
    assert fresh(space, set(), np.random.default_rng(0)) == Candidate({"a": 0})
    assert fresh(space, {Candidate({"a": 0}).key}, np.random.default_rng(0)) is None


def test_a_space_without_genes_has_one_candidate() -> None:
    assert Random(Choices({}), np.random.default_rng(0)).ask(3) == [Candidate({})]
