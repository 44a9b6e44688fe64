"""The published loop on one network, recorded once: what it reaches for as many CPU seconds as it takes to the end.

VGG6 on Fashion-MNIST, two rounds of up to three of the worst operators together, each of the 10 x 20 candidates
fine-tuned for a few steps. What comes out is then trained like every other arm. Beside it stands our design at the ms
that it measured, whatever those are.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from bench import Arm, Bench, measured
from gos_arms import ARMS
from gos_cases import BOTH, VGG6, Cases
from gos_tuned import rate_of
from harness import Rows, Target, at_least

from chipfit.core.errors import Infeasible, OutOfTime
from chipfit.core.graph import Graph
from chipfit.evaluate.as_published import Clock, rounds
from chipfit.evaluate.slowest import slowest

ROUNDS, MOST_CPU_S = 2, 3600.0
KEY = f"{VGG6.name}/published"


def published(cases: Cases) -> None:
    """The rows of the loop, and of our designs with and without programs at its ms."""
    bench = cases.bench(VGG6)
    if bench is None:
        return
    if f"{KEY}/loop/0" not in cases.rows.rows:
        _loop(bench)
    ms = cases.rows.rows[f"{KEY}/loop/0"]["ms"]
    for arm in ("without", "programs"):
        key = f"{KEY}/{arm}/0"
        if key not in cases.rows.rows:
            try:
                network = ARMS[arm](bench, cases.whole(VGG6), BOTH, ms)
            except (Infeasible, OutOfTime) as e:
                cases.rows.get(key, lambda e=e: {"note": str(e)})
                continue
            measured(bench, [Arm(key, network, 0, bench.steps, rate_of(network))], VGG6.model)


def _loop(bench: Bench) -> None:
    began = time.process_time()
    entry = bench.entries[VGG6.model]
    clock = Clock(lambda graph: bench.timing.graphs([graph], "quick")[0].value, lambda graph: _operators(bench, graph))
    done = lambda: time.process_time() - began > MOST_CPU_S  # noqa: E731
    found = rounds(entry.network, bench.dataset, clock, 0, most=ROUNDS, done=done)
    told = [{"layers": list(r.layers), "program": r.program.text, "looked_at": r.looked_at} for r in found]
    about: dict[str, Any] = {"rounds": told, "search_cpu_s": time.process_time() - began}
    bench.rows.get(f"{KEY}/search/0", lambda: about)
    measured(bench, [Arm(f"{KEY}/loop/0", found[-1].network, 0, bench.steps, rate_of(found[-1].network))], VGG6.model)


def _operators(bench: Bench, graph: Graph) -> Mapping[str, float]:
    return {row.op: row.ms for row in slowest(graph, bench.timing) if row.ms is not None}


def published_targets(rows: Rows) -> list[Target]:
    """Ours, the better of both menus, less the published loop at its ms, in points."""
    loop = rows.rows.get(f"{KEY}/loop/0", {})
    designs = [rows.rows.get(f"{KEY}/{arm}/0", {}) for arm in ("without", "programs")]
    ours = [row["accuracy"] for row in designs if "accuracy" in row]
    gain = 100 * (max(ours) - loop["accuracy"]) if ours and loop else None
    return [at_least("gain_published", gain, 0.0)]
