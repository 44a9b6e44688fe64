"""Values with conformal intervals: how far off the model was on samples it had not seen, scaled by their distance.

Scores are |y_i - what the fit to all others foretells of y_i| / s_i, s a Gaussian process' standard deviation; the
interval of a new network is exp(prediction -+ q s(x)), q the k-th smallest score, k = ceil((m + 1) share) (jackknife
with a scaled score; Barber et al. 2021, Lei et al. 2018). In logarithms no end is ever negative. Where m samples have
no k-th score (fewer than nine for 90 %), q is that of a t distribution with the scores' mean square, times what the
largest score would need: honest, and wide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from chipfit.evaluate.latency.base import Few, Floats, Networks, Prediction, Predictor, Tables
from chipfit.evaluate.latency.gp import FittedProcess, PreparedProcess

SHARE = 0.9
"""Of measurements that an interval is to hold."""

SHOWN = 300
"""Networks of each source that show how far off others are."""


@dataclass(frozen=True)
class Calibrated:
    """A predictor whose values come with intervals; `scale` says where it knows more and where less."""

    predictor: Predictor
    scale: FittedProcess
    quantile: float

    @classmethod
    def on(cls, few: Few, predictor: Predictor, scale: FittedProcess, strain: float = 1.0) -> Calibrated:
        """Calibrates on the samples that both were fitted to; `strain` multiplies every score."""
        return cls(predictor, scale, strain * quantile(left_out_scores(few, predictor, scale), SHARE))

    def predict(self, networks: Networks) -> Prediction:
        """Values and intervals, (n,) each."""
        log, half = self.predictor.predict(networks), self.quantile * self.scale.deviation(networks)
        return Prediction(np.exp(log), np.exp(log - half), np.exp(log + half))


def left_out_scores(few: Few, predictor: Predictor, scale: FittedProcess) -> Floats:
    """(m,) scores of the samples, each by the fit to all others."""
    return np.asarray(np.abs(np.log(few.values) - predictor.left_out) / scale.left_out_deviation)


def strain(process: PreparedProcess, tables: Tables, networks: Networks, rng: np.random.Generator) -> float:
    """How many times the samples' quantile other networks need, as the source devices show.

    Samples that a design chose are not exchangeable with the other networks: they lie further out. So each source plays
    the new device on the very `networks` of the samples, and scores `SHOWN` others; the answer is the share's quantile
    of those scores over that of the samples, all sources together. 1 where too few sources have measured them.
    """
    place = {name: i for i, name in enumerate(tables.networks.names)}
    rows = np.array([place[name] for name in networks.names if name in place], np.int64)
    ratios = []
    for device, column in enumerate(np.log(tables.values).T if len(tables.devices) > 2 else []):
        known = rows[np.isfinite(column[rows])]
        others = np.setdiff1d(np.flatnonzero(np.isfinite(column)), known)
        if len(known) < len(networks) * SHARE or not len(others) or np.ptp(column[known]) == 0:
            continue
        seen = Few(tables.networks.take(known), np.exp(column[known]))
        shown = rng.permutation(others)[:SHOWN]
        fitted = process.without(device).fit(seen, rng)
        new = tables.networks.take(shown)
        scores = np.abs(column[shown] - fitted.predict(new)) / fitted.deviation(new)
        ratios.append(scores / max(quantile(left_out_scores(seen, fitted, fitted), SHARE), 1e-12))
    return float(np.quantile(np.concatenate(ratios), SHARE)) if ratios else 1.0


def quantile(scores: Floats, share: float) -> float:
    """What a new score stays below with a probability of `share`."""
    k = math.ceil((len(scores) + 1) * share - 1e-9)
    if k <= len(scores):
        return float(np.sort(scores)[k - 1])
    tail = t.ppf((1 + share) / 2, len(scores) - 1) * np.sqrt((scores**2).mean() * (1 + 1 / len(scores)))
    return float(max(tail, scores.max()))
