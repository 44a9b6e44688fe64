"""A small space whose latencies are known exactly, so that what a predictor reads can be told from what it guesses."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from chipfit.evaluate.latency.base import Tables
from chipfit.evaluate.latency.encode import genes


@pytest.fixture(scope="session")
def made_tables() -> Tables:
    """Six devices on 256 networks of four positions: a time for each operator and position, a start, 1 % noise."""
    rng = np.random.default_rng(0)
    codes = np.array(list(itertools.product(range(4), repeat=4)))
    times = rng.lognormal(0, 0.7, (6, 1, 4)) * rng.lognormal(0, 0.3, (6, 4, 4))
    values = 1 + times[:, np.arange(4), codes].sum(2).T
    values *= rng.lognormal(0, 0.01, values.shape)
    networks = genes([str(i) for i in range(256)], codes, ("a", "b", "c", "d"))
    return Tables(networks, tuple("stuvwx"), values)
