"""What every evaluator keeps: one trial for each candidate, in order, and a failure that stays with its candidate."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from chipfit.core.protocols import Evaluator
from chipfit.core.types import METRICS, Candidate, Trial


class EvaluatorLaws:
    """Subclass as `Test...` and return the evaluator and some candidates it can evaluate."""

    sigmas = 6.0
    """By how many standard errors two evaluations of one candidate may differ."""
    slack = 0.0
    """By which share of the value they may differ beside that: above 0 for times."""

    def evaluator(self) -> Evaluator:
        """The evaluator under test."""
        raise NotImplementedError

    def candidates(self) -> Sequence[Candidate]:
        """Two or more different candidates that can be evaluated."""
        raise NotImplementedError

    def broken(self) -> Candidate | None:
        """A candidate that fails, or None if there can be none."""
        return None

    def _good(self, trial: Trial) -> None:
        assert trial.error is None, f"candidate {trial.candidate.values} failed: {trial.error}"
        assert trial.measurements, "a trial without an error has no measurements"
        names = [m.metric for m in trial.measurements]
        assert len(set(names)) == len(names), f"a metric is measured twice: {names}"
        for m in trial.measurements:
            assert m.metric in METRICS, f"{m.metric!r} is not a metric; known: {', '.join(METRICS)}"
            assert math.isfinite(m.value), f"{m.metric} is {m.value}"
            assert m.provenance in ("measured", "simulated", "predicted", "counted"), f"provenance {m.provenance!r}"
            assert m.spread >= 0, f"{m.metric} has spread {m.spread}"
            assert m.n >= 1, f"{m.metric} has n {m.n}"

    def test_one_trial_for_each_candidate_in_order(self) -> None:
        candidates = list(self.candidates())
        trials = self.evaluator()(candidates)
        assert [t.candidate.key for t in trials] == [c.key for c in candidates]
        for trial in trials:
            self._good(trial)

    def test_every_trial_has_the_same_metrics(self) -> None:
        found = {tuple(sorted(m.metric for m in t.measurements)) for t in self.evaluator()(self.candidates())}
        assert len(found) == 1, f"trials differ in their metrics: {found}"

    def test_no_candidates_give_no_trials(self) -> None:
        assert self.evaluator()([]) == []

    def test_a_second_look_agrees(self) -> None:
        candidate = self.candidates()[0]
        evaluator = self.evaluator()
        first, second = evaluator([candidate])[0], evaluator([candidate])[0]
        for a in first.measurements:
            b = next(m for m in second.measurements if m.metric == a.metric)
            allowed = self.sigmas * math.hypot(a.spread, b.spread) + self.slack * abs(a.value)
            assert abs(a.value - b.value) <= allowed, f"{a.metric} was {a.value}, then {b.value}; {allowed} is allowed"

    def test_a_failure_stays_with_its_candidate(self) -> None:
        broken = self.broken()
        if broken is None:
            pytest.skip("no candidate can fail")
        good = self.candidates()[0]
        before, failed, after = self.evaluator()([good, broken, good])
        assert failed.candidate.key == broken.key
        assert failed.error, "the broken candidate has no error"
        self._good(before)
        self._good(after)
