"""The most accurate network under a latency limit on a new device, from 25 timings there, every pick measured.

    python benchmarks/nas_under_limit.py [--quick] [--here] [--json] [--full]

NAS-Bench-201, CIFAR-100, test accuracy after 200 epochs; accuracies are taken as known, as in the published protocol
(HELP, Lee et al. 2021; NASFLAT, Akhauri and Abdelfattah 2024). Five devices at HELP's 15 limits, sources those of its
set ND, on the 500 candidates of MetaD2A that the published searches walk, and on the whole space. The gap is always to
the best of the whole space within the limit, found by brute force. No pick of ours is returned unmeasured; published
picks are. How ours divides its timings was chosen on the sources (tune_nas_under_limit.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
from harness import Rows, Target, arguments, at_most, finish, table
from latency_sets import DATA, Space, tasks
from numpy.typing import NDArray

from chipfit.evaluate.latency.base import Few, Networks, Prepared
from chipfit.evaluate.latency.few_shot import FewShot, ReadyFewShot
from chipfit.evaluate.latency.samplers import at_random
from chipfit.evaluate.latency.surrogate import BestSource
from chipfit.evaluate.latency.under_limit import best_under_limit
from chipfit.search.under_limit import under_limit

LIMITS: Mapping[str, tuple[float, float, float]] = {
    "titan_rtx_256": (18, 21, 25), "gold_6226": (8, 11, 14), "pixel2": (14, 18, 22), "eyeriss": (5, 7, 9),
    "fpga": (4, 5, 6),
}  # fmt: skip
"""HELP's limits, ms."""

HELP: Mapping[str, Sequence[tuple[float, float]]] = {
    "titan_rtx_256": ((17.8, 69.7), (18.9, 71.5), (24.2, 71.8)),
    "gold_6226": ((8.0, 67.3), (10.7, 70.2), (14.3, 72.1)),
    "pixel2": ((13.0, 69.7), (19.0, 71.8), (25.0, 73.2)),
    "eyeriss": ((3.9, 71.5), (5.1, 71.8), (9.1, 73.5)),
    "fpga": ((3.8, 70.2), (4.7, 71.8), (7.4, 73.5)),
}
"""What HELP's README prints at these limits: latency in ms and accuracy in % of its pick."""

BRP_NAS: Mapping[str, Sequence[tuple[float, float]]] = {
    "titan_rtx_256": ((19, 71.5), (21, 67.0), (23, 70.7)),
    "gold_6226": ((8.7, 68.2), (9.5, 66.9), (17.0, 73.5)),
    "pixel2": ((14, 66.9), (34, 73.5), (34, 73.5)),
    "eyeriss": ((4.7, 71.7), (9.1, 73.5), (9.1, 73.5)),
    "fpga": ((7.2, 73.4), (7.4, 73.5), (7.4, 73.5)),
}
"""BRP-NAS as HELP's authors publish it, from 900 timings; their limits are others, so only the points compare."""

BUDGET, SAMPLES, SEEDS = 25, 20, 5

NOTHING = 1.0
"""Accuracy in % where no measured network holds the limit: one of 100 classes, guessed."""

CANDIDATES, WHOLE = "500", "all"

OURS, UNCHECKED, NEAREST, NEAREST_CHECKED, RANDOM = (
    "ours", "ours, unchecked", "best source, unchecked", "best source, checked", "random",
)  # fmt: skip

Measure = Callable[[int], float]
Search = Callable[[Networks, NDArray[np.float64], Measure, float, np.random.Generator], int | None]


@cache
def accuracy() -> NDArray[np.float64]:
    """(15625,) CIFAR-100 test accuracy in %."""
    data = np.load(DATA / "nb201.npz")
    return np.asarray(data["test_acc_200ep"][:, list(data["acc_datasets"]).index("cifar100")], np.float64)


@cache
def proposed() -> NDArray[np.int64]:
    """Rows of MetaD2A's 500 candidates, in the order of proposal."""
    data = np.load(DATA / "nb201.npz")
    operators = [str(o) for o in data["op_names"]]
    place = {tuple(codes): row for row, codes in enumerate(data["arch_ops"].tolist())}
    rows = []
    for line in (DATA / "arch_generated_by_metad2a.txt").read_text().splitlines()[1:]:
        edges = [edge for edge in line.split(",")[0].replace("+", "").split("|") if edge]
        rows.append(place[tuple(operators.index(edge.partition("~")[0]) for edge in edges)])
    return np.array(rows)


def pool(name: str) -> NDArray[np.int64]:
    """Rows of the space that may be picked."""
    return proposed() if name == CANDIDATES else np.arange(len(accuracy()))


def latency(space: Space, device: str) -> NDArray[np.float64]:
    """(15625,) ms."""
    return space.tables([device]).values[:, 0]


def optimum(values: NDArray[np.float64], limit: float, rows: NDArray[np.int64]) -> int:
    """The most accurate of some rows that holds the limit."""
    holding = rows[values[rows] <= limit]
    return int(holding[np.argmax(accuracy()[holding])])


def first_three(values: NDArray[np.float64], limit: float) -> float:
    """Accuracy of the published rule (the best of the first three candidates that hold) with true latencies."""
    rows = proposed()
    return float(accuracy()[rows[values[rows] <= limit][:3]].max())


def ours(ready: ReadyFewShot) -> Search:
    """A design, then picks, each checked."""
    return lambda networks, quality, measure, limit, rng: (
        best_under_limit(ready, networks, quality, measure, limit, BUDGET, rng).row
    )


def unchecked(choose: Callable[..., NDArray[np.int64]], fit: Callable[..., Any], samples: int) -> Search:
    """As published: samples, a fit, and the most accurate network that is foretold to hold the limit."""

    def search(
        networks: Networks, quality: NDArray[np.float64], measure: Measure, limit: float, rng: np.random.Generator
    ) -> int | None:
        rows = choose(networks, samples, rng)
        told = fit(Few(networks.take(rows), np.array([measure(int(r)) for r in rows])), rng)(networks)
        holding = np.flatnonzero(told <= limit)
        return int(holding[np.argmax(quality[holding])]) if len(holding) else None

    return search


def line_of(prepared: Prepared) -> Callable[..., Any]:
    """Predictions in ms."""
    return lambda few, rng: lambda networks: np.exp(prepared.fit(few, rng).predict(networks))


def checked(prepared: Prepared) -> Search:
    """Samples at random; then the most accurate network that is foretold to hold the limit is measured, five times."""

    def search(
        networks: Networks, quality: NDArray[np.float64], measure: Measure, limit: float, rng: np.random.Generator
    ) -> int | None:
        def chance(rows: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
            told = line_of(prepared)(Few(networks.take(rows), values), rng)(networks)
            return (told <= limit).astype(float)

        first = at_random(networks, SAMPLES, rng)
        return under_limit(quality, measure, limit, chance, first=first, budget=BUDGET).row

    return search


def at_random_alone(
    networks: Networks, quality: NDArray[np.float64], measure: Measure, limit: float, rng: np.random.Generator
) -> int | None:
    """The best that holds of as many networks, measured at random."""
    rows = at_random(networks, BUDGET, rng)
    holding = [int(r) for r in rows if measure(int(r)) <= limit]
    return max(holding, key=lambda r: quality[r], default=None)


def searches(space: Space, sources: Sequence[str]) -> tuple[dict[str, Search], float]:
    """By name, and the CPU seconds that learning from the sources took."""
    tables = space.tables(sources)
    start = time.process_time()
    ready = FewShot().prepare(tables, np.random.default_rng(0))
    seconds = time.process_time() - start
    nearest = BestSource().prepare(tables, np.random.default_rng(0))
    predicted = lambda few, rng: lambda networks: ready.fit(few, rng).predict(networks).values  # noqa: E731
    found = {
        OURS: ours(ready), UNCHECKED: unchecked(ready.choose, predicted, BUDGET),
        NEAREST: unchecked(at_random, line_of(nearest), SAMPLES), NEAREST_CHECKED: checked(nearest),
        RANDOM: at_random_alone,
    }  # fmt: skip
    return found, seconds


def row(
    space: Space, search: Search, device: str, limits: Sequence[float], candidates: str, seed: int, prepare: float
) -> dict[str, Any]:
    """A search at each limit of a device, each from nothing; lists in the order of the limits."""
    values, rows = latency(space, device), pool(candidates)
    networks, quality = space.networks.take(rows), accuracy()[rows]
    found: list[dict[str, Any]] = []
    for limit in limits:
        measured: list[int] = []

        def measure(i: int, measured: list[int] = measured) -> float:
            measured.append(i)
            return float(values[rows[i]])

        start = time.process_time()
        pick = search(networks, quality, measure, limit, np.random.default_rng(seed))
        seconds = time.process_time() - start
        reached = NOTHING if pick is None else float(quality[pick])
        found.append({
            "limit": limit, "row": None if pick is None else int(rows[pick]), "accuracy": reached,
            "gap": float(accuracy()[optimum(values, limit, pool(WHOLE))]) - reached,
            "ms": None if pick is None else float(values[rows[pick]]),
            "over": pick is not None and bool(values[rows[pick]] > limit), "timings": len(measured), "seconds": seconds,
        })  # fmt: skip
    return {"device": device, "prepare_seconds": prepare, **{k: [f[k] for f in found] for k in found[0]}}


def take(rows: Rows, pools: Sequence[str], seeds: int) -> None:
    """Measures what is missing."""
    task = tasks()["ND"]
    found, prepare = searches(task.space, task.sources)
    for candidates in pools:
        for name, search in found.items():
            for device, limits in LIMITS.items():
                for seed in range(seeds):
                    make = partial(row, task.space, search, device, limits, candidates, seed, prepare)
                    rows.get(f"{candidates}/{name}/{device}/{seed}", make)


def cells(rows: Rows, candidates: str, method: str, key: str, device: str = "") -> NDArray[np.float64]:
    """(rows, limits) of one score."""
    prefix = f"{candidates}/{method}/{device}"
    return np.array([r[key] for k, r in sorted(rows.rows.items()) if k.startswith(prefix)], float)


def show(rows: Rows, pools: Sequence[str]) -> None:
    """Every limit beside the published points, then every method's means."""
    space = tasks()["ND"].space
    lines: list[Sequence[Any]] = []
    for device, limits in LIMITS.items():
        values = latency(space, device)
        for i, limit in enumerate(limits):
            best = [float(accuracy()[optimum(values, limit, pool(p))]) for p in (WHOLE, CANDIDATES)]
            reached = [f"{cells(rows, p, OURS, 'accuracy', device + '/')[:, i].mean():.2f}" for p in pools]
            (ms, percent), brp = HELP[device][i], BRP_NAS[device][i]
            lines.append((
                device, f"{limit:g}", f"{best[0]:.2f}", f"{best[1]:.2f}", f"{first_three(values, limit):.2f}", *reached,
                f"{percent} at {ms:g}" + (" OVER" if ms > limit else ""), f"{brp[1]} at {brp[0]:g}",
            ))  # fmt: skip
    print("Accuracy in %, ours the mean over seeds; latencies in ms. BRP-NAS's points have other limits.\n")
    names = [f"ours, {p}" for p in pools]
    heads = ("best of all", "best of 500", "first 3 of 500 that hold")
    table(["device", "limit", *heads, *names, "HELP (README)", "BRP-NAS (by HELP)"], lines)
    print(f"\nHELP: {_published(space, HELP)}; BRP-NAS: {_published(space, BRP_NAS)}.\n")
    lines = []
    for p in pools:
        for method in (OURS, UNCHECKED, NEAREST_CHECKED, NEAREST, RANDOM):
            gap, over = cells(rows, p, method, "gap"), cells(rows, p, method, "over")
            kept = gap[over == 0]
            lines.append((
                p, method, f"{kept.mean():.3f}", f"{kept.max():.2f}", f"{100 * over.mean():.0f} %",
                *(f"{summary(cells(rows, p, method, 'timings')):.4g}" for summary in (np.mean, np.max)),
                f"{cells(rows, p, method, 'seconds').mean():.2f}",
            ))  # fmt: skip
    print("Gap in points to the best of the whole space within the limit, over the picks that hold it:\n")
    table(["candidates", "method", "gap", "largest", "over the limit", "timings", "most", "CPU s"], lines)


def _published(space: Space, points: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """How far published points lie below the best at their own latency (printed to 0.1 ms; not at the limit)."""
    gaps = [
        float(accuracy()[optimum(latency(space, device), ms + 0.05, pool(WHOLE))]) - percent
        for device, pairs in points.items()
        for ms, percent in pairs
    ]
    return f"{np.mean(gaps):.2f} points (at most {max(gaps):.2f}) below the best at the latency of each of its picks"


def targets(rows: Rows, pools: Sequence[str]) -> list[Target]:
    """What is promised; the gap over both lists of candidates."""
    of = lambda key: np.concatenate([cells(rows, p, OURS, key).ravel() for p in pools])  # noqa: E731
    return [
        at_most("gap", float(of("gap").mean()), 0.5),
        at_most("timings", float(of("timings").max()), BUDGET),
        at_most("over_limit", float(of("over").sum()), 0),
    ]


def main() -> None:
    """Runs what is asked for, prints tables and targets."""
    options = arguments(__doc__ or "")
    pools, seeds = options.pick(quick=((CANDIDATES,), 1), here=((CANDIDATES,), 2), whole=((CANDIDATES, WHOLE), SEEDS))
    rows = options.rows("nas_under_limit")
    take(rows, pools, seeds)
    show(rows, pools)
    finish("nas_under_limit", rows, targets(rows, pools), options)


if __name__ == "__main__":
    main()
