"""The words of the predictors: networks, tables of known devices, a few samples of a new one, values with an interval.

A `Model` is prepared once on the tables of the source devices, fitted to the few samples of each new device, and then
predicts any network of the space. Nothing here knows a space or that the metric is a latency: values are positive
numbers, and models work on their logarithms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAST = 5
"""Samples of a new device at least."""


@dataclass(frozen=True)
class Networks:
    """n networks as predictors see them; every array has a row for each.

    `blocks` are features by name, (n, d) each, raw (a model scales what it uses): "one-hot" operators by position,
    "counts" of operators, "cost" (logarithms of MACs, parameters, activations), and what else an encoder adds.
    `tokens` (n, V) is the kind of operator at each node, -1 where a network has no such node; `edges` (n, V, V) is
    true at [i, a, b] where node b of network i reads node a.
    """

    names: tuple[str, ...]
    blocks: Mapping[str, Floats]
    tokens: Ints
    edges: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.names)

    def take(self, rows: Sequence[int] | Ints) -> Networks:
        """These rows, in this order."""
        at = np.asarray(rows, np.int64)
        blocks = {name: block[at] for name, block in self.blocks.items()}
        return Networks(tuple(self.names[i] for i in at), blocks, self.tokens[at], self.edges[at])


@dataclass(frozen=True)
class Tables:
    """What is known of other devices: `values` (n, devices), positive, NaN where a network was not measured."""

    networks: Networks
    devices: tuple[str, ...]
    values: Floats
    metric: str = "latency_ms"


@dataclass(frozen=True)
class Few:
    """The samples of the new device: networks and their (n,) positive values."""

    networks: Networks
    values: Floats


@dataclass(frozen=True)
class Prediction:
    """Values of n networks and the ends of their intervals, (n,) each."""

    values: Floats
    low: Floats
    high: Floats


def rank_correlation(a: Floats, b: Floats) -> float:
    """Spearman's; 0 where one of them is constant."""
    return float(spearmanr(a, b).statistic) if np.ptp(a) and np.ptp(b) else 0.0


class Predictor(Protocol):
    """A model fitted to one device."""

    @property
    def left_out(self) -> Floats:
        """(samples,) what the model foretells of the logarithm of each sample when fitted to all the others."""
        ...

    def predict(self, networks: Networks) -> Floats:
        """(n,) logarithms of the values."""
        ...


class Prepared(Protocol):
    """A model that has learnt what the source devices teach."""

    def fit(self, few: Few, rng: np.random.Generator) -> Predictor: ...


class Model(Protocol):
    """A way of predicting, before it has seen any device."""

    def prepare(self, tables: Tables, rng: np.random.Generator) -> Prepared: ...
