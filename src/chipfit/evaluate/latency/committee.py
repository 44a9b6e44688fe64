"""Several models, weighed for each new device by what they foretell of the samples they did not see.

Each member k has leave-one-out residuals r_ik. Its weight is proportional to (mean square residual)^-sharpness, and is
averaged over `REFITS` Bayesian bootstraps of the samples (Rubin 1981), so that one sample does not decide. For what the
committee foretells of a sample that it was not fitted to, that sample also has no say in the weights: a selection
outside the leave-one-out loop makes intervals too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chipfit.evaluate.latency.base import Few, Floats, Model, Networks, Predictor, Prepared, Tables

SHARPNESS = 4.0
"""The larger, the nearer a committee comes to a selection; 1 weighs by inverse variance."""

REFITS = 100
"""Bootstraps that weights are averaged over."""


@dataclass(frozen=True)
class Committee:
    """A weighted mean of its members' logarithms."""

    members: Sequence[Model]
    sharpness: float = SHARPNESS

    def prepare(self, tables: Tables, rng: np.random.Generator) -> PreparedCommittee:
        return PreparedCommittee([m.prepare(tables, rng) for m in self.members], self.sharpness)


@dataclass(frozen=True)
class PreparedCommittee:
    """Members that are ready for new devices."""

    members: Sequence[Prepared]
    sharpness: float

    def fit(self, few: Few, rng: np.random.Generator) -> FittedCommittee:
        fitted = [m.fit(few, rng) for m in self.members]
        told = np.stack([f.left_out for f in fitted])
        square = (told - np.log(few.values)) ** 2
        draws = rng.exponential(size=(REFITS, len(few.values)))
        weights = _weights(draws @ square.T, self.sharpness).mean(0)
        without = draws[:, :, None] * (1 - np.eye(len(few.values)))  # (refit, sample, sample that is left out)
        each = _weights(np.einsum("rsl,ks->rlk", without, square), self.sharpness).mean(0)
        return FittedCommittee(fitted, weights, (each * told.T).sum(1))


def _weights(errors: Floats, sharpness: float) -> Floats:
    """Weights over the last axis, sum 1; errors of 0 share all of it."""
    relative = errors / np.maximum(errors.max(-1, keepdims=True), 1e-300)
    powers = np.maximum(relative, 1e-12) ** -sharpness
    return np.asarray(powers / powers.sum(-1, keepdims=True))


@dataclass(frozen=True)
class FittedCommittee:
    """The committee of one device, and the weights of its members."""

    members: Sequence[Predictor]
    weights: Floats
    left_out: Floats

    def predict(self, networks: Networks) -> Floats:
        """(n,) logarithms."""
        return np.asarray(sum(w * m.predict(networks) for w, m in zip(self.weights, self.members, strict=True)))
