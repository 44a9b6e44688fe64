"""The best network under a limit on a device of which nothing is measured yet: few timings, each of them used twice.

Some networks are timed at random, the rest because they may be the answer; both teach the predictor, and both may be
returned.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import norm

from chipfit.evaluate.latency.base import LEAST, Few, Floats, Ints, Networks, Prediction
from chipfit.evaluate.latency.few_shot import ReadyFewShot
from chipfit.evaluate.latency.interval import SHARE
from chipfit.search.under_limit import Found, under_limit

FIRST = 10
"""Timings at random, before any that the limit asks for; 6 are as good, 20 worse (tune_nas_under_limit.py)."""


def best_under_limit(
    ready: ReadyFewShot,
    networks: Networks,
    quality: Floats,
    measure: Callable[[int], float],
    limit: float,
    budget: int,
    rng: np.random.Generator,
    *,
    first: int = FIRST,
) -> Found:
    """Searches n networks of known (n,) quality for the best whose value on a new device is at most `limit`.

    Args:
        ready: what is known of other devices.
        networks: the candidates.
        quality: more is better.
        measure: the value of a network (by its row) on the new device; NaN where it cannot be had.
        limit: in the unit of the values.
        budget: measurements in all.
        rng: chooses the first ones.
        first: how many are measured before the limit plays a part.

    Raises:
        BadInput: a quality that is no number, or more first samples than the budget.
    """

    def chance(rows: Ints, values: Floats) -> Floats:
        if len(values) < LEAST or np.ptp(values) <= 0:  # nothing to fit to yet
            return np.full(len(networks), 0.5)
        fitted = ready.fit(Few(networks.take(rows), values), rng)
        return chance_of(fitted.predict(networks), limit)

    chosen = ready.choose(networks, min(first, len(networks)), rng)
    return under_limit(quality, measure, limit, chance, first=chosen, budget=budget)


def chance_of(told: Prediction, limit: float) -> Floats:
    """(n,) probabilities that values are at most `limit`: log-normal, with the intervals told."""
    deviation = np.log(told.high / told.values) / norm.ppf((1 + SHARE) / 2)
    return np.asarray(norm.cdf(np.log(limit / told.values) / np.maximum(deviation, 1e-12)))
