"""How a search under a limit divides its timings, chosen with the sources of set ND alone.

    python benchmarks/tune_nas_under_limit.py [--quick] [--here] [--json] [--full]

Each source in turn plays the new device; sources that rank networks as it does (Spearman above .85) are withheld. Its
limits are quantiles of its own latencies of MetaD2A's 500 candidates. No target of nas_under_limit.py is read. A budget
of 15 tells the variants apart where 25 leaves hardly a gap.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from harness import arguments, finish, table
from latency_sets import held_out, tasks
from nas_under_limit import CANDIDATES, NOTHING, WHOLE, accuracy, latency, optimum, pool

from chipfit.evaluate.latency.few_shot import FewShot
from chipfit.evaluate.latency.under_limit import best_under_limit

QUANTILES = (0.05, 0.2, 0.5)
"""Limits; HELP's hold for 4 to 92 % of the candidates."""

VARIANTS: Mapping[str, int] = {"6 first": 6, "10 first": 10, "15 first": 15, "20 first": 20}
"""Measurements before the limit plays a part."""

BUDGETS = (15, 25)


def row(variant: str, budget: int, candidates: str) -> dict[str, Any]:
    """Gaps over sources and limits, to the best of the same candidates."""
    rows, gaps, timings = pool(candidates), [], []
    for task in held_out(tasks()["ND"]):
        ready = FewShot().prepare(task.space.tables(task.sources), np.random.default_rng(0))
        networks, quality = task.space.networks.take(rows), accuracy()[rows]
        values = latency(task.space, task.targets[0])
        for share in QUANTILES:
            limit, rng = float(np.quantile(values[pool(CANDIDATES)], share)), np.random.default_rng(0)
            measure = lambda i, values=values: float(values[rows[i]])  # noqa: E731
            found = best_under_limit(ready, networks, quality, measure, limit, budget, rng, first=VARIANTS[variant])
            reached = NOTHING if found.row is None else quality[found.row]
            gaps.append(float(accuracy()[optimum(values, limit, rows)] - reached))
            timings.append(len(found.rows))
    return {"gap": float(np.mean(gaps)), "largest": max(gaps), "timings": float(np.mean(timings))}


def main() -> None:
    """Runs what is missing, prints a line for each variant."""
    options = arguments(__doc__ or "")
    variants = options.pick(quick=("10 first",), here=tuple(VARIANTS)[:3], whole=tuple(VARIANTS))
    small = ((CANDIDATES,), (25,))
    pools, budgets = options.pick(quick=small, here=small, whole=((CANDIDATES, WHOLE), BUDGETS))
    rows = options.rows("tune_nas_under_limit")
    lines = []
    for v in variants:
        for budget in (b for b in budgets if VARIANTS[v] < b):
            found = [rows.get(f"{p}/{v}/{budget}", partial(row, v, budget, p)) for p in pools]
            each = [f"{r['gap']:.3f} (at most {r['largest']:.2f})" for r in found]
            lines.append((v, budget, *each, f"{np.mean([r['timings'] for r in found]):.1f}"))
    print()
    table(["variant", "budget", *(f"gap, {p}" for p in pools), "timings"], lines)
    finish("tune_nas_under_limit", rows, [], options)


if __name__ == "__main__":
    main()
