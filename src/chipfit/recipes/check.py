"""Is a budget within reach? In seconds, before anything is trained."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chipfit.core.errors import Infeasible
from chipfit.core.protocols import Device
from chipfit.core.types import Limit
from chipfit.evaluate.counts import priced_counts
from chipfit.evaluate.design import lost_work
from chipfit.evaluate.faithful import hold_file
from chipfit.evaluate.price import price
from chipfit.evaluate.timing import Timing
from chipfit.nets.zoo import Entry
from chipfit.recipes.settings import Settings, as_computed
from chipfit.search.assign import assign, reachable
from chipfit.space.offer import offer
from chipfit.store.memory import MeasurementMemory


@dataclass(frozen=True, slots=True)
class Feasibility:
    """Whether all limits can be held at once, and the design that keeps most MACs among those that do.

    `reference` are the untouched network's values, `reachable` the least value of each limited metric alone. Where
    latencies are `foretold` those of designs are the upper ends of intervals.
    """

    feasible: bool
    reference: dict[str, float]
    reachable: dict[str, float]
    suggestion: dict[str, str]
    predicted: dict[str, float]
    untouched: tuple[tuple[str, str], ...]
    seconds: float
    foretold: bool = False


def check(
    entry: Entry,
    device: Device,
    limits: Sequence[Limit],
    memory: MeasurementMemory,
    *,
    keep: Sequence[str] = (),
    bits: Sequence[int] = (32, 8),
    seed: int = 0,
) -> Feasibility:
    """Prices the network's menu on the device and solves it.

    Damage is not known here, so the suggestion is the design that keeps most of the work.
    """
    start, timing = time.monotonic(), Timing(device, memory)
    hold_file(entry, timing)
    settings, (entry,) = as_computed(
        Settings((tuple(limits),), bits=tuple(bits), keep=tuple(keep)), [entry], timing.facts
    )
    network = entry.network
    offered = offer(network.graph, timing.facts.channel_block, bits=settings.bits, keep=keep)
    counted = priced_counts(network.graph, offered)
    priced = price(network.graph, offered, timing, np.random.default_rng(seed)).menu
    menu = counted.priced(t for t in priced.terms if t.metric == "latency_ms")
    reference = {limit.metric: menu.total(limit.metric, menu.as_is) for limit in limits}
    if timing.foretold and "latency_ms" in reference:
        reference["latency_ms"] = timing.graphs([network.graph], "quick")[0].value
    absolute = [limit.against(reference[limit.metric]) for limit in limits]
    least = {limit.metric: reachable(menu, limit.metric)[0] for limit in limits}
    try:
        best = assign(menu.priced(lost_work(menu, 1.0)), absolute)
    except Infeasible as e:
        return Feasibility(
            False, reference, dict(e.nearest) or least, {}, {}, offered.untouched, time.monotonic() - start,
            timing.foretold,
        )  # fmt: skip
    predicted = {m: menu.total(m, best) for m in menu.metrics}
    labels = {d.name: d.options[o].label for d, o in zip(menu.decisions, best, strict=True) if o}
    seconds = time.monotonic() - start
    return Feasibility(True, reference, least, labels, predicted, offered.untouched, seconds, timing.foretold)
