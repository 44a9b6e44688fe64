"""Cold start: NSGA-II over the space that our final came from, every candidate trained from random weights.

The search is told the right family and its whole menu (widths, depth, precision, on accelerators what may be done to
weights too) and the same budget; a candidate is trained with the same teacher until its validation accuracy stops
rising. It ends when a candidate validates as well as our final did, or at the cap of CPU seconds.

Each round of candidates is written down as it ends. A search that was cut off is led through what it was told before,
without training anything anew, and goes on; its CPU seconds are those of all its rounds.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bench import Bench, cpu_seconds, fresh

from chipfit.core.graph import Graph, Network
from chipfit.core.types import Candidate, Limit, Measurement, Trial
from chipfit.nets.build import build
from chipfit.recipes.steps import batch_of
from chipfit.search.nsga2 import Nsga2
from chipfit.space import edits as on_graph
from chipfit.space.choices import MenuSpace
from chipfit.space.menu import Menu
from chipfit.train.jobs import Job, run_jobs
from chipfit.train.loop import Schedule, Views, accuracy

POPULATION = 12
ROUND_EPOCHS = 3
"""Epochs of one complete schedule; a candidate gets another round as long as the last one gained."""

MOST_ROUNDS = 4
GAINED = 0.002
"""Validation accuracy that a round must gain for another one."""

Round = dict[str, Any]
"""What came of candidates that were asked for together: `ms` and `scores` of each (None: too slow), `cpu_s`."""


def cold_start(
    bench: Bench, teacher: str, ours: dict[str, Any], cap_s: float, seed: int = 0, menu: Menu | None = None
) -> dict[str, Any]:
    """CPU seconds until a candidate is as good as ours (a row of ours), or that `cap_s` were not enough.

    `menu`: what may vary; by default what the opened model offers.
    """
    graph = bench.entries[ours["model"]].network.graph
    space = MenuSpace(menu or bench.start(ours["model"]).menu)
    views, limit = bench.teacher(teacher), Limit("latency_ms", ours["budget_ms"])
    search = Nsga2(space, [("accuracy", True)], np.random.default_rng(seed), [limit], POPULATION)
    journal = bench.rows.path.parent / "runs" / f"cold {bench.name} {seed} within {limit.value:.6g}.jsonl"
    if bench.rows.full:
        journal.unlink(missing_ok=True)
    before: list[Round] = _read(journal)
    known: list[Round] = []
    while not _ended(known, cap_s, ours["validation"]):
        if not (asked := search.ask(POPULATION // 2)):
            break
        if len(known) < len(before):
            known.append(before[len(known)])
        else:
            graphs = [on_graph.apply(graph, space.menu.edits(space.assignment(c))) for c in asked]
            known.append(_round(bench, views, graphs, limit, seed + sum(map(_tried, known))))
            _write(journal, known[-1])
            _tell(known, ours["validation"])
        told = zip(asked, known[-1]["ms"], known[-1]["scores"], strict=True)
        search.tell([_trial(candidate, ms, score) for candidate, ms, score in told])
    used, best = sum(r["cpu_s"] for r in known), max(map(_best, known), default=0.0)
    return {
        "ratio": used / ours["cpu_s"], "reached": best >= ours["validation"], "cpu_s": used,
        "ours_cpu_s": ours["cpu_s"], "trained": sum(map(_tried, known)), "best_validation": best,
        "ours_validation": ours["validation"], "wall_s": sum(r["wall_s"] for r in known), "seed": seed,
    }  # fmt: skip


def _ended(known: Sequence[Round], cap_s: float, validation: float) -> bool:
    return sum(r["cpu_s"] for r in known) >= cap_s or any(_best(r) >= validation for r in known)


def _round(bench: Bench, views: Views, graphs: Sequence[Graph], limit: Limit, seed: int) -> Round:
    """Candidates timed, and those within the budget trained: what is beyond it loses anyway."""
    began, wall = cpu_seconds(), time.time()
    ms = [m.value for m in bench.timing.graphs(graphs, "quick")]
    fitting = [n for n, value in enumerate(ms) if limit.met(value)]
    networks = {n: fresh(graphs[n], seed + i) for i, n in enumerate(fitting)}
    scores = _trained(bench, views, networks, seed) if networks else {}
    told = [scores.get(n) for n in range(len(graphs))]
    return {"ms": ms, "scores": told, "cpu_s": cpu_seconds() - began, "wall_s": time.time() - wall}


def _tried(one: Round) -> int:
    return sum(score is not None for score in one["scores"])


def _best(one: Round) -> float:
    return max((score for score in one["scores"] if score is not None), default=0.0)


def _tell(known: Sequence[Round], validation: float) -> None:
    used, tried, best = sum(r["cpu_s"] for r in known), sum(map(_tried, known)), max(map(_best, known))
    print(f"    cold: {used:.0f} CPU s, {tried} trained, best {best:.4f} of {validation:.4f}", flush=True)


def _read(journal: Path) -> list[Round]:
    return [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []


def _write(journal: Path, one: Round) -> None:
    journal.parent.mkdir(parents=True, exist_ok=True)
    with journal.open("a") as f:
        f.write(json.dumps(one) + "\n")


def _trial(candidate: Candidate, ms: float, accuracy: float | None) -> Trial:
    values = {"latency_ms": ms, "accuracy": accuracy or 0.0}
    return Trial(candidate, tuple(Measurement(m, x, "measured") for m, x in values.items()))


def _trained(bench: Bench, views: Views, networks: dict[int, Network], seed: int) -> dict[int, float]:
    """Validation accuracy of each after as many complete schedules as gained something."""
    steps = ROUND_EPOCHS * (len(bench.dataset.train) // batch_of(len(bench.dataset.train)))
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
