"""Ridge regression on a network's own features: no source device, no training, hard to beat for what it costs.

Work is in the dual: with m samples, features X (m, d), K = X X' and the constant left free,
P = (K + s I)^-1 less its projection on the constant; the residual of sample i by the fit to all others is
(P y)_i / P_ii (closed form; Rasmussen and Williams 2006, section 5.4.2, with a free mean).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from chipfit.evaluate.latency.base import Few, Floats, Networks, Predictor, Tables

STRENGTHS = np.logspace(-3, 2, 11)
"""Of the penalty, for features whose mean square norm is 1."""


@dataclass(frozen=True)
class Scaled:
    """Blocks side by side: columns of one spread over the tables' networks, each block of mean square norm 1."""

    blocks: tuple[str, ...]
    mean: Floats
    factor: Floats

    @classmethod
    def to(cls, networks: Networks, blocks: Sequence[str]) -> Scaled:
        """Learns centre and scale; blocks that the networks do not have are left out, constant columns become 0."""
        kept = tuple(b for b in blocks if b in networks.blocks)
        means, factors = [np.zeros(0)], [np.zeros(0)]
        for name in kept:
            spread = networks.blocks[name].std(0)
            varies = spread > 1e-9
            means.append(networks.blocks[name].mean(0))
            factors.append(np.where(varies, 1 / np.where(varies, spread, 1.0), 0.0) / np.sqrt(max(varies.sum(), 1)))
        return cls(kept, np.concatenate(means), np.concatenate(factors))

    def __call__(self, networks: Networks) -> Floats:
        """(n, d)."""
        if not self.blocks:
            return np.zeros((len(networks), 0))
        return np.asarray((np.hstack([networks.blocks[b] for b in self.blocks]) - self.mean) * self.factor)


def free_mean(k: Floats) -> tuple[Floats, Floats]:
    """P (..., m, m) of covariances K (..., m, m), and the logarithm of what K and the free constant integrate to.

    P = K^-1 - K^-1 1 1' K^-1 / (1' K^-1 1); the second, log |K| + log 1' K^-1 1, is the determinant in the restricted
    likelihood (Rasmussen and Williams 2006, equation 2.45 with a constant of any size).
    """
    inverse = np.linalg.inv(k)
    ones = inverse.sum(-1)
    total = ones.sum(-1)
    p = inverse - ones[..., :, None] * ones[..., None, :] / total[..., None, None]
    return p, np.linalg.slogdet(k)[1] + np.log(total)


def left_out(p: Floats, y: Floats) -> Floats:
    """(..., m) what the fits to all other samples foretell of each."""
    return np.asarray(y - (p @ y) / np.diagonal(p, axis1=-2, axis2=-1))


@dataclass(frozen=True)
class RidgePredictor:
    """A ridge fitted to the samples, at the strength of least leave-one-out error."""

    features: Callable[[Networks], Floats]
    weights: Floats
    constant: float
    left_out: Floats

    @classmethod
    def to(cls, features: Callable[[Networks], Floats], few: Few, strengths: Floats = STRENGTHS) -> RidgePredictor:
        x, y = features(few.networks), np.log(few.values)
        k = x @ x.T
        p, _ = free_mean(k + strengths[:, None, None] * np.eye(len(y)))
        told = left_out(p, y)
        best = int(np.argmin(((told - y) ** 2).sum(1)))
        weights = x.T @ (p[best] @ y)
        constant = float((y - x @ weights - strengths[best] * (p[best] @ y)).mean())
        return cls(features, weights, constant, told[best])

    def predict(self, networks: Networks) -> Floats:
        """(n,) logarithms."""
        return np.asarray(self.features(networks) @ self.weights + self.constant)


@dataclass(frozen=True)
class Ridge:
    """Ridge regression on the blocks named; source devices lend nothing but the spread of features."""

    blocks: tuple[str, ...] = ("one-hot", "counts")

    def prepare(self, tables: Tables, rng: np.random.Generator) -> _PreparedRidge:
        return _PreparedRidge(Scaled.to(tables.networks, self.blocks))


@dataclass(frozen=True)
class _PreparedRidge:
    scaled: Scaled

    def fit(self, few: Few, rng: np.random.Generator) -> Predictor:
        return RidgePredictor.to(self.scaled, few)
