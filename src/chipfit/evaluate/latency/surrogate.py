"""What the source devices teach: a surrogate of each, and ridge regression on what they foretell.

A device is often near a mixture of known ones. So each source device gets a surrogate (ridge regression of its
logarithms on all blocks, strength by generalised cross-validation), and a new device a ridge on the surrogates'
predictions beside the networks' own features. AdaProxy (OneProxy, SIGMETRICS 2022) is the case of one source.

Tables hold thousands of networks; a surrogate learns from `ROWS` of them, as many as the published predictors
(HELP, MultiPredict; they take 4,000 on FBNet) take. A table that is learnt whole may be looked up in, too: what was
measured of a network says more than what its surrogate makes of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from chipfit.evaluate.latency.base import Few, Floats, Networks, Predictor, Tables
from chipfit.evaluate.latency.ridge import RidgePredictor, Scaled

ROWS = 900
"""Networks of each source device that are learnt from at most."""

_STRENGTHS = np.logspace(-4, 2, 13)

_OWN = 0.3
"""Weight of a network's own features beside what the source devices foretell of it."""


@dataclass(frozen=True)
class Surrogates:
    """Linear predictors of the logarithms on m source devices, standardised over the networks of the tables.

    `measured` has the (m,) measured logarithms of networks by name, standardised alike, NaN where one is missing; they
    stand in for what the predictors say.
    """

    scaled: Scaled
    weights: Floats
    mean: Floats
    spread: Floats
    measured: Mapping[str, Floats] = field(default_factory=dict)

    def __call__(self, networks: Networks) -> Floats:
        """(n, m)."""
        told = (self.scaled(networks) @ self.weights - self.mean) / self.spread
        if self.measured:
            nothing = np.full(len(self.mean), np.nan)
            known = np.stack([self.measured.get(name, nothing) for name in networks.names])
            told = np.where(np.isfinite(known), known, told)
        return np.asarray(told)

    def without(self, device: int) -> Surrogates:
        """All but one."""
        kept = np.arange(len(self.mean)) != device
        measured = {name: row[kept] for name, row in self.measured.items()}
        return Surrogates(self.scaled, self.weights[:, kept], self.mean[kept], self.spread[kept], measured)


def surrogates(tables: Tables, rng: np.random.Generator, *, looked_up: bool = False) -> Surrogates:
    """Fits one for each device of the tables; missing values are left out. `looked_up` keeps what was measured."""
    scaled = Scaled.to(tables.networks, tuple(tables.networks.blocks))
    x = scaled(tables.networks)
    order = rng.permutation(len(x))
    factors: dict[bytes, tuple[Floats, Floats, Floats]] = {}
    weights, offsets = [], []
    for column in np.log(tables.values).T:
        rows = order[np.isfinite(column[order])][:ROWS]
        if rows.tobytes() not in factors:
            factors[rows.tobytes()] = np.linalg.svd(x[rows] - x[rows].mean(0), full_matrices=False)
        weights.append(_ridge(*factors[rows.tobytes()], column[rows] - column[rows].mean()))
        offsets.append(column[rows].mean() - x[rows].mean(0) @ weights[-1])
    w = np.column_stack(weights) if weights else np.zeros((x.shape[1], 0))
    told = x @ w
    found = Surrogates(scaled, w, told.mean(0), np.maximum(told.std(0), 1e-12))
    if not looked_up:
        return found
    known = (np.log(tables.values) - offsets - found.mean) / found.spread
    return replace(found, measured=dict(zip(tables.networks.names, known, strict=True)))


def _ridge(u: Floats, s: Floats, vt: Floats, y: Floats) -> Floats:
    """Coefficients at the strength of least generalised cross-validation error (Golub, Heath and Wahba 1979)."""
    b = u.T @ y
    shrink = s**2 / (s**2 + _STRENGTHS[:, None])
    squares = y @ y - ((2 * shrink - shrink**2) * b**2).sum(1)
    best = shrink[np.argmin(squares / np.maximum(len(y) - 1 - shrink.sum(1), 1.0) ** 2)]
    return np.asarray(vt.T @ (best / np.maximum(s, 1e-12) * b))


@dataclass(frozen=True)
class SurrogateRidge:
    """Ridge regression on the surrogates and, with less weight, on the blocks named."""

    blocks: tuple[str, ...] = ("one-hot", "counts")

    def prepare(self, tables: Tables, rng: np.random.Generator) -> _PreparedSurrogateRidge:
        own = Scaled.to(tables.networks, self.blocks)
        return _PreparedSurrogateRidge(surrogates(tables, rng), own)


@dataclass(frozen=True)
class _PreparedSurrogateRidge:
    sources: Surrogates
    own: Scaled

    def fit(self, few: Few, rng: np.random.Generator) -> Predictor:
        return RidgePredictor.to(self.features, few)

    def features(self, networks: Networks) -> Floats:
        told = self.sources(networks)
        return np.hstack([told / np.sqrt(max(told.shape[1], 1)), _OWN * self.own(networks)])


@dataclass(frozen=True)
class BestSource:
    """The source device whose values correlate best with the samples, on a line fitted to them.

    Its measured values where the tables have them, else its surrogate's.
    """

    def prepare(self, tables: Tables, rng: np.random.Generator) -> _PreparedBestSource:
        return _PreparedBestSource(tables, surrogates(tables, rng))


@dataclass(frozen=True)
class _PreparedBestSource:
    tables: Tables
    sources: Surrogates

    def fit(self, few: Few, rng: np.random.Generator) -> Predictor:
        best = nearest(self.values(few.networks), few)
        return RidgePredictor.to(lambda networks: self.values(networks)[:, [best]], few, strengths=np.array([1e-6]))

    def values(self, networks: Networks) -> Floats:
        """(n, devices) logarithms, standardised."""
        known = np.log(self.tables.values)
        known = (known - np.nanmean(known, 0)) / np.nanstd(known, 0)
        place = {name: i for i, name in enumerate(self.tables.networks.names)}
        rows = np.array([place.get(name, -1) for name in networks.names])
        measured = np.where(rows[:, None] >= 0, known[rows], np.nan)
        return np.where(np.isfinite(measured), measured, self.sources(networks))


def nearest(told: Floats, few: Few) -> int:
    """The source (a column of `told`) that correlates best with the samples' logarithms."""
    y = np.log(few.values)
    return int(np.argmax([np.corrcoef(y, c)[0, 1] if np.ptp(c) > 0 else -1.0 for c in told.T]))


@dataclass(frozen=True)
class AdaProxy:
    """The best-correlating source's surrogate, its scale free and each of its coefficients corrected by a share.

    y = sum_k (a + b_k) w_k x_k + c with a penalty on b alone (OneProxy, SIGMETRICS 2022, with a squared penalty); a
    coefficient of 0 stays 0.
    """

    def prepare(self, tables: Tables, rng: np.random.Generator) -> _PreparedAdaProxy:
        return _PreparedAdaProxy(surrogates(tables, rng))


_FREE = 30.0
"""Makes the penalty on a scale negligible."""


@dataclass(frozen=True)
class _PreparedAdaProxy:
    sources: Surrogates

    def fit(self, few: Few, rng: np.random.Generator) -> Predictor:
        best = nearest(self.sources(few.networks), few)
        weights = self.sources.weights[:, best] / self.sources.spread[best]

        def features(networks: Networks) -> Floats:
            parts = self.sources.scaled(networks) * weights
            return np.column_stack([_FREE * parts.sum(1), parts])

        return RidgePredictor.to(features, few)
