"""A Gaussian process over networks whose covariance is a mixture, weighed by the samples and by the source devices.

k(x, x') = sum_c theta_c k_c(x, x'), one k_c for each block (linear), for the source devices' surrogates (linear), for
all coarse blocks together (squared exponential, two lengths) and for the one-hots (cube of the share of equal
positions). Few samples cannot fit theta, so none is fitted: `CANDIDATES` mixtures, sparse and log-uniform, are
averaged by their evidence with the constant and the scale integrated out (Rasmussen and Williams 2006, sections 2.7
and 5.4.1; inverse-gamma prior of the scale),

    log p_g(y) = -1/2 log |K_g| 1' K_g^-1 1 - (a + (m - 1) / 2) log(b + y' P_g y / 2),

times a prior learnt from the sources: each in turn plays the new device, with samples of its own and the others as its
sources. As p_g(y without i) has a closed form, what is left out (`left_out`) is left out of the weights too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import cast

import numpy as np

from chipfit.evaluate.latency.base import Few, Floats, Networks, Tables
from chipfit.evaluate.latency.ridge import Scaled, free_mean, left_out
from chipfit.evaluate.latency.surrogate import Surrogates, surrogates

CANDIDATES = 300
"""Mixtures that are averaged."""

COARSE = ("counts", "live counts", "depth", "cost")
"""Blocks that few samples suffice to bend a surface over."""

LEFT = ("pairs",)
"""Blocks that only tables are rich enough for."""

_LENGTHS = (1.0, 4.0)
"""Squared lengths of the squared exponentials, in units of the coarse blocks' mean square norm."""

_SHAPE = 1.0
_SCALE = 0.1
"""Inverse-gamma prior of the variance: its shape, and its scale as a share of the variance on a source device."""

_EVEN = 0.3
"""Share of the prior that knows nothing of the sources: a new device may be like none of them."""

MANY, LIKELIEST = 150, 24
"""Samples from which on only so many mixtures are averaged: those that are likeliest on half of `MANY` samples."""

MEMORY_MB = 400.0
"""For the covariances that are held at once."""

DRAWS, SAMPLES = 4, 20
"""Sets of samples that a source device is given to play the new one, and the size of each."""


@dataclass(frozen=True)
class Encoded:
    """What the covariances of n networks need: linear features, coarse features, one-hots, for each its rows."""

    linear: tuple[Floats, ...]
    coarse: Floats
    hot: Floats

    def parts(self, beside: int) -> Iterator[Encoded]:
        """The same, as many rows at a time as their covariances with `beside` networks leave room for."""
        step = max(1, int(MEMORY_MB * 1e6 / (8 * beside * (len(self.linear) + len(_LENGTHS) + 1))))
        for i in range(0, len(self.coarse), step):
            at = slice(i, i + step)
            yield Encoded(tuple(x[at] for x in self.linear), self.coarse[at], self.hot[at])


def covariances(a: Encoded, b: Encoded) -> Floats:
    """(components, n_a, n_b)."""
    square = (a.coarse**2).sum(1)[:, None] + (b.coarse**2).sum(1) - 2 * a.coarse @ b.coarse.T
    found = [x @ z.T for x, z in zip(a.linear, b.linear, strict=True)]
    found += [np.exp(-np.maximum(square, 0) / length) for length in _LENGTHS]
    return np.stack([*found, (a.hot @ b.hot.T) ** 3])


def variances(a: Encoded) -> Floats:
    """(components, n): the covariance of each network with itself."""
    ones = [np.ones(len(a.coarse))] * len(_LENGTHS)
    return np.stack([*((x**2).sum(1) for x in a.linear), *ones, (a.hot**2).sum(1) ** 3])


@dataclass(frozen=True)
class Mixtures:
    """Candidates g: shares of the components (g, c), each sum 1; noise (g,); logarithm of the prior (g,)."""

    shares: Floats
    noise: Floats
    prior: Floats

    @classmethod
    def drawn(cls, components: int, rng: np.random.Generator) -> Mixtures:
        """Half of the components of each candidate are absent, the rest within three orders of magnitude."""
        size = (CANDIDATES, components)
        shares = 10 ** rng.uniform(-2.5, 1.0, size) * (rng.random(size) < 0.5)
        shares[~shares.any(1)] = 1.0
        noise = 10 ** rng.uniform(-3.0, -0.3, CANDIDATES)
        return cls(shares / shares.sum(1, keepdims=True), noise, np.zeros(CANDIDATES))

    def covariance(self, k: Floats) -> Floats:
        """(g, m, m) of components (c, m, m), with noise."""
        return np.tensordot(self.shares, k, 1) + self.noise[:, None, None] * np.eye(k.shape[-1])

    def mean(self, weights: Floats) -> tuple[Floats, float]:
        """The one mixture that stands for all: mean shares, geometric mean of the noise."""
        return weights @ self.shares, float(np.exp(weights @ np.log(self.noise)))


def softmax(logs: Floats, axis: int = -1) -> Floats:
    """Weights from their logarithms."""
    weights = np.exp(logs - logs.max(axis, keepdims=True))
    return np.asarray(weights / weights.sum(axis, keepdims=True))


def evidence(p: Floats, determinant: Floats, y: Floats, scale: float) -> tuple[Floats, Floats]:
    """Logarithms of the evidence of each candidate: of all samples (g,), and of all but each (g, m)."""
    m = len(y)
    diagonal = np.diagonal(p, axis1=1, axis2=2)
    square = np.einsum("gij,i,j->g", p, y, y)[:, None]
    without = -0.5 * (determinant[:, None] + np.log(diagonal))
    without = without - (_SHAPE + (m - 2) / 2) * np.log(scale + (square - (p @ y) ** 2 / diagonal) / 2)
    whole = -0.5 * determinant - (_SHAPE + (m - 1) / 2) * np.log(scale + square[:, 0] / 2)
    return whole, without


@dataclass(frozen=True)
class GaussianProcess:
    """The mixture described above.

    `sources` false leaves the source devices out; `looked_up` takes what was measured on them where the tables have it.
    """

    sources: bool = True
    looked_up: bool = False

    def prepare(self, tables: Tables, rng: np.random.Generator) -> PreparedProcess:
        blocks = [b for b in tables.networks.blocks if b not in LEFT]
        scaled = tuple(Scaled.to(tables.networks, (b,)) for b in blocks)
        coarse = Scaled.to(tables.networks, COARSE)
        known = surrogates(tables, rng, looked_up=self.looked_up) if self.sources and tables.devices else None
        y = np.log(tables.values)
        scale = _SCALE * float(np.median(np.nanvar(y, 0))) if tables.devices else 0.01
        components = len(blocks) + (known is not None) + len(_LENGTHS) + 1
        prepared = PreparedProcess(scaled, coarse, known, Mixtures.drawn(components, rng), scale)
        return prepared.taught(tables.networks, y, rng) if known and len(tables.devices) > 1 else prepared


@dataclass(frozen=True)
class PreparedProcess:
    """Ready for new devices."""

    scaled: tuple[Scaled, ...]
    coarse: Scaled
    sources: Surrogates | None
    mixtures: Mixtures
    scale: float
    _last: dict[str, Networks | Encoded] = field(default_factory=dict)

    def encoded(self, networks: Networks) -> Encoded:
        """What the covariances need. The last answer is kept, as device after device asks for the same networks."""
        if "networks" not in self._last or self._last["networks"] is not networks:
            self._last.update(networks=networks, encoded=self.encode(networks))
        return cast(Encoded, self._last["encoded"])

    def encode(self, networks: Networks) -> Encoded:
        """The same, not kept."""
        linear = [s(networks) for s in self.scaled]
        if self.sources is not None:
            linear.append(self.sources(networks) / np.sqrt(len(self.sources.mean)))
        coarse = self.coarse(networks) / np.sqrt(max(len(self.coarse.blocks), 1))
        hot = networks.blocks.get("one-hot", np.zeros((len(networks), 1)))
        return Encoded(tuple(linear), coarse, hot / np.sqrt(np.maximum(hot.sum(1, keepdims=True), 1.0)))

    def without(self, device: int) -> PreparedProcess:
        """As if this source were the new device: its surrogate is left out."""
        return replace(self, sources=self.sources and self.sources.without(device), _last={})

    def taught(self, networks: Networks, y: Floats, rng: np.random.Generator) -> PreparedProcess:
        """With the prior that the sources (their logarithms: y) teach."""
        posteriors = []
        for device, column in enumerate(y.T):
            others, rows = self.without(device), np.flatnonzero(np.isfinite(column))
            for _ in range(DRAWS if len(rows) > SAMPLES else 0):
                few = rng.choice(rows, SAMPLES, replace=False)
                own = others.encode(networks.take(few))
                p, determinant = free_mean(self.mixtures.covariance(covariances(own, own)))
                posteriors.append(softmax(evidence(p, determinant, column[few], self.scale)[0]))
        even = np.full(CANDIDATES, 1 / CANDIDATES)
        learnt = np.mean(posteriors, 0) if posteriors else even
        prior = np.log(_EVEN * even + (1 - _EVEN) * learnt)
        return replace(self, mixtures=replace(self.mixtures, prior=prior))

    @cached_property
    def before(self) -> tuple[Floats, float]:
        """Shares and noise that are expected before any sample."""
        return self.mixtures.mean(softmax(self.mixtures.prior))

    def fit(self, few: Few, rng: np.random.Generator) -> FittedProcess:
        if len(few.values) > MANY:
            return self._likeliest(few, rng)._fit(few)
        return self._fit(few)

    def _likeliest(self, few: Few, rng: np.random.Generator) -> PreparedProcess:
        """With the mixtures alone that a part of many samples makes likely: all at once would not fit into memory."""
        part = rng.choice(len(few.values), MANY // 2, replace=False)
        own, y = self.encode(few.networks.take(part)), np.log(few.values[part])
        p, determinant = free_mean(self.mixtures.covariance(covariances(own, own)))
        weights = softmax(evidence(p, determinant, y, self.scale)[0] + self.mixtures.prior)
        most = max(1, int(3 * MEMORY_MB * 1e6 / (8 * len(few.values) ** 2)))
        kept = np.argsort(-weights, kind="stable")[: min(most, LIKELIEST)]
        mixtures = Mixtures(self.mixtures.shares[kept], self.mixtures.noise[kept], self.mixtures.prior[kept])
        return replace(self, mixtures=mixtures, _last={})

    def _fit(self, few: Few) -> FittedProcess:
        own, y = self.encode(few.networks), np.log(few.values)
        k = covariances(own, own)
        p, determinant = free_mean(self.mixtures.covariance(k))
        whole, without = evidence(p, determinant, y, self.scale)
        weights = softmax(whole + self.mixtures.prior)
        told = (softmax(without + self.mixtures.prior[:, None], 0) * left_out(p, y)).sum(0)
        alpha = p @ y
        by_component = np.einsum("g,gc,gm->cm", weights, self.mixtures.shares, alpha)
        fitted = np.einsum("cij,cj->i", k, by_component) + np.einsum("g,g,gm->m", weights, self.mixtures.noise, alpha)
        return FittedProcess(self, own, by_component, float((y - fitted).mean()), told, self.mixtures.mean(weights))


@dataclass(frozen=True)
class FittedProcess:
    """The process of one device: a sum over its samples' covariances, by component."""

    prepared: PreparedProcess
    own: Encoded
    weights: Floats
    constant: float
    left_out: Floats
    mixture: tuple[Floats, float]

    def predict(self, networks: Networks) -> Floats:
        """(n,) logarithms."""
        parts = self.prepared.encoded(networks).parts(len(self.left_out))
        told = [np.einsum("cnm,cm->n", covariances(part, self.own), self.weights) for part in parts]
        return np.concatenate(told) + self.constant

    @cached_property
    def _covariance(self) -> Floats:
        """K of the samples under the mean mixture."""
        shares, noise = self.mixture
        k = np.tensordot(shares, covariances(self.own, self.own), 1)
        return np.asarray(k + noise * np.eye(len(self.left_out)))

    @property
    def left_out_deviation(self) -> Floats:
        """(m,) standard deviation of each sample, up to one scale, as foretold by all others."""
        return np.asarray(1 / np.sqrt(np.diag(free_mean(self._covariance)[0])))

    def deviation(self, networks: Networks) -> Floats:
        """(n,) standard deviation of what a measurement would say, up to the same scale; it grows away from samples."""
        inverse = np.asarray(np.linalg.inv(self._covariance), np.float64)
        parts = self.prepared.encoded(networks).parts(len(self.left_out))
        return np.concatenate([self._deviation(part, inverse) for part in parts])

    def _deviation(self, encoded: Encoded, inverse: Floats) -> Floats:
        shares, noise = self.mixture
        cross = np.tensordot(shares, covariances(encoded, self.own), 1)
        # kriging with a free mean: prior variance, less what the samples explain, plus what the constant leaves open
        u = 1 - cross @ inverse.sum(1)
        explained = ((cross @ inverse) * cross).sum(1)
        variance = shares @ variances(encoded) + noise - explained + u**2 / inverse.sum()
        return np.asarray(np.sqrt(np.maximum(variance, noise)))
