"""Values with conformal intervals: how far off the model was on samples it had not seen, scaled by their distance.

Scores are |y_i - what the fit to all others foretells of y_i| / s_i, s a Gaussian process' standard deviation; the
interval of a new network is exp(prediction -+ q s(x)), so no end is ever negative. Conformal prediction takes for q the
k-th smallest score, k = ceil((m + 1) share) (jackknife; Lei et al. 2018, Barber et al. 2021), which assumes nothing and
rests on one or two of 20 samples; the t quantile of the scores' mean square rests on all. q is their geometric mean,
widened by `STRAIN`. Below nine samples there is no k-th score for 90 %: q is the t quantile, or the largest score if
that is more.

Correcting q by what the source devices would have needed on the same samples was tried: it scattered coverage more.
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


STRAIN = 1.1
"""How much too small the scores of samples are, which had a say in how the model is mixed.

On source devices that were held out (89, three draws of 20 samples at random) intervals held 88 % of the other networks
without it, 90 % with it.
"""


FASTEST, FAST = 0.05, 0.15
"""Shares of the networks known: from the second on intervals widen, up to the first, where searches look."""

WIDER = 1.5
"""Factor of intervals among the `FASTEST`.

A search picks what looks fast, which some networks are by the predictor's error alone, and the fastest are unlike the
samples. On held-out sources (32 fits, N1, N3, F1, F3) the intervals of the 5 % that look fastest held 78 % of the
measurements (median of the devices 89 %) without it.
"""


@dataclass(frozen=True)
class Calibrated:
    """A predictor whose values come with intervals; `scale` says where it knows more and where less.

    `fast` are the logarithms of values that `FASTEST` and `FAST` of the networks known stay below.
    """

    predictor: Predictor
    scale: FittedProcess
    quantile: float
    fast: tuple[float, float]

    @classmethod
    def on(cls, few: Few, predictor: Predictor, scale: FittedProcess, known: Networks) -> Calibrated:
        """Calibrates on the samples that both were fitted to; `known` are networks among which a search looks."""
        scores = np.abs(np.log(few.values) - predictor.left_out) / scale.left_out_deviation
        low, high = np.quantile(predictor.predict(known), (FASTEST, FAST)).tolist()
        return cls(predictor, scale, STRAIN * quantile(scores, SHARE), (low, high))

    def widening(self, log: Floats) -> Floats:
        """(n,) factors of the intervals of networks whose values have these logarithms."""
        low, high = self.fast
        share = (high - log) / max(high - low, 1e-12)
        return 1.0 + (WIDER - 1.0) * np.clip(share, 0.0, 1.0)

    @property
    def left_out_half(self) -> Floats:
        """(samples,) half-widths, in logarithms, of the intervals that all other samples give each."""
        return self.quantile * self.scale.left_out_deviation

    def predict(self, networks: Networks) -> Prediction:
        """Values and intervals, (n,) each."""
        log = self.predictor.predict(networks)
        half = self.quantile * self.scale.deviation(networks) * self.widening(log)
        return Prediction(np.exp(log), np.exp(log - half), np.exp(log + half))


def quantile(scores: Floats, share: float) -> float:
    """What a new score stays below with a probability of `share`."""
    m = len(scores)
    k = math.ceil((m + 1) * share - 1e-9)
    assumed = float(t.ppf((1 + share) / 2, m - 1) * np.sqrt((scores**2).mean()))
    return math.sqrt(assumed * float(np.sort(scores)[k - 1])) if k <= m else max(assumed, float(scores.max()))
