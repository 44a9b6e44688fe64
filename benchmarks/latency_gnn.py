"""The graph neural network on the 12 device sets, 20 random samples a device: what it adds to a committee.

    python benchmarks/latency_gnn.py [--quick] [--json] [--full] [--seeds N]

Pretrained once for each set, on networks drawn from the tables of its source devices; scored on all networks but the
20. The faithful mode runs on N1, N3 and F2 under the same protocol (one transfer, random samples).
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
from harness import RESULTS, Rows, arguments, finish, table
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr

from chipfit.evaluate.latency.base import Few, Networks, Tables
from chipfit.evaluate.latency.cells import chain, nb201
from chipfit.evaluate.latency.gnn_training import Nasflat, Pretrained

DATA = RESULTS.parents[2] / "shared" / "data" / "latency"

SAMPLES, FLOOR_MS = 20, 0.05
"""Networks timed on a new device; times below the floor, of cells without a path, are taken for it."""

FAITHFUL = ("N1", "N3", "F2")


@dataclass(frozen=True)
class Asked:
    """A device set in one of the modes."""

    kind: str
    name: str
    train: Sequence[str]
    test: Sequence[str]
    faithful: bool

    @property
    def mode(self) -> str:
        return "faithful" if self.faithful else "default"


@cache
def space(kind: str) -> Tables:
    """All networks and devices of a published space."""
    data = np.load(DATA / f"{kind}.npz", allow_pickle=False)
    tokens, edges = (nb201 if kind == "nb201" else chain)(data["arch_ops"].astype(np.int64))
    networks = Networks(tuple(map(str, range(len(tokens)))), {}, tokens, edges)
    latency = np.maximum(data["latency_ms"].astype(np.float64), FLOOR_MS)
    return Tables(networks, tuple(map(str, data["device_names"])), latency)


def columns(kind: str, devices: Sequence[str]) -> Tables:
    """The tables of these devices."""
    everything = space(kind)
    values = everything.values[:, [everything.devices.index(d) for d in devices]]
    return replace(everything, devices=tuple(devices), values=values)


PRETRAINED: dict[tuple[str, str], tuple[Pretrained, float]] = {}
"""By set and mode: once for all seeds of the samples."""


def pretrained(a: Asked) -> tuple[Pretrained, float]:
    """The model and the CPU seconds that it took."""
    if (a.name, a.mode) not in PRETRAINED:
        model = Nasflat.published(chains=a.kind == "fbnet") if a.faithful else Nasflat()
        began = time.process_time()
        ready = model.prepare(columns(a.kind, a.train), np.random.default_rng(0))
        PRETRAINED[a.name, a.mode] = ready, time.process_time() - began
    return PRETRAINED[a.name, a.mode]


def row(a: Asked, seed: int) -> dict[str, Any]:
    """One draw of samples on every target of a set."""
    ready, seconds = pretrained(a)
    target = columns(a.kind, a.test)
    each = {d: scores(ready, target.networks, v, seed) for d, v in zip(a.test, target.values.T, strict=True)}
    means = {k: float(np.mean([e[k] for e in each.values()])) for k in each[a.test[0]]}
    return {"set": a.name, "mode": a.mode, "seed": seed, "pretraining_s": seconds, **means, "targets": each}


def scores(ready: Pretrained, networks: Networks, values: NDArray[np.float64], seed: int) -> dict[str, Any]:
    """Fits 20 random networks of one target and predicts the others."""
    rng = np.random.default_rng(seed)
    known = rng.permutation(np.flatnonzero(~np.isnan(values)))
    few, rest = known[:SAMPLES], known[SAMPLES:]
    began = time.process_time()
    fitted = ready.fit(Few(networks.take(few), values[few]), rng)
    fit_s = time.process_time() - began
    told, true = fitted.predict(networks.take(rest)), values[rest]
    return {
        "spearman": float(spearmanr(told, true)[0]),
        "kendall": float(kendalltau(told, true)[0]),
        "mdape": float(np.median(np.abs(np.exp(told) / true - 1))),
        "left_out": float(np.median(np.abs(fitted.left_out - np.log(values[few])))),
        "fit_s": fit_s,
        "predict_s": time.process_time() - began - fit_s,
    }


def main() -> None:
    args = arguments(__doc__ or "")
    if not DATA.is_dir():
        print("../shared/data/latency is absent: nothing to score")
        return
    sets = json.loads((DATA / "device_sets.json").read_text())
    asked = [Asked(kind, name, **of, faithful=False) for kind, named in sets.items() for name, of in named.items()]
    asked += [replace(a, faithful=True) for a in asked if a.name in FAITHFUL]
    rows = Rows("latency_gnn", full=args.full)
    for seed in range(1 if args.quick else args.seeds):
        for a in asked[:1] if args.quick else asked:
            rows.get(f"{a.name}/{a.mode}/{seed}", partial(row, a, seed))
    show(rows)
    finish("latency_gnn", rows, [], as_json=args.json)


def show(rows: Rows) -> None:
    """Means over seeds, and the worst target."""
    lines = []
    for name, mode in dict.fromkeys((r["set"], r["mode"]) for r in rows.rows.values()):
        of = [r for r in rows.rows.values() if (r["set"], r["mode"]) == (name, mode)]
        mean = {
            k: float(np.mean([r[k] for r in of])) for k in ("spearman", "kendall", "mdape", "pretraining_s", "fit_s")
        }
        worst = min((t["spearman"], d) for r in of for d, t in r["targets"].items())
        lines.append((name, mode, len(of), *mean.values(), f"{worst[1]} {worst[0]:.3f}"))
    table(("set", "mode", "seeds", "Spearman", "Kendall", "MdAPE", "pretraining s", "fit s", "worst target"), lines)


if __name__ == "__main__":
    main()
