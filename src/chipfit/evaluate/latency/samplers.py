"""Which networks to time: each sampler takes networks and a number n and returns the rows of n different ones.

`at_random`, `by_size`, `by_cluster` and `by_angle` are those of NASFLAT (Akhauri and Abdelfattah 2024). `optimal` asks
the predictor: greedily the network whose measurement leaves the least variance over all networks (A-optimal design;
Atkinson and Donev 1992) under the covariance that the source devices taught. A variance needs no measured values, so
all n are chosen at once.
"""

from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans

from chipfit.evaluate.latency.base import Floats, Ints, Networks
from chipfit.evaluate.latency.gp import PreparedProcess, covariances
from chipfit.evaluate.latency.ridge import Scaled

POOL = 800
"""Networks that a design chooses from at most."""

AT_RANDOM = 0.5
"""Share of a design that is random: residuals at the extremes alone would say little of the rest."""

_ENCODINGS = ("one-hot", "counts", "stage counts", "cost", "stage cost")


def at_random(networks: Networks, n: int, rng: np.random.Generator) -> Ints:
    """Each with the same probability."""
    return rng.choice(len(networks), n, replace=False)


def by_size(networks: Networks, n: int, rng: np.random.Generator) -> Ints:
    """One of each of n buckets of equal numbers of networks, sorted by the first cost."""
    return _one_of_each(np.argsort(networks.blocks["cost"][:, 0], kind="stable"), n, rng)


def by_angle(networks: Networks, n: int, rng: np.random.Generator) -> Ints:
    """One of each of n buckets, sorted by mean cosine similarity to all."""
    x = _encoding(networks)
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return _one_of_each(np.argsort(x @ x.mean(0), kind="stable"), n, rng)


def by_cluster(networks: Networks, n: int, rng: np.random.Generator) -> Ints:
    """One of each of n clusters (k-means) of a pool."""
    pool = _pool(networks, rng)
    labels = KMeans(n, n_init=1, random_state=int(rng.integers(2**31))).fit_predict(_encoding(networks.take(pool)))
    return np.array([pool[rng.choice(np.flatnonzero(labels == c))] for c in range(n)])


def optimal(prepared: PreparedProcess, networks: Networks, n: int, rng: np.random.Generator) -> Ints:
    """Half at random, then the network that would leave the least variance, one after another."""
    pool = _pool(networks, rng)
    shares, noise = prepared.before
    encoded = prepared.encode(networks.take(pool))
    # the constant is free: a variance of it far above all others
    k = np.tensordot(shares, covariances(encoded, encoded), 1) + 100.0
    chosen: list[int] = []
    while len(chosen) < n:
        gain = (k**2).sum(0) / (np.diag(k) + noise)
        gain[chosen] = -1.0
        best = len(chosen) if len(chosen) < round(AT_RANDOM * n) else int(np.argmax(gain))
        chosen.append(best)
        k = k - np.outer(k[:, best], k[best]) / (k[best, best] + noise)
    return pool[chosen]


def _pool(networks: Networks, rng: np.random.Generator) -> Ints:
    """Some of the networks, in random order."""
    return rng.permutation(len(networks))[:POOL]


def _encoding(networks: Networks) -> Floats:
    return Scaled.to(networks, _ENCODINGS)(networks)


def _one_of_each(order: Ints, n: int, rng: np.random.Generator) -> Ints:
    return np.array([rng.choice(bucket) for bucket in np.array_split(order, n)])
