"""What every space keeps: bounded genes, repair, plain values, and variation that stays inside."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np

from chipfit.core.protocols import Space
from chipfit.core.types import Candidate


class SpaceLaws:
    """Subclass as `Test...` and return the space from `space`."""

    rounds = 30
    """How many random candidates each law is tried on."""

    def space(self) -> Space:
        """The space under test, the same at every call."""
        raise NotImplementedError

    def _samples(self, seed: int = 0) -> list[Candidate]:
        rng = np.random.default_rng(seed)
        space = self.space()
        return [space.sample(rng) for _ in range(self.rounds)]

    def _inside(self, candidate: Candidate) -> None:
        """Genes are integers within bounds and lead back to the candidate."""
        space = self.space()
        genes = space.encode(candidate)
        assert genes.shape == space.upper.shape, f"{len(genes)} genes, but upper has {len(space.upper)}"
        assert np.issubdtype(genes.dtype, np.integer), f"genes are {genes.dtype}, not integers"
        assert np.all((genes >= 0) & (genes <= space.upper)), f"genes {genes} are not within 0..{space.upper}"
        assert space.decode(genes).key == candidate.key, f"decode(encode(c)) is not c for {candidate.values}"

    def test_it_meets_the_protocol(self) -> None:
        space = self.space()
        assert isinstance(space, Space), "a method of core.protocols.Space is missing"
        assert space.upper.ndim == 1, "upper is not a vector"
        assert np.issubdtype(space.upper.dtype, np.integer), "upper is not of integers"
        assert np.all(space.upper >= 0), "a gene has no value: its upper is below 0"

    def test_samples_are_inside(self) -> None:
        for candidate in self._samples():
            self._inside(candidate)

    def test_one_seed_gives_one_sequence(self) -> None:
        assert [c.key for c in self._samples(7)] == [c.key for c in self._samples(7)]

    def test_samples_differ_where_they_can(self) -> None:
        space = self.space()
        ends = {space.decode(np.zeros_like(space.upper)).key, space.decode(space.upper.copy()).key}
        if len(ends) == 2:
            assert len({c.key for c in self._samples()}) > 1, "every sample is the same candidate"

    def test_values_are_plain(self) -> None:
        for candidate in self._samples():
            read = Candidate(json.loads(json.dumps(candidate.values)))
            assert read.key == candidate.key, f"JSON does not give {candidate.values} back"

    def test_any_genes_are_repaired(self) -> None:
        rng = np.random.default_rng(1)
        space = self.space()
        for _ in range(self.rounds):
            genes = rng.integers(0, space.upper, endpoint=True)
            before = genes.copy()
            self._inside(space.decode(genes))
            assert np.array_equal(genes, before), "decode changed the genes it was given"

    def test_mutation_stays_inside_and_changes_something(self) -> None:
        rng = np.random.default_rng(2)
        space = self.space()
        changed = 0
        for candidate in self._samples():
            key = candidate.key
            mutant = space.mutate(candidate, rng)
            self._inside(mutant)
            assert candidate.key == key, "mutate changed the candidate it was given"
            changed += mutant.key != key
        if len({c.key for c in self._samples()}) > 1:
            assert changed, "mutate never changed anything"

    def test_crossing_stays_inside(self) -> None:
        rng = np.random.default_rng(3)
        space = self.space()
        samples = self._samples()
        for a, b in pairwise(samples):
            keys = a.key, b.key
            self._inside(space.cross(a, b, rng))
            assert (a.key, b.key) == keys, "cross changed a parent"

    def test_crossing_a_candidate_with_itself_gives_it_back(self) -> None:
        rng = np.random.default_rng(4)
        for candidate in self._samples():
            assert self.space().cross(candidate, candidate, rng).key == candidate.key

    def test_variation_repeats_with_its_seed(self) -> None:
        space = self.space()
        a, b = self._samples()[:2]

        def varied() -> list[str]:
            rng = np.random.default_rng(5)
            return [space.cross(space.mutate(a, rng), b, rng).key for _ in range(self.rounds)]

        assert varied() == varied(), "the same seed gave other candidates"
