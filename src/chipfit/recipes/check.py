"""Is a budget within reach? In seconds, before anything is trained."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from chipfit.core.deadline import Deadline
from chipfit.core.errors import ChipfitError, Infeasible
from chipfit.core.graph import Graph
from chipfit.core.protocols import Device
from chipfit.core.reference import Reference, Version
from chipfit.core.types import Limit
from chipfit.device.accelerator.port import designing
from chipfit.device.protocol import reason
from chipfit.evaluate.cells import Variants
from chipfit.evaluate.counts import priced_counts
from chipfit.evaluate.design import lost_work, timed
from chipfit.evaluate.faithful import hold_file
from chipfit.evaluate.offered import offered
from chipfit.evaluate.price import Pricer, pricer
from chipfit.evaluate.screen import all_int8
from chipfit.evaluate.sizes import Sizes, sized, smallest
from chipfit.evaluate.timing import Timing
from chipfit.evaluate.worthwhile import cheaper_by_macs, worthwhile
from chipfit.export.formats import plain_numbers
from chipfit.nets.zoo import Entry
from chipfit.recipes.settings import Progress, Settings, as_computed, silent
from chipfit.search.codesign import codesign
from chipfit.search.design_costs import LATENCY, DesignCosts
from chipfit.search.one_design import least, solved
from chipfit.space.edits import apply
from chipfit.space.menu import Assignment, Menu
from chipfit.space.offer import Offer
from chipfit.store.memory import MeasurementMemory

SEARCH_S = 20.0
"""Of edits, and of edits and hardware together, until the best so far counts: large networks take minutes to prove."""

PRICED_S = 120.0
"""At which what was not timed is guessed: whole networks of seconds each are not waited for."""

KEPT = 1e-3
"""Of the work that a design gives up, what another could keep of it: the last grain of MACs takes minutes to prove."""

PLANNED_S = 60.0
"""For prices: where chains of all kernels would take longer, kernels are timed in place, which is quicker."""


@dataclass(frozen=True, slots=True)
class Feasibility:
    """Whether all limits can be held at once, and the design that keeps most MACs among those that do.

    `of` is what shares are of, and `limits` what the limits are in each metric's own unit; `versions` are the model's
    own, as it came and in int8. `reference` are the reference's values of the limited metrics, `reachable` the least
    value of each alone. Where latencies are `foretold` those of designs are the upper ends of intervals.
    """

    feasible: bool
    reference: dict[str, float]
    reachable: dict[str, float]
    suggestion: dict[str, str]
    predicted: dict[str, float]
    untouched: tuple[tuple[str, str], ...]
    seconds: float
    foretold: bool = False
    of: Reference | None = None
    limits: dict[str, float] = field(default_factory=dict)
    versions: tuple[Version, ...] = ()


def reference(
    entries: Sequence[Entry], device: Device, memory: MeasurementMemory, *, bits: Sequence[int] = (32, 8)
) -> Reference:
    """What shares are of: each model is timed as it came and in int8, in one sitting, as a fit would.

    Nothing is scored here, so the most accurate model is the one whose record says so; else the first counts.

    Raises:
        ChipfitError: none can be timed on the device; says why.
    """
    timing = Timing(device, memory)
    settings, entries = as_computed(Settings((), bits=tuple(bits)), entries, timing.facts)
    made = [(e, b, _graph(e, b)) for e in entries for b in settings.bits]
    latencies = timing.graphs([graph for *_, graph in made], "final")
    versions = []
    for (entry, b, graph), latency in zip(made, latencies, strict=True):
        values = {"latency_ms": latency.value, "size_mb": timing.size_mb(graph)}
        values |= {"macs": float(graph.total_macs), "params": float(graph.total_params)}
        accuracy = {} if entry.accuracy is None else {"accuracy": entry.accuracy}
        versions.append(Version(entry.name, b, values | accuracy, plain_numbers(device.format)))
    if all(np.isnan(m.value) for m in latencies):
        raise ChipfitError(f"{entries[0].name} cannot be timed on {device.name}: {reason(latencies[0])}")
    return Reference.of(versions)


def _graph(entry: Entry, bits: int) -> Graph:
    return entry.network.graph if bits == 32 else all_int8(entry.network).graph


def check(
    entry: Entry,
    device: Device,
    limits: Sequence[Limit],
    memory: MeasurementMemory,
    *,
    keep: Sequence[str] = (),
    bits: Sequence[int] = (32, 8),
    programs: bool = False,
    seed: int = 0,
    of: Reference | None = None,
    progress: Progress = silent,
) -> Feasibility:
    """Prices the network's menu on the device and solves it; shares are of a reference, its own unless one is given.

    With `programs` the usual ones may compute layers, where they are cheaper. Damage is not known here, so the
    suggestion is the design that keeps most of the work.
    """
    start, timing, name = time.monotonic(), Timing(device, memory), entry.name
    progress("check", f"{name}: its file against itself, on {device.name}")
    hold_file(entry, timing)
    own = reference([entry], device, memory, bits=bits)
    base = of or own
    settings, (entry,) = as_computed(
        Settings((tuple(limits),), bits=tuple(bits), keep=tuple(keep)), [entry], timing.facts
    )
    graph, prices = entry.network.graph, pricer(timing)
    cheaper = _programs(graph, timing, settings, limits) if programs else {}
    on_offer = offered(graph, timing, bits=settings.bits, keep=settings.keep, programs=cheaper)
    progress("menu", f"{name}: what may change, what it costs")
    menu, costs = _priced(graph, on_offer, prices, limits, seed, lambda line: progress("menu", f"{name}: {line}"))
    progress("assign", f"{name}: what keeps most within the limits")
    absolute = [base.against(limit) for limit in limits]
    sizes = Sizes(menu, graph, timing)
    found = Feasibility(
        False,
        {x.metric: v for x in limits if (v := base.number(x.metric)) is not None},
        {x.metric: _least(menu, x.metric, sizes, costs, own) for x in limits},
        {},
        {},
        on_offer.untouched,
        0.0,
        prices.predicted,
        base,
        {x.metric: x.value for x in absolute},
        own.versions,
    )
    try:
        best = _keeping_most(menu, costs, sizes, absolute)
    except Infeasible as e:
        if (whole := _whole(own.versions, absolute)) is not None:
            return _as_whole(found, whole, time.monotonic() - start)
        told = costs is not None and len(limits) == 1  # then the least of untouched models counts too
        nearest = {**found.reachable, **({} if told else e.nearest)}
        return replace(found, reachable=nearest, seconds=time.monotonic() - start)
    predicted = {m: menu.total(m, best) for m in menu.metrics} | _latency_of(best, menu, graph, timing, costs)
    if "size_mb" in found.reference:
        predicted["size_mb"] = sizes.file_mb(best)
    labels = {d.name: d.options[o].label for d, o in zip(menu.decisions, best, strict=True) if o}
    return replace(found, feasible=True, suggestion=labels, predicted=predicted, seconds=time.monotonic() - start)


def _programs(
    graph: Graph, timing: Timing, settings: Settings, limits: Sequence[Limit]
) -> Mapping[str, tuple[str, ...]]:
    """The usual programs that are cheaper than their layers: on the device, or where it is not asked by their MACs."""
    if any(x.metric == LATENCY for x in limits):
        return worthwhile(graph, timing, settings.bits, settings.keep, Deadline.after(PLANNED_S / 2))
    return {} if designing(timing.device) is not None else cheaper_by_macs(graph, settings.keep)


def _priced(
    graph: Graph,
    on_offer: Offer,
    prices: Pricer,
    limits: Sequence[Limit],
    seed: int,
    tell: Callable[[str], None],
) -> tuple[Menu, DesignCosts | None]:
    """The menu with what is counted, and where a limit asks for it with its latency."""
    variants = Variants(graph, on_offer.menu)
    menu = priced_counts(graph, on_offer, variants)
    if all(x.metric != LATENCY for x in limits):  # nothing has to be timed for what is counted
        return menu, None
    rng, until = np.random.default_rng(seed), Deadline.after(PRICED_S) if prices.tested else None
    pricing = prices.price(graph, on_offer, rng, deadline=until, planned_s=PLANNED_S, variants=variants, tell=tell)
    return menu.priced(t for t in pricing.menu.terms if t.metric == LATENCY), pricing.costs


def _keeping_most(menu: Menu, costs: DesignCosts | None, sizes: Sizes, limits: Sequence[Limit]) -> Assignment:
    """The design within the limits that keeps most of the work."""
    keeping = menu.priced(lost_work(menu, 1.0))
    alone = partial(solved, keeping, deadline=Deadline.after(SEARCH_S), gap=KEPT)
    one = alone if costs is None else partial(_jointly, keeping, costs)
    return sized(one, sizes, partial(keeping.total, "damage"))(limits)


def _latency_of(
    best: Assignment, menu: Menu, graph: Graph, timing: Timing, costs: DesignCosts | None
) -> dict[str, float]:
    """The latency of a design, where the menu has none of its own: on the hardware's best design, or timed quickly."""
    if costs is not None:
        return {LATENCY: timed(menu, graph, best, timing).measured_ms}
    if LATENCY in menu.metrics:
        return {}
    (quick,) = timing.graphs([apply(graph, menu.edits(best))], "quick")
    return {LATENCY: quick.value} if np.isfinite(quick.value) else {}


def _jointly(menu: Menu, costs: DesignCosts, limits: Sequence[Limit]) -> Assignment:
    """The assignment that keeps most, where the hardware is a variable too."""
    return codesign(menu, costs, limits, deadline=Deadline.after(SEARCH_S)).assignment


def _whole(versions: Sequence[Version], limits: Sequence[Limit]) -> Version | None:
    """The untouched model that holds all limits as it was measured, as it came or in int8.

    Tables may err by what it has to spare, or it has hardware that suits it and no other.
    """
    held = (v for v in versions if all(x.metric in v.values and x.met(v.values[x.metric]) for x in limits))
    return next(held, None)


def _as_whole(found: Feasibility, version: Version, seconds: float) -> Feasibility:
    """The answer where an untouched model is the design."""
    suggestion = {} if version.bits == 32 else {"every layer": "int8"}
    return replace(found, feasible=True, suggestion=suggestion, predicted=dict(version.values), seconds=seconds)


def _least(menu: Menu, metric: str, sizes: Sizes, costs: DesignCosts | None, own: Reference) -> float:
    """The least value of a metric that any design reaches; of a size that of a file."""
    if metric == LATENCY and costs is not None:
        whole = min(v.values[LATENCY] for v in own.versions)
        return min(whole, codesign(menu, costs, [], objective=LATENCY, deadline=Deadline.after(SEARCH_S)).value)
    found: tuple[float, Assignment] = least(menu, metric) if metric != "size_mb" else (0.0, smallest(sizes))
    return sizes.file_mb(found[1]) if metric == "size_mb" else found[0]
