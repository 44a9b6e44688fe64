"""The published latency tables, and how a predictor is scored on them: shared by the benchmarks of predictors."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr

from chipfit.evaluate.latency.base import Few, Networks, Prediction, Tables
from chipfit.evaluate.latency.encode import genes

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "latency"

SETS = ("ND", "NA", "N1", "N2", "N3", "N4", "FD", "FA", "F1", "F2", "F3", "F4")

FLOOR_MS = 0.05
"""Cells without a path from input to output take microseconds on two devices."""

Sampler = Callable[[Networks, int, np.random.Generator], NDArray[np.int64]]
Fit = Callable[[Few, np.random.Generator], Callable[[Networks], Prediction]]


@dataclass(frozen=True)
class Space:
    """All networks of a space and their values, (n, devices), NaN where not measured."""

    networks: Networks
    devices: tuple[str, ...]
    values: NDArray[np.float64]

    def tables(self, devices: Sequence[str], metric: str = "latency_ms") -> Tables:
        """What is known of these devices."""
        return Tables(self.networks, tuple(devices), self.values[:, [self.devices.index(d) for d in devices]], metric)


@dataclass(frozen=True)
class Task:
    """A set of devices: predict the targets from the sources."""

    name: str
    space: Space
    sources: tuple[str, ...]
    targets: tuple[str, ...]


@cache
def nb201() -> Space:
    """NAS-Bench-201 (Dong and Yang 2020): cells of six edges, 5 to a stage of 16, 32 and 64 channels."""
    data = np.load(DATA / "nb201.npz")
    one = sum(5 * width**2 * side**2 for width, side in ((16, 32), (32, 16), (64, 8)))
    macs = np.tile(np.array([0, 0, one, 9 * one, 0], float), (6, 1))
    operators = ["none" if o == "none" else str(o) for o in data["op_names"]]
    names = [str(i) for i in range(len(data["arch_ops"]))]
    networks = genes(
        names, data["arch_ops"], operators, edges=data["edges"].astype(int), costs={"MACs": (macs, 7.78e6)}
    )
    return Space(
        networks, tuple(map(str, data["device_names"])), np.maximum(data["latency_ms"], FLOOR_MS).astype(float)
    )


FBNET = ((16, 1, 1), (24, 4, 1), (32, 4, 2), (64, 4, 2), (112, 4, 1), (184, 4, 2), (352, 1, 1))
"""Channels, layers and first stride of each stage, on 32x32 pictures after a stem of 16 channels."""

BLOCKS = ((3, 1, 1), (3, 1, 2), (3, 3, 1), (3, 6, 1), (5, 1, 1), (5, 1, 2), (5, 3, 1), (5, 6, 1))
"""Kernel, expansion and groups of the blocks; a ninth choice is to skip."""


@cache
def fbnet() -> Space:
    """FBNet (Wu et al. 2019): 22 layers of nine choices."""
    data = np.load(DATA / "fbnet.npz")
    rows, stages, before, side = [], [], 16, 32
    for stage, (width, layers, first) in enumerate(FBNET):
        for layer in range(layers):
            after = side // (first if layer == 0 else 1)
            rows.append([*(_block(before, width, side, after, *b) for b in BLOCKS), _skip(before, width, side, after)])
            stages.append(stage)
            before, side = width, after
    table = np.array(rows, float)
    fixed = {"MACs": 9e6, "parameters": 7e5, "activations": 1e5, "operators": 4.0}  # stem and head
    costs = {name: (table[:, :, i], f) for i, (name, f) in enumerate(fixed.items())}
    operators = [str(o) for o in data["op_names"]]
    names = [str(i) for i in range(len(data["arch_ops"]))]
    networks = genes(names, data["arch_ops"], operators, stages=stages, costs=costs)
    return Space(
        networks, tuple(map(str, data["device_names"])), np.maximum(data["latency_ms"], FLOOR_MS).astype(float)
    )


def _block(c: int, width: int, side: int, after: int, kernel: int, expansion: int, groups: int) -> tuple[float, ...]:
    """MACs, parameters, activations and operators of expansion, depth-wise convolution and projection."""
    inner, big, small = c * expansion, side**2, after**2
    ends = (c * big + width * small) * inner // groups
    weights = (c + width) * inner // groups + inner * kernel**2
    return (
        ends + inner * kernel**2 * small,
        weights,
        (c + 2 * inner) * big + (2 * inner + width) * small,
        3 + (groups > 1),
    )


def _skip(c: int, width: int, side: int, after: int) -> tuple[float, ...]:
    """Nothing, or a convolution where the shape changes."""
    if c == width and side == after:
        return 0.0, 0.0, 0.0, 0.0
    return c * width * after**2, c * width, c * side**2 + width * after**2, 1.0


@cache
def tasks() -> dict[str, Task]:
    """The twelve sets."""
    lists = json.loads((DATA / "device_sets.json").read_text())
    where = {"N": ("nb201", nb201), "F": ("fbnet", fbnet)}
    found = {}
    for name in SETS:
        key, space = where[name[0]]
        found[name] = Task(name, space(), tuple(lists[key][name]["train"]), tuple(lists[key][name]["test"]))
    return found


def held_out(task: Task, limit: float = 0.85) -> Iterator[Task]:
    """Each source as a target of those sources that do not rank networks as it does: no target is ever read."""
    for device in task.sources:
        truth = task.space.tables([device]).values[:, 0]
        others = []
        for other in task.sources:
            column = task.space.tables([other]).values[:, 0]
            if other != device and spearmanr(truth, column, nan_policy="omit").statistic <= limit:
                others.append(other)
        if len(others) > 1:
            yield Task(f"{task.name}-{device}", task.space, tuple(others), (device,))


def score(
    space: Space, device: str, sampler: Sampler, fit: Fit, n: int, seed: int, most: int = 10**9
) -> dict[str, Any]:
    """Fits to n samples of a device and scores all other networks that it has a value of (at most `most` of them)."""
    rng = np.random.default_rng(seed)
    truth = space.tables([device]).values[:, 0]
    rows = np.flatnonzero(np.isfinite(truth))
    few = rows[sampler(space.networks if len(rows) == len(truth) else space.networks.take(rows), n, rng)]
    start = time.process_time()
    predict = fit(Few(space.networks.take(few), truth[few]), rng)
    told = predict(space.networks)
    seconds = time.process_time() - start
    rest = np.setdiff1d(rows, few)[:: max(1, len(rows) // most)]
    true, value, low, high = truth[rest], told.values[rest], told.low[rest], told.high[rest]
    error = np.abs(value / true - 1)
    return {
        "rho": float(spearmanr(value, true).statistic), "tau": float(kendalltau(value, true).statistic),
        "mdape": float(np.median(error)), "p90": float(np.quantile(error, 0.9)), "within": float((error < 0.1).mean()),
        "coverage": float(((low <= true) & (true <= high)).mean()),
        "width": float(np.median((high - low) / value / 2)), "seconds": seconds,
    }  # fmt: skip
