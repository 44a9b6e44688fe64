"""The designs that compete for one budget: each start's exact optimum, corrected by real scores, and the baselines."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from chipfit.core.deadline import Deadline
from chipfit.core.errors import Infeasible, OutOfTime
from chipfit.core.graph import Network
from chipfit.core.types import Limit
from chipfit.evaluate.design import MARGIN, Design, fitted, lost_work, thrifty, timed
from chipfit.evaluate.screen import Screened, quality
from chipfit.evaluate.start import Start
from chipfit.evaluate.timing import Timing
from chipfit.recipes.settings import Settings, budget_text
from chipfit.search.assign import assign
from chipfit.search.coefficients import search_coefficients
from chipfit.search.uniform import uniform_width
from chipfit.space import edits as on_graph
from chipfit.space.menu import Assignment
from chipfit.store.store import Store

SEARCH_S = 8.0
"""Seconds at most for the searched coefficients of one design: on these menus they seldom beat the plain optimum."""

RIVALS = 3
"""Designs a budget that are trained; which ones, their models' accuracy less the cost of their damage says."""

ROOM = 0.5
"""Nats that all multiply-accumulates count as in rivals that keep work, where starts alone leave fewer than `RIVALS`.

[measured] ResNet20 at 40 % of its int8 latency on OpenVINO, where wide int8 layers cost little more than narrow ones:
25 epochs bring the optimum of .26 nats with 17 % of the work to 93.7 % on validation, one of .23 nats with 28 % of it
to 94.5 %. What a fine-tune can make of a network goes with what there is of it.
"""

WORTH_A_RIVAL = 0.1
"""Nats of damage of a start's optimum from which on another design of it may overtake it."""

COST_OF_DAMAGE = 0.07
"""Accuracy that a design lacks after its fine-tune, for each nat of damage (ResNet20 and VGG6 on Fashion-MNIST)."""

WORTH_CORRECTING = 0.02
"""Nats of damage from which on real scores are worth their seconds."""

METADATA_MB = 1e-3
"""What normalisation, classes and versions add to a file."""

LAST_LOOKS = 3
"""Times that a design is drawn back because its longest timing or its file, which decide, are beyond the budget."""


@dataclass(frozen=True, slots=True)
class Designed:
    """One design for one budget, repaired in closed form and not yet trained; `role` as in the report."""

    name: str
    role: str
    start: Start
    design: Design
    network: Network


@dataclass(frozen=True, slots=True)
class Plan:
    """A budget (absolute limits and their text) and its designs."""

    limits: tuple[Limit, ...]
    text: str
    designs: tuple[Designed, ...]


def plan_budget(
    limits: tuple[Limit, ...],
    starts: Sequence[Start],
    rows: Sequence[Screened],
    timing: Timing,
    settings: Settings,
    store: Store,
    deadline: Deadline,
) -> Plan:
    """The designs of the most promising starts for a budget, and the uniform baseline of the first start.

    Raises:
        Infeasible: neither a start nor an untouched model holds the budget.
    """
    text = budget_text(limits)
    stored = cast(dict[str, Any] | None, store.fact(f"plan:{text}"))
    if stored is None:
        stored = _solved(limits, starts, rows, timing, settings, deadline)
        if not stored["designs"] and not any(r.met(limits) for r in rows):
            nearest = {m: float(v) for m, v in stored["nearest"].items()}
            what = ", ".join(f"{m} {v:.4g}" for m, v in nearest.items())
            raise Infeasible(f"no model can hold {text}: the nearest reaches {what}; relax the limit", nearest)
        store.set_fact(f"plan:{text}", stored)
    by_name = {s.entry.name: s for s in starts}
    designs = []
    for d in stored["designs"]:
        if d["model"] in by_name:
            start, a = by_name[d["model"]], tuple(int(i) for i in d["assignment"])
            design = Design(a, float(d["predicted_ms"]), float(d["measured_ms"]))
            designs.append(Designed(d["name"], d["role"], start, design, start.repaired(a, store)))
    return Plan(limits, text, tuple(designs))


def _solved(
    limits: Sequence[Limit],
    starts: Sequence[Start],
    rows: Sequence[Screened],
    timing: Timing,
    settings: Settings,
    deadline: Deadline,
) -> dict[str, Any]:
    plain: list[tuple[Start, Design]] = []
    nearest: dict[str, float] = {}
    for start in starts:
        try:
            plain.append((start, optimum(start, limits, timing)))
        except Infeasible as e:
            for m, v in e.nearest.items():
                nearest[m] = min(v, nearest.get(m, np.inf))
    score = {r.entry.name: quality(r.trial) for r in rows if r.bits == max(settings.bits)}
    plain.sort(key=lambda sd: COST_OF_DAMAGE * _damage(*sd) - score[sd[0].entry.name])
    found = [
        _plain(f"ours from {start.entry.name}", "candidate", start,
               corrected(start, design, limits, timing, settings.seed, deadline))
        for start, design in plain[:RIVALS]
    ]  # fmt: skip
    if settings.train:
        found += _roomy(plain, RIVALS - len(found), limits, timing, known=[d["assignment"] for d in found])
    if settings.baselines and starts:
        for bits in settings.bits:
            if (baseline := _uniform(starts[0], limits, timing, bits)) is not None:
                found.append(
                    _plain(f"uniform width {'fp32' if bits == 32 else f'int{bits}'}", "baseline", starts[0], baseline)
                )
    return {"designs": _best_uniform(found), "nearest": nearest}


def _plain(name: str, role: str, start: Start, design: Design) -> dict[str, Any]:
    return {
        "name": name, "role": role, "model": start.entry.name, "assignment": list(design.assignment),
        "predicted_ms": design.predicted_ms, "measured_ms": design.measured_ms,
        "damage": start.menu.total("damage", design.assignment),
    }  # fmt: skip


def _roomy(
    plain: Sequence[tuple[Start, Design]],
    most: int,
    limits: Sequence[Limit],
    timing: Timing,
    known: Sequence[list[int]],
) -> list[dict[str, Any]]:
    """Other designs of harmed starts, which trade damage for work that is kept."""
    found: list[dict[str, Any]] = []
    for start, design in plain:
        if len(found) >= most or _damage(start, design) < WORTH_A_RIVAL:
            continue
        harm = [t for t in start.menu.terms if t.metric == "damage"]
        keeping = replace(start, menu=start.menu.priced([*harm, *lost_work(start.menu, ROOM)]))
        with suppress(Infeasible):
            room = optimum(keeping, limits, timing, design.drift)
            rival = _plain(f"ours from {start.entry.name}, roomy", "candidate", start, room)
            if rival["assignment"] not in known:
                found.append(rival)
    return found


def _best_uniform(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of the uniform baselines (one a precision) only the least damaged."""
    uniform = sorted((d for d in found if d["role"] == "baseline"), key=lambda d: d["damage"])
    return [d for d in found if d["role"] != "baseline"] + uniform[:1]


def optimum(start: Start, limits: Sequence[Limit], timing: Timing, drift: float = 1.0) -> Design:
    """The exact optimum that holds the limits as measured, by the longest timing.

    `drift` is what a design of this start was measured to take over what the tables foretold of it.

    Raises:
        Infeasible: no design of this start that was tried holds the limits.
    """
    return _held(start, limits, timing, np.ones(len(start.menu.decisions)), drift)


def corrected(
    start: Start, plain: Design, limits: Sequence[Limit], timing: Timing, seed: int, deadline: Deadline
) -> Design:
    """What coefficients searched against real scores make of the optimum, where more inputs confirm that it is better.

    An optimum that harms next to nothing is left as it is.
    """
    if _damage(start, plain) < WORTH_CORRECTING:
        return plain
    tight = _tighter(limits, 1 / plain.drift)
    try:
        better = search_coefficients(
            thrifty(start.menu), tight, start.true_damage, np.random.default_rng(seed),
            random_rounds=6, patience=4, max_solves=10, deadline=deadline.share(0.05).sooner(SEARCH_S),
            confirm=start.confirmed_damage,
        )  # fmt: skip
        if np.all(better.scale == 1.0):
            return plain
        held = _held(start, limits, timing, better.scale, plain.drift)
    except (Infeasible, OutOfTime):
        return plain
    return min(plain, held, key=lambda d: start.confirmed_damage(d.assignment))


def _damage(start: Start, design: Design) -> float:
    return start.menu.total("damage", design.assignment)


def _held(start: Start, limits: Sequence[Limit], timing: Timing, scale: NDArray[np.float64], drift: float) -> Design:
    """The optimum for these coefficients, drawn back until its longest timing and its file are within the limits.

    One that keeps no margin for another sitting is taken where no other is found.
    """
    menu, graph = start.menu, start.entry.network.graph
    solve, aimed = partial(assign, thrifty(menu), scale=scale), list(limits)
    prefer, error = partial(menu.total, "damage"), start.table_error
    budget_ms = next((limit.value for limit in limits if limit.metric == "latency_ms"), np.inf)
    nearest: dict[str, float] = {}
    close: Design | None = None
    for _ in range(LAST_LOOKS):
        try:
            found = fitted(menu, graph, aimed, timing, solve, prefer, table_error=error, drift=drift)
        except Infeasible:
            if close is None:
                raise
            break
        drift = found.drift
        found = timed(menu, graph, found.assignment, timing, budget_ms * MARGIN)
        size_mb = timing.size_mb(on_graph.apply(graph, menu.edits(found.assignment))) + METADATA_MB
        true = {"latency_ms": found.measured_ms, "size_mb": size_mb}
        missed = {limit.metric: limit for limit in limits if limit.metric in true and not limit.met(true[limit.metric])}
        room = budget_ms * MARGIN / found.measured_ms
        if not missed and room >= 1.0:
            return found
        close = found if close is None and not missed else close
        for m in missed:
            nearest[m] = min(true[m], nearest.get(m, np.inf))
        aimed = _tighter(aimed, room)
        if "size_mb" in missed:  # what a file holds beside weights hardly depends on the design
            weights = missed["size_mb"].value - (true["size_mb"] - menu.total("size_mb", found.assignment))
            aimed = [replace(x, value=weights) if x.metric == "size_mb" else x for x in aimed]
    if close is None:
        raise Infeasible(f"no design within {budget_text(limits)} was found", nearest)
    return close


def _tighter(limits: Sequence[Limit], share: float) -> list[Limit]:
    """The limits with the latency at most this share of what it was."""
    return [
        replace(limit, value=limit.value * min(1.0, share)) if limit.metric == "latency_ms" else limit
        for limit in limits
    ]


def _uniform(start: Start, limits: Sequence[Limit], timing: Timing, bits: int) -> Design | None:
    menu = start.menu

    def solve(scaled: Sequence[Limit]) -> Assignment:
        found = uniform_width(menu, scaled, bits)
        if found is None:
            raise Infeasible("no uniform width holds the budget", {})
        return found

    try:
        prefer = partial(menu.total, "damage")
        return fitted(menu, start.entry.network.graph, limits, timing, solve, prefer, table_error=start.table_error)
    except Infeasible:
        return None
