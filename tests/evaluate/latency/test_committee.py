"""Weights of a committee, and that a sample has no say in what is foretold of itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from chipfit.evaluate.latency.base import Few
from chipfit.evaluate.latency.committee import PreparedCommittee


@dataclass(frozen=True)
class Told:
    """A member that foretells these logarithms whatever it is fitted to."""

    left_out: np.ndarray

    def fit(self, few, rng):
        return self

    def predict(self, networks):
        return np.full(len(networks), self.left_out[0])


def test_a_sample_does_not_choose_who_foretells_it(made_tables):
    truth = np.zeros(10)
    wrong_once, always_off = np.eye(10)[0] * 9, np.full(10, 1.0)
    few = Few(made_tables.networks.take(range(10)), np.exp(truth))
    fitted = PreparedCommittee([Told(wrong_once), Told(always_off)], 4.0).fit(few, np.random.default_rng(0))
    # without the first sample the first member is perfect, with it the second is better
    assert fitted.left_out[0] == pytest.approx(9, abs=1e-6)
    assert fitted.weights[1] > 0.8
    assert np.all(fitted.left_out[1:] > 0.8)


def test_equal_members_share_and_a_better_one_is_heard(made_tables):
    few = Few(made_tables.networks.take(range(10)), np.ones(10))
    off = Told(np.full(10, 1.0))
    assert PreparedCommittee([off, off], 4.0).fit(few, np.random.default_rng(0)).weights == pytest.approx([0.5, 0.5])
    better = Told(np.full(10, 0.5))
    weights = PreparedCommittee([off, better], 1.0).fit(few, np.random.default_rng(0)).weights
    assert weights == pytest.approx([0.2, 0.8])
