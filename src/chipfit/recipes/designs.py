"""The designs that compete for one budget: each start's exact optimum, corrected by real scores, and the baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from chipfit.core.deadline import Deadline
from chipfit.core.errors import ChipfitError, Infeasible, OutOfTime
from chipfit.core.graph import Network
from chipfit.core.metric import ACCURACY, Metric
from chipfit.core.types import Limit
from chipfit.evaluate.codesigned import codesigned, grown
from chipfit.evaluate.design import Design, lost_work
from chipfit.evaluate.screen import Screened, worth
from chipfit.evaluate.sizes import Sizes
from chipfit.evaluate.start import Start
from chipfit.evaluate.timing import Latencies
from chipfit.export.formats import plain_numbers
from chipfit.recipes.hardware import on_hardware
from chipfit.recipes.in_haste import in_haste
from chipfit.recipes.optimum import NOTES_MB, corrected, optimum, uniform
from chipfit.recipes.settings import Settings, budget_text
from chipfit.space.programmed import programs_of, without_programs
from chipfit.store.store import Store

REPAIR_S = 5.0
"""Seconds that the first design is repaired for, though the time for it be over: without, it would be worth little."""

RIVALS = 3
"""Designs a budget that are trained; which ones, their models' accuracy less the cost of their damage says."""

ROOM = 0.5
"""Nats that all multiply-accumulates count as in rivals that keep work, where starts alone leave fewer than `RIVALS`.

[measured] ResNet20 at 40 % of its int8 latency on OpenVINO, where wide int8 layers cost little more than narrow ones:
25 epochs bring the optimum of .26 nats with 17 % of the work to 93.7 % on validation, one of .23 nats with 28 % of it
to 94.5 %. What a fine-tune can make of a network goes with what there is of it.
"""

WITH_PROGRAMS = 2
"""Starts whose optimum with programs is a rival, too: the sum of damages overrates programs, so it does not choose."""

WORTH_A_RIVAL = 0.1
"""Nats of damage of a start's optimum from which on another design of it may overtake it."""

COST_OF_DAMAGE = 0.07
"""Accuracy (`Metric.worth`) that a design lacks after its fine-tune, for each nat of damage.

[measured] ResNet20 and VGG6 on Fashion-MNIST.
"""


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
    """A budget (absolute limits and their text), its designs, and the metric by which its answer is chosen.

    `short` says that the time was over before the search had a design: what there is needed none (`in_haste`).
    """

    limits: tuple[Limit, ...]
    text: str
    designs: tuple[Designed, ...]
    metric: Metric = ACCURACY
    short: bool = False


def plan_budget(
    limits: tuple[Limit, ...],
    starts: Sequence[Start],
    rows: Sequence[Screened],
    timing: Latencies,
    settings: Settings,
    store: Store,
    deadline: Deadline,
) -> Plan:
    """The designs of the most promising starts for a budget, and the uniform baseline of the first start.

    Raises:
        Infeasible: neither a start nor an untouched model holds the budget.
        OutOfTime: neither does what could be had in the time.
    """
    text = budget_text(limits)
    stored, short = cast(dict[str, Any] | None, store.fact(plan_fact(text, timing))), False
    if stored is None:
        stored, short = _solved(limits, starts, rows, timing, settings, deadline)
        if not stored["designs"] and not any(r.met(limits) for r in rows):
            raise _nothing(text, stored["nearest"], starts, short)
        if not short:
            store.set_fact(plan_fact(text, timing), stored)
    return Plan(limits, text, tuple(_designed(stored["designs"], starts, store, deadline)), short=short)


def _nothing(text: str, nearest: Mapping[str, Any], starts: Sequence[Start], short: bool) -> ChipfitError:
    """Why a budget has no design, and what to do."""
    if short:
        return OutOfTime(f"the time was too short to find a design within {text}; give a longer --time")
    reached = {m: float(v) for m, v in nearest.items()}
    what = ", ".join(f"{m} {v:.4g}" for m, v in reached.items())
    guessed = any(s.curtailed for s in starts)
    more = ", or give a longer --time: costs were guessed in part for want of it" if guessed else ""
    return Infeasible(f"no model can hold {text}: the nearest reaches {what}; relax the limit{more}", reached)


def _designed(
    rows: Sequence[Mapping[str, Any]], starts: Sequence[Start], store: Store, deadline: Deadline
) -> list[Designed]:
    """Stored designs of models that are here, repaired; one at least, and more until the deadline."""
    by_name = {s.entry.name: s for s in starts}
    made: list[Designed] = []
    for row in rows:
        start = by_name.get(row["model"])
        if start is None:
            continue
        if made and deadline.passed():
            break  # a repair less; what there is goes on
        chosen = tuple(int(i) for i in row["assignment"])
        design = Design(chosen, float(row["predicted_ms"]), float(row["measured_ms"]))
        until = deadline if made else Deadline(max(deadline.at, deadline.clock() + REPAIR_S), deadline.clock)
        made.append(Designed(row["name"], row["role"], start, design, start.repaired(chosen, store, until)))
    return made


def plan_fact(text: str, timing: Latencies) -> str:
    """The fact that holds the designs for a budget."""
    return f"plan:{text}{on_hardware(timing)}"


def _solved(
    limits: Sequence[Limit],
    starts: Sequence[Start],
    rows: Sequence[Screened],
    timing: Latencies,
    settings: Settings,
    deadline: Deadline,
) -> tuple[dict[str, Any], bool]:
    """Designs for a budget, or the least that was reached, as they are stored; True where the time was too short."""
    sizes = {start.entry.name: _sizes(start, limits, rows, timing) for start in starts}
    plain, nearest, short = _optima(starts, limits, timing, sizes, deadline)
    if short and not any(r.met(limits) for r in rows):
        hasty = in_haste(list(map(_as_they_are, starts)), limits, timing, settings.bits, sizes)
        plain = [hasty] if hasty is not None else []
    score = {r.entry.name: worth(r.trial, _metric(starts)) for r in rows if r.bits == max(settings.bits)}
    plain.sort(key=lambda sd: COST_OF_DAMAGE * _damage(*sd) - score[sd[0].entry.name])
    found = [
        _plain(f"ours from {start.entry.name}", "candidate", start,
               corrected(start, design, limits, timing, settings.seed, deadline, sizes[start.entry.name]))
        for start, design in plain[:RIVALS]
    ]  # fmt: skip
    found += _programmed(_most_promising(starts, plain), limits, timing, settings.seed, sizes, deadline)
    if settings.train:
        found += _roomy(
            plain, RIVALS - len(found), limits, timing, sizes, deadline, known=[d["assignment"] for d in found]
        )
        found += _grown(plain[:1], limits, timing)
    if settings.baselines and starts:
        named = plain_numbers(timing.device.format)
        for bits in settings.bits:
            of = sizes[starts[0].entry.name]
            if (baseline := uniform(starts[0], limits, timing, bits, of, deadline)) is not None:
                found.append(
                    _plain(f"uniform width {named if bits == 32 else f'int{bits}'}", "baseline", starts[0], baseline)
                )
    return {"designs": _best_uniform(found), "nearest": nearest}, short


def _optima(
    starts: Sequence[Start],
    limits: Sequence[Limit],
    timing: Latencies,
    sizes: Mapping[str, Sizes],
    deadline: Deadline,
) -> tuple[list[tuple[Start, Design]], dict[str, float], bool]:
    """The optimum of each start, the nearest that is reached, and whether time ran out before there was any optimum."""
    plain: list[tuple[Start, Design]] = []
    nearest: dict[str, float] = {}
    short = False
    for start in map(_as_they_are, starts):
        try:
            plain.append(_best(start, limits, timing, sizes[start.entry.name], deadline))
        except OutOfTime:
            short = True
        except Infeasible as e:
            short = short or deadline.passed()  # with time, what was measured beyond the budget would be drawn back
            for m, v in e.nearest.items():
                nearest[m] = min(v, nearest.get(m, np.inf))
    return plain, nearest, short and not plain


def _as_they_are(start: Start) -> Start:
    """The start with all layers as they are; its designs are designs of the whole menu."""
    return replace(start, menu=without_programs(start.menu)) if programs_of(start.menu) else start


def _most_promising(starts: Sequence[Start], plain: Sequence[tuple[Start, Design]]) -> list[Start]:
    """Starts with programs: those of the best designs without, and before them those that hold nothing without."""
    ranked = [start.entry.name for start, _ in plain]
    places = {name: n for n, name in enumerate(ranked)}
    with_programs = [start for start in starts if programs_of(start.menu)]
    return sorted(with_programs, key=lambda s: places.get(s.entry.name, -1))[:WITH_PROGRAMS]


def _programmed(
    starts: Sequence[Start],
    limits: Sequence[Limit],
    timing: Latencies,
    seed: int,
    sizes: Mapping[str, Sizes],
    deadline: Deadline,
) -> list[dict[str, Any]]:
    """The optima with programs, rivals of those without: what is left of damage after training, it alone tells."""
    found: list[dict[str, Any]] = []
    for start in starts:
        of = sizes[start.entry.name]
        with suppress(Infeasible, OutOfTime):
            plain = optimum(start, limits, timing, sizes=of, deadline=deadline)
            design = corrected(start, plain, limits, timing, seed, deadline, of)
            if any(design.assignment[p.decision] for p in programs_of(start.menu).values()):
                found.append(_plain(f"ours from {start.entry.name}, with programs", "candidate", start, design))
    return found


def _best(
    start: Start, limits: Sequence[Limit], timing: Latencies, sizes: Sizes, deadline: Deadline
) -> tuple[Start, Design]:
    """The exact optimum; where the hardware is a variable too the start is one on the design that was found with it."""
    if start.costs is None or not any(x.metric == "latency_ms" for x in limits):
        return start, optimum(start, limits, timing, sizes=sizes, deadline=deadline)
    found = codesigned(start.menu, start.costs, start.entry.network.graph, limits, timing, sizes, deadline)
    return replace(start, menu=found.menu), found.design


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
    timing: Latencies,
    sizes: Mapping[str, Sizes],
    deadline: Deadline,
    known: Sequence[list[int]],
) -> list[dict[str, Any]]:
    """Other designs of harmed starts, which trade damage for work that is kept."""
    found: list[dict[str, Any]] = []
    for start, design in plain:
        if len(found) >= most or _damage(start, design) < WORTH_A_RIVAL or deadline.passed():
            continue
        harm = [t for t in start.menu.terms if t.metric == "damage"]
        keeping = replace(start, menu=start.menu.priced([*harm, *lost_work(start.menu, ROOM)]))
        with suppress(Infeasible, OutOfTime):
            room = optimum(keeping, limits, timing, design.drift, sizes[start.entry.name], deadline)
            rival = _plain(f"ours from {start.entry.name}, roomy", "candidate", start, room)
            if rival["assignment"] not in known:
                found.append(rival)
    return found


def _metric(starts: Sequence[Start]) -> Metric:
    """What the starts' quality is measured in."""
    return starts[0].task.metric if starts else ACCURACY


def _grown(plain: Sequence[tuple[Start, Design]], limits: Sequence[Limit], timing: Latencies) -> list[dict[str, Any]]:
    """Where the hardware is a variable: the best design with larger kernels in layers whose arithmetic is idle."""
    budget_ms = next((x.value for x in limits if x.metric == "latency_ms"), np.inf)
    found = []
    for start, design in plain:
        if start.costs is not None:
            made = grown(start.menu, start.entry.network.graph, design, timing, budget_ms)
            if made is not None:
                found.append(_plain(f"ours from {start.entry.name}, larger kernels", "candidate", start, made))
    return found


def _best_uniform(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of the uniform baselines (one a precision) only the least damaged."""
    uniform = sorted((d for d in found if d["role"] == "baseline"), key=lambda d: d["damage"])
    return [d for d in found if d["role"] != "baseline"] + uniform[:1]


def _sizes(start: Start, limits: Sequence[Limit], rows: Sequence[Screened], timing: Latencies) -> Sizes:
    """The sizes of a start's files; what notes add to one is read off the model's own file."""
    graph = start.entry.network.graph
    own = next((r for r in rows if r.entry is start.entry and r.trial.error is None), None)
    wanted = any(x.metric == "size_mb" for x in limits)
    notes_mb = own.trial.get("size_mb") - timing.size_mb(own.artifact.graph) if own and wanted else NOTES_MB
    return Sizes(start.menu, graph, timing, max(0.0, notes_mb))


def _damage(start: Start, design: Design) -> float:
    return start.menu.total("damage", design.assignment)
