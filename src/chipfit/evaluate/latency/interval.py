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

from chipfit.evaluate.latency.base import Few, Floats, Networks, Prediction, Predictor
from chipfit.evaluate.latency.gp import FittedProcess

SHARE = 0.9
"""Of measurements that an interval is to hold."""


@dataclass(frozen=True)
class Calibrated:
    """A predictor whose values come with intervals; `scale` says where it knows more and where less."""

    predictor: Predictor
    scale: FittedProcess
    quantile: float

    @classmethod
    def on(cls, few: Few, predictor: Predictor, scale: FittedProcess, share: float = SHARE) -> Calibrated:
        """Calibrates on the samples that both were fitted to."""
        scores = np.abs(np.log(few.values) - predictor.left_out) / scale.left_out_deviation
        return cls(predictor, scale, quantile(scores, share))

    def predict(self, networks: Networks) -> Prediction:
        """Values and intervals, (n,) each."""
        log, half = self.predictor.predict(networks), self.quantile * self.scale.deviation(networks)
        return Prediction(np.exp(log), np.exp(log - half), np.exp(log + half))


def quantile(scores: Floats, share: float) -> float:
    """What a new score stays below with a probability of `share`."""
    k = math.ceil((len(scores) + 1) * share - 1e-9)
    if k <= len(scores):
        return float(np.sort(scores)[k - 1])
    tail = t.ppf((1 + share) / 2, len(scores) - 1) * np.sqrt((scores**2).mean() * (1 + 1 / len(scores)))
    return float(max(tail, scores.max()))
