"""Cold start: NSGA-II over the space that our final came from, every candidate trained from random weights.

The search is told the right family and its whole menu (widths, depth, precision) and the same budget; a candidate is
trained with the same teacher until its validation accuracy stops rising. It ends when a candidate validates as well
as our final did, or at the cap of CPU seconds.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from bench import Bench, cpu_seconds, fresh

from chipfit.core.graph import Graph, Network
from chipfit.core.types import Candidate, Limit, Measurement, Trial
from chipfit.nets.build import build
from chipfit.recipes.steps import BATCH
from chipfit.search.nsga2 import Nsga2
from chipfit.space import edits as on_graph
from chipfit.space.choices import MenuSpace
from chipfit.train.jobs import Job, run_jobs
from chipfit.train.loop import Schedule, Views, accuracy

POPULATION = 12
ROUND_EPOCHS = 3
"""Epochs of one complete schedule; a candidate gets another round as long as the last one gained."""

MOST_ASKED = 20
"""Times that candidates are asked for until enough of them are within the budget."""

MOST_ROUNDS = 4
GAINED = 0.002
"""Validation accuracy that a round must gain for another one."""


def cold_start(bench: Bench, teacher: str, ours: dict[str, Any], cap_s: float, seed: int = 0) -> dict[str, Any]:
    """CPU seconds until a candidate is as good as ours (a row of ours), or that `cap_s` were not enough."""
    start = bench.start(ours["model"])
    views = bench.teacher(teacher)
    began, wall = cpu_seconds(), time.time()
    space = MenuSpace(start.menu)
    limit = Limit("latency_ms", ours["budget_ms"])
    search = Nsga2(space, [("accuracy", True)], np.random.default_rng(seed), [limit], POPULATION)
    best, tried, reached = 0.0, 0, False
    graph = start.entry.network.graph
    while cpu_seconds() - began < cap_s and not reached:
        fitting: list[tuple[Candidate, Graph, float]] = []
        for _ in range(MOST_ASKED):  # what is beyond the budget is told at once and not trained: it loses anyway
            asked = search.ask(POPULATION // 2)
            graphs = [on_graph.apply(graph, start.menu.edits(space.assignment(c))) for c in asked]
            ms = [m.value for m in bench.timing.graphs(graphs, "quick")]
            fitting += [(c, g, v) for c, g, v in zip(asked, graphs, ms, strict=True) if limit.met(v)]
            search.tell([_trial(c, v, 0.0) for c, v in zip(asked, ms, strict=True) if not limit.met(v)])
            if len(fitting) >= POPULATION // 2 or not asked:
                break
        scores = _trained(bench, views, {i: fresh(g, seed + tried + i) for i, (_, g, _) in enumerate(fitting)},
                          seed + tried)  # fmt: skip
        search.tell([_trial(c, v, scores[i]) for i, (c, _, v) in enumerate(fitting)])
        best, tried = max([best, *scores.values()]), tried + len(fitting)
        reached = best >= ours["validation"]
        used = cpu_seconds() - began
        print(f"    cold: {used:.0f} CPU s, {tried} trained, best {best:.4f} of {ours['validation']:.4f}", flush=True)
    used = cpu_seconds() - began
    return {
        "ratio": used / ours["cpu_s"], "reached": reached, "cpu_s": used, "ours_cpu_s": ours["cpu_s"], "trained": tried,
        "best_validation": best, "ours_validation": ours["validation"], "wall_s": time.time() - wall, "seed": seed,
    }  # fmt: skip


def _trial(candidate: Candidate, ms: float, accuracy: float) -> Trial:
    values = {"latency_ms": ms, "accuracy": accuracy}
    return Trial(candidate, tuple(Measurement(m, x, "measured") for m, x in values.items()))


def _trained(bench: Bench, views: Views, networks: dict[int, Network], seed: int) -> dict[int, float]:
    """Validation accuracy of each after as many complete schedules as gained something."""
    steps = ROUND_EPOCHS * (len(bench.dataset.train) // BATCH)
    best = dict.fromkeys(networks, 0.0)
    going = dict(networks)
    for number in range(MOST_ROUNDS):
        schedule = Schedule(steps, 0.1 if number == 0 else 0.03)
        jobs = [Job(str(i), n, schedule, seed + 1000 * number + i) for i, n in going.items()]
        going = {}
        for d in run_jobs(jobs, bench.dataset, views):
            i, now = int(d.name), accuracy(build(d.network), bench.dataset, bench.dataset.validation)
            if now >= best[i] + GAINED:
                going[i] = d.network
            best[i] = max(best[i], now)
    return best
