"""A network without weights on an accelerator: what edits and hardware together would cost, accuracy unknown.

The joint search is that of a fit, with what edits take away in the place of damage: of the network's products, each
counted with the bits of its weights up to 8, the share that is lost by fewer taps, bits, channels and blocks. More than
8 bits count as 8, as int8 networks answer nearly like their originals. It says how much is given up and not what that
harms, which no one knows without weights and data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from chipfit.core.errors import BadInput, Infeasible
from chipfit.core.graph import Graph
from chipfit.core.reference import Reference, Version
from chipfit.core.types import Artifact, Candidate, Limit, Measurement, Plain, Trial
from chipfit.core.words import number_of
from chipfit.device.accelerator.breakdown import LayerTime
from chipfit.device.accelerator.device import Accelerator
from chipfit.device.accelerator.parts import PARTS
from chipfit.device.accelerator.port import Designing
from chipfit.device.accelerator.work import Layer, Work
from chipfit.evaluate.codesigned import LOOKS, drawn_in
from chipfit.evaluate.counts import counted, priced_counts
from chipfit.evaluate.modelled import Costs, costs, summed, widths_on_designs
from chipfit.evaluate.screen import all_int8
from chipfit.export.formats import plain_numbers
from chipfit.nets.zoo import Entry
from chipfit.recipes import hotnas
from chipfit.recipes.hardware import Built, Design, write_designs
from chipfit.recipes.report_facts import decisions_fact, write_device
from chipfit.recipes.settings import Progress, Settings, budget_text
from chipfit.search.codesign import codesign
from chipfit.space.edits import apply, from_plain, to_plain
from chipfit.space.menu import Assignment, Menu, Term
from chipfit.space.offer import offer
from chipfit.store.store import Store

LOST = "lost_work"
"""Share of products, counted by their weights' bits, that edits take away; 0 of the network as it came."""
WHOLE_BITS = 8
FRONT = (0.8, 0.6, 0.5, 0.4, 0.3, 0.2)
"""Shares of the untouched latency at which the least loss is found."""
UNKNOWN = (
    "the network has no weights: accuracy is unknown; what is lost is counted in products and bits, not in answers"
)
SLOWEST = 3
"""Layers that are named where nothing reaches a limit."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A network with its menu, priced by what edits lose and on many designs."""

    entry: Entry
    menu: Menu
    costs: Costs

    @property
    def graph(self) -> Graph:
        """The network as it came."""
        return self.entry.network.graph


def cost_front(
    entries: Sequence[Entry], device: Designing, settings: Settings, store: Store, progress: Progress
) -> None:
    """Writes the run of networks without weights: what holds each budget with the least loss, and the front beside it.

    Raises:
        Infeasible: no edits of any network hold a budget on any design; says what takes longest and which part would.
        BadInput: an operator that the model has no rule for.
    """
    tell = hotnas.named(progress)
    tell("screen", f"{number_of(len(entries), 'network')} without weights, each on the design that suits it best")
    base = _screened(entries, device, settings, store)
    budgets = [_against(base, limits) for limits in settings.budgets]
    store.set_fact("budgets", [budget_text(b) for b in budgets])
    store.set_fact("warnings", [UNKNOWN])
    store.set_fact("seed", settings.seed)
    opened = [_open(e, device, settings, store, tell) for e in entries]
    found: list[Trial] = []
    for limits in budgets:
        tell("assign", f"{budget_text(limits)}: edits and design together, least loss first")
        found.append(_answer(opened, device, limits))
    for one in opened:
        _write_front(one, device, store)
    for trial in found:
        store.append(trial)
    _write_hardware(opened, device, found, store)
    store.finish()


def _against(base: Reference, limits: Sequence[Limit]) -> tuple[Limit, ...]:
    return tuple(base.against(limit) for limit in limits)


def _screened(entries: Sequence[Entry], device: Designing, settings: Settings, store: Store) -> Reference:
    """Untouched networks as rows; what shares are of."""
    write_device(store, device.facts())
    versions: list[Version] = []
    known = {(t.labels["model"], t.labels["name"]): t.measured("latency_ms").where for t in store.trials()}
    for entry in entries:
        for bits in settings.bits:
            graph = entry.network.graph if bits == 32 else all_int8(entry.network).graph
            name = entry.name if bits == 32 else f"{entry.name} int8"
            measured = _measured(graph, device)
            numbers = {m.metric: m.value for m in measured}
            versions.append(Version(entry.name, bits, numbers, plain_numbers(device.format)))
            role = "zoo" if bits == 32 else "baseline"
            if known.get((entry.name, name)) != device.fingerprint:
                store.append(_trial(entry.name, name, role, graph, measured))
    base = Reference.of(versions)
    store.set_fact("reference", cast(Plain, base.plain()))
    return base


def _trial(model: str, name: str, role: str, graph: Graph, measured: Sequence[Measurement], **more: Plain) -> Trial:
    labels = {"role": role, "model": model, "name": name, "network": graph.key, "file": graph.key}
    return Trial(Candidate({"model": model, **more}), tuple(measured), None, labels)


def _measured(graph: Graph, device: Designing) -> list[Measurement]:
    (latency,) = device.measure([Artifact(device.format, b"", graph)], "final")
    return [latency, *counted(graph)]


def _open(entry: Entry, device: Designing, settings: Settings, store: Store, tell: Progress) -> Opened:
    graph, rows = entry.network.graph, device.chosen(entry.network.graph).rows
    tell("detect", hotnas.detect(store, entry.name, rows))
    tell("menu", f"{entry.name}: what may change, and what each layer then costs on each design")
    knobs = hotnas.knobs(entry.network, device, settings.bits)
    block = device.facts().channel_block
    offered = offer(graph, block, bits=(32,), keep=settings.keep, knobs=knobs, widths=widths_on_designs(graph))
    known = costs(graph, offered.menu, device.target, np.random.default_rng(settings.seed))
    terms = [Term(LOST, on, table, "lost") for on, table in lost(known)]
    menu = priced_counts(graph, offered).priced(terms)
    decisions = cast(dict[str, Plain], store.fact("decisions") or {})
    store.set_fact("decisions", {**decisions, entry.name: decisions_fact(menu)})
    return Opened(entry, menu, known)


def lost(known: Costs) -> list[tuple[tuple[int, ...], np.ndarray]]:
    """For each scope the share of the network's work that each choice loses."""
    kept = np.array([_work(record) for record in known.records])
    sums = [(on, table) for on, table in zip(known.scopes, summed(known, kept), strict=True)]
    whole = sum(float(table.flat[0]) for _, table in sums)
    return [(on, (table.flat[0] - table) / whole) for on, table in sums]


def _work(record: Work) -> float:
    return float(record.kept_macs * min(record.weight_bits, WHOLE_BITS)) if isinstance(record, Layer) else 0.0


def _answer(opened: Sequence[Opened], device: Designing, limits: Sequence[Limit]) -> Trial:
    """The network that loses least within a budget.

    Raises:
        Infeasible: none holds it.
    """
    best: tuple[float, Trial] | None = None
    missed: list[Infeasible] = []
    for one in opened:
        try:
            assignment = _within(one, device, limits)
        except Infeasible as e:
            missed.append(e)
            continue
        loss = one.menu.total(LOST, assignment)
        if best is None or loss < best[0]:
            best = loss, _chosen(one, device, assignment, "final", budget_text(limits))
    if best is None:
        raise _unreachable(opened, device, limits, missed)
    return best[1]


def _within(one: Opened, device: Designing, limits: Sequence[Limit]) -> Assignment:
    """The assignment of least loss; it is held against every design.

    That can only be faster, but behind concatenations, where prices are near and not exact.

    Raises:
        Infeasible: none was found.
    """
    budget_ms = next((x.value for x in limits if x.metric == "latency_ms"), np.inf)
    aimed, least_ms = list(limits), np.inf
    for look in range(LOOKS):
        found = codesign(one.menu, one.costs, aimed, objective=LOST).assignment
        took_ms = device.chosen(apply(one.graph, one.menu.edits(found))).latency_ms
        if took_ms <= budget_ms:
            return found
        least_ms = min(least_ms, took_ms)
        aimed = drawn_in(aimed, budget_ms / took_ms, look)
    raise Infeasible(f"no edits of {one.entry.name} hold latency_ms <= {budget_ms:.4g}", {"latency_ms": least_ms})


def _chosen(one: Opened, device: Designing, a: Assignment, role: str, budget: str) -> Trial:
    graph = apply(one.graph, one.menu.edits(a))
    loss = Measurement(LOST, one.menu.total(LOST, a), "counted", "edits", "products by bits of weights")
    measured = [*_measured(graph, device), loss]
    edits, choices = to_plain(one.menu.edits(a)), cast(Plain, one.menu.labels(a))
    trial = _trial(one.entry.name, "ours", role, graph, measured, edits=edits, choices=choices)
    return replace(trial, labels={**trial.labels, "budget": budget})


def _write_front(one: Opened, device: Designing, store: Store) -> None:
    """Candidates along the latency, least loss at each; as many as can be reached."""
    as_is = device.chosen(one.graph).latency_ms
    for share in FRONT:
        limit = Limit("latency_ms", share * as_is)
        try:
            found = codesign(one.menu, one.costs, [limit], objective=LOST).assignment
        except Infeasible:
            break
        row = _chosen(one, device, found, "candidate", str(limit))
        if not any(_same(row, t) for t in store.trials(role="candidate")):
            store.append(row)


def _same(a: Trial, b: Trial) -> bool:
    """True for rows of one network with the same numbers."""
    return a.candidate == b.candidate and a.measurements == b.measurements and a.labels == b.labels


def _write_hardware(opened: Sequence[Opened], device: Designing, found: Sequence[Trial], store: Store) -> None:
    built = []
    for trial in found:
        one = next(o for o in opened if o.entry.name == trial.labels["model"])
        edits = from_plain(cast(Sequence[Sequence[Plain]], trial.candidate.values["edits"]))
        design = Design(device.chosen(apply(one.graph, edits)), device.chosen(one.graph))
        built.append(Built(trial.labels["file"], one.entry.name, (design,)))
    write_designs(store, built)


def _unreachable(
    opened: Sequence[Opened], device: Designing, limits: Sequence[Limit], missed: Sequence[Infeasible]
) -> Infeasible | BadInput:
    """What is nearest, what takes longest there, and the smallest part on which it is within the limit."""
    limit = next((x for x in limits if x.metric == "latency_ms"), None)
    if limit is None:
        return missed[0]
    fastest = [(o, codesign(o.menu, o.costs, [], objective="latency_ms").assignment) for o in opened]
    graphs = [apply(o.graph, o.menu.edits(a)) for o, a in fastest]
    chosen = min((device.chosen(g) for g in graphs), key=lambda c: c.latency_ms)
    graph = min(graphs, key=lambda g: device.chosen(g).latency_ms)
    rows = sorted(chosen.rows, key=lambda row: -row.ms)[:SLOWEST]
    message = (
        f"no edits of {', '.join(o.entry.name for o in opened)} hold {limit} on any design of {device.target.part.name}"
        f" that was searched: the nearest takes {chosen.latency_ms:.4g} ms, most of it {_told(rows)};"
        f" {_way_out(graph, limit.value)}"
    )
    return Infeasible(message, {"latency_ms": chosen.latency_ms})


def _told(rows: Sequence[LayerTime]) -> str:
    return ", ".join(f"{row.op} {row.ms:.3g} ms ({row.bottleneck})" for row in rows)


def _way_out(graph: Graph, limit_ms: float) -> str:
    """The smallest part of the table on which the smallest network is within the limit."""
    for name in PARTS:
        try:
            took = Accelerator(f"accel:{name}").chosen(graph).latency_ms
        except (BadInput, Infeasible):
            continue
        if took <= limit_ms:
            return f"on {name} it takes {took:.4g} ms"
    return "relax the limit, or give a smaller network"
