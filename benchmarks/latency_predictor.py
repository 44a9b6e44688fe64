"""Latency of a new device from 20 timings: twelve device sets, and families of runtimes that were never seen.

    python benchmarks/latency_predictor.py [--quick] [--json] [--full]

Ours: all networks but the fitted ones are scored, 5 seeds, mean over a set's targets. Published rows (HELP, MultiPredict,
NASFLAT with 20 samples, from the authors' plotting scripts) score the 20 fitted networks too, with samplers and
encodings of their own; HELP drops extreme latencies and learns from 900 (FBNet: 4,000) networks of a source, ours from
900. What ours is made of was frozen before any target was scored (`FROZEN`), see tune_latency_predictor.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from harness import Rows, Target, arguments, at_least, at_most, finish, table
from latency_families import FAMILIES, runtimes
from latency_sets import SETS, Fit, Sampler, Space, score, tasks
from numpy.typing import NDArray
from scipy.stats import t

from chipfit.evaluate.latency.base import Few, Model, Networks, Prediction, Prepared, Tables
from chipfit.evaluate.latency.committee import Committee
from chipfit.evaluate.latency.few_shot import FewShot, ReadyFewShot
from chipfit.evaluate.latency.interval import SHARE, quantile
from chipfit.evaluate.latency.ridge import Ridge
from chipfit.evaluate.latency.samplers import at_random, by_angle, by_cluster, by_size
from chipfit.evaluate.latency.surrogate import AdaProxy, BestSource, SurrogateRidge

FROZEN = "not yet"
"""The commit that froze the default predictor."""

PUBLISHED: Mapping[str, Sequence[float]] = {
    "HELP": (0.948, 0.410, 0.604, 0.509, 0.729, 0.746, 0.910, 0.370, 0.793, 0.543, 0.413, 0.799),
    "MultiPredict": (0.930, 0.820, 0.907, 0.757, 0.947, 0.952, 0.960, 0.450, 0.756, 0.567, 0.434, 0.763),
    "NASFLAT": (0.959, 0.893, 0.967, 0.857, 0.962, 0.959, 0.961, 0.577, 0.809, 0.871, 0.814, 0.734),
}
"""Spearman in the order of SETS."""

SEEDS = 5
SAMPLES = 20

MODELS: Mapping[str, Callable[[], Model]] = {
    "ridge": Ridge,
    "best source": BestSource,
    "AdaProxy": AdaProxy,
    "surrogate ridge": SurrogateRidge,
    "committee D": lambda: Committee((Ridge(), SurrogateRidge(), BestSource()), sharpness=1.0),
}
"""Beside ours; a model has the plain leave-one-out interval."""

OURS, OPTIMAL, RANDOM = "ours", "optimal", "random"
SAMPLERS: Mapping[str, Sampler] = {
    RANDOM: at_random, "size": by_size, "k-means": by_cluster, "cosine": by_angle,
}  # fmt: skip

CURVE_SETS = ("NA", "N3", "FA", "F3")
CURVE_SAMPLES = (5, 10, 15, 20, 30, 50)
CURVE_SEEDS = 3


@dataclass
class Ready:
    """Models that were prepared on the sources of one set, as they are asked for."""

    tables: Tables
    made: dict[str, tuple[Any, float]]

    def of(self, model: str) -> tuple[Any, float]:
        """The prepared model, and the CPU seconds it took."""
        if model not in self.made:
            start = time.process_time()
            prepare = FewShot().prepare if model == OURS else MODELS[model]().prepare
            self.made[model] = prepare(self.tables, np.random.default_rng(0)), time.process_time() - start
        return self.made[model]

    def fit(self, model: str) -> Fit:
        """How the model is fitted to samples."""
        prepared = self.of(model)[0]
        return with_intervals(prepared) if isinstance(prepared, ReadyFewShot) else plain(prepared)

    def sampler(self, name: str) -> Sampler:
        """The sampler of this name; the optimal design is that of ours."""
        chosen: Sampler = self.of(OURS)[0].choose if name == OPTIMAL else SAMPLERS[name]
        return chosen


def with_intervals(ready: ReadyFewShot) -> Fit:
    """Ours as it is."""
    return lambda few, rng: ready.fit(few, rng).predict


def plain(prepared: Prepared) -> Fit:
    """A model with one interval for all networks: the leave-one-out residuals' quantile."""

    def fit(few: Few, rng: np.random.Generator) -> Callable[[Networks], Prediction]:
        fitted = prepared.fit(few, rng)
        half = quantile(np.abs(np.log(few.values) - fitted.left_out), SHARE)

        def predict(networks: Networks) -> Prediction:
            log = fitted.predict(networks)
            return Prediction(np.exp(log), np.exp(log - half), np.exp(log + half))

        return predict

    return fit


def row(ready: Ready, space: Space, targets: Sequence[str], model: str, sampler: str, n: int, seed: int) -> dict[str, Any]:
    """Every score of every target, as lists in the order of the targets."""
    fit, prepared = ready.fit(model), ready.of(model)[1]
    scores = [score(space, d, ready.sampler(sampler), fit, n, seed) for d in targets]
    return {"devices": list(targets), "prepare_seconds": prepared, **{k: [s[k] for s in scores] for k in scores[0]}}


def take(rows: Rows, sets: Sequence[str], seeds: int, *, curves: bool) -> None:
    """Measures what is missing."""
    for name in sets:
        task = tasks()[name]
        ready = Ready(task.space.tables(task.sources), {})
        wanted = [(m, s, SAMPLES, i) for m in (OURS, *MODELS) for s in (OPTIMAL, RANDOM) for i in range(seeds)]
        if curves and name in CURVE_SETS:
            wanted += [(OURS, s, n, i) for s in (OPTIMAL, RANDOM) for n in CURVE_SAMPLES for i in range(CURVE_SEEDS)]
            wanted += [(OURS, s, SAMPLES, i) for s in SAMPLERS for i in range(CURVE_SEEDS)]
        for m, s, n, i in wanted:
            rows.get(f"{name}/{m}/{s}/{n}/{i}", lambda m=m, s=s, n=n, i=i: row(ready, task.space, task.targets, m, s, n, i))  # type: ignore[misc]  # fmt: skip


def take_families(rows: Rows, seeds: int) -> None:
    """Each target of the distinct five, its whole family held out."""
    space = runtimes()
    for device, family in FAMILIES.items():
        ready = Ready(space.tables([d for d in space.devices if d not in family], "cycles"), {})
        start = time.process_time()
        macs = Ridge(("macs",)).prepare(Tables(_macs_alone(space.networks), (), np.zeros((len(space.networks), 0))), np.random.default_rng(0))
        ready.made["MACs"] = _Alone(macs), time.process_time() - start
        for m in (OURS, "MACs", "best source"):
            for i in range(seeds):
                rows.get(f"family {device}/{m}/{OPTIMAL}/{SAMPLES}/{i}", lambda m=m, i=i: row(ready, space, (device,), m, OPTIMAL, SAMPLES, i))  # type: ignore[misc]  # fmt: skip


def cells(rows: Rows, name: str, model: str, sampler: str, key: str, n: int = SAMPLES) -> NDArray[np.float64]:
    """(seeds, targets) of one score; no row gives none."""
    prefix = f"{name}/{model}/{sampler}/{n}/"
    found = [r[key] for k, r in sorted(rows.rows.items()) if k.startswith(prefix)]
    return np.array(found, float)


def mean(rows: Rows, name: str, model: str, sampler: str, key: str = "rho", n: int = SAMPLES) -> float:
    """Over seeds and targets."""
    found = cells(rows, name, model, sampler, key, n)
    return float(found.mean()) if found.size else float("nan")
