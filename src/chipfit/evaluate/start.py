"""A model whose menu is open: what may change, what each change costs on this device, and what it harms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from chipfit.compress import profile as profiling
from chipfit.compress.profile import Profile
from chipfit.compress.refit import refit
from chipfit.core.data import Dataset
from chipfit.core.edits import Precision
from chipfit.core.errors import Infeasible
from chipfit.core.graph import Network
from chipfit.core.types import Limit
from chipfit.evaluate.counts import priced_counts
from chipfit.evaluate.damage import Scorer, additivity, damage
from chipfit.evaluate.design import thrifty
from chipfit.evaluate.price import Pricing, price
from chipfit.evaluate.timing import Timing
from chipfit.nets.zoo import Entry
from chipfit.search.assign import assign
from chipfit.space.menu import Assignment, Menu, Term
from chipfit.space.offer import Offer, offer
from chipfit.store.store import Store
from chipfit.train.loop import on_threads

FRONT = (0.1, 0.15, 0.22, 0.33, 0.45, 0.6, 0.8)
"""Shares of the untouched latency whose optima are timed: errors of the tables gather where they are exploited."""

FRONT_LOOKS = 2
"""How often: what the first look corrects moves the optima."""

HESSIAN_INPUTS = 1024
DAMAGE_INPUTS = 192
"""Calibration inputs (train) for compensation, and others for each of: option damage, true scores, confirmation."""

SHIP_INPUTS = 384
"""Of those for compensation: what a design is repaired on before it is trained or shipped."""

REPAIR_INPUTS = 128
"""Of those for compensation: what a network is repaired on to be scored, not shipped."""

CHECK_INPUTS = 64
"""The same, where many networks are scored to test that damages add up."""


@dataclass(frozen=True)
class Start:
    """One entry of the zoo with its offer, profile (device-free) and priced menu (weight-free costs, by device)."""

    entry: Entry
    offer: Offer
    profile: Profile
    pricings: tuple[Pricing, ...]
    menu: Menu
    inputs: NDArray[np.float32] = field(repr=False)

    @property
    def table_error(self) -> float:
        """Relative error of the cost tables, on the device where they err most."""
        return max(p.error for p in self.pricings)

    def stitched(self, a: Assignment) -> Network:
        """The network of an assignment, compensated from the profile; no gradients, no labels."""
        return profiling.stitch(self.entry.network, self.profile, self.menu.edits(a))

    def repaired(self, a: Assignment, store: Store | None = None) -> Network:
        """The stitched network, refitted layer by layer to the original; kept in the store.

        One that differs from the original in precisions alone has its weights: there is nothing to make good.
        """
        if all(isinstance(e, Precision) for e in self.menu.edits(a)):
            return self.stitched(a)
        name = f"repaired {self.entry.name} {'-'.join(map(str, a))}"
        stitched = self.stitched(a)
        known = store.arrays(name) if store is not None else None
        if known is not None:
            return Network(stitched.graph, known)
        made = refit(
            self.entry.network, stitched, self.menu.edits(a), self._part(0, SHIP_INPUTS), np.random.default_rng(0)
        )
        if store is not None:
            store.put_arrays(name, made.weights)
        return made

    def true_damage(self, a: Assignment) -> float:
        """KL divergence (nats) of the repaired network from the original on inputs that no option was scored on.

        In float, and repaired with little effort: quick enough to correct a search.
        """
        return self._divergence(a, HESSIAN_INPUTS + DAMAGE_INPUTS, CHECK_INPUTS, CHECK_INPUTS)

    def confirmed_damage(self, a: Assignment) -> float:
        """The same on more and yet other inputs, and repaired better, to confirm what a search found."""
        return self._divergence(a, HESSIAN_INPUTS + 2 * DAMAGE_INPUTS, REPAIR_INPUTS, DAMAGE_INPUTS)

    def _part(self, start: int, n: int) -> NDArray[np.float32]:
        """`n` inputs from `start` on, or the last `n` where there are not so many."""
        start = max(0, min(start, len(self.inputs) - n))
        return self.inputs[start : start + n]

    def _divergence(self, a: Assignment, at: int, repaired_on: int, scored_on: int) -> float:
        edits = tuple(e for e in self.menu.edits(a) if not isinstance(e, Precision))
        if not edits:
            return 0.0
        repair, inputs = self._part(0, repaired_on), self._part(at, scored_on)
        scored = Scorer(self.entry.network, self.profile, repair, inputs, [edits])
        return scored.damage(edits)

    def additivity(self, rng: np.random.Generator, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(predicted, true) damage of `n` random repaired networks, light and heavy ones, on unseen inputs."""
        repair, inputs = self._part(0, CHECK_INPUTS), self._part(HESSIAN_INPUTS + DAMAGE_INPUTS, CHECK_INPUTS)
        return additivity(self.menu, self.entry.network, self.profile, repair, inputs, rng, n)


def open_start(
    entry: Entry,
    dataset: Dataset,
    timing: Timing,
    *,
    bits: tuple[int, ...] = (32, 8),
    keep: tuple[str, ...] = (),
    seed: int = 0,
    known: Mapping[str, NDArray[Any]] | None = None,
) -> Start:
    """Offers, prices and damages the menu of an entry; `known` is a profile that was stored before."""
    offered = offer(entry.network.graph, timing.facts.channel_block, bits=bits, keep=keep)
    inputs = dataset.normalise(dataset.calibration(HESSIAN_INPUTS + 3 * DAMAGE_INPUTS).inputs)
    inputs = inputs[np.random.default_rng(1).permutation(len(inputs))]
    rng = np.random.default_rng(seed)
    graph = entry.network.graph

    def damaged() -> tuple[Menu, Profile]:
        profile = Profile.from_arrays(known) if known else profiling.profile(
            entry.network, inputs[:HESSIAN_INPUTS], np.random.default_rng(seed)
        )  # fmt: skip
        scored = inputs[HESSIAN_INPUTS : HESSIAN_INPUTS + DAMAGE_INPUTS]
        return damage(entry.network, offered, profile, inputs[:REPAIR_INPUTS], scored)

    # a device is timed by a process on a core of its own, for which this one mostly waits
    with on_threads(max(1, torch.get_num_threads() - 1)), ThreadPoolExecutor(1) as beside:
        harm = beside.submit(damaged)
        pricings = [price(graph, offered, one, rng) for one, _ in timing.each]
        menu, profile = harm.result()
    menu = menu.priced([*priced_counts(graph, offered).terms, *_latency(pricings, timing)])
    for _ in range(FRONT_LOOKS):
        optima = front(menu)
        pricings = [p.refined(graph, optima, one) for p, (one, _) in zip(pricings, timing.each, strict=True)]
        menu = menu.priced(_latency(pricings, timing))
    return Start(entry, offered, profile, tuple(pricings), menu, inputs)


def _latency(pricings: Sequence[Pricing], timing: Timing) -> list[Term]:
    """The latency terms of every device, an aspect each."""
    return [
        replace(t, table=factor * t.table, aspect=one.device.name)
        for pricing, (one, factor) in zip(pricings, timing.each, strict=True)
        for t in pricing.menu.terms if t.metric == "latency_ms"
    ]  # fmt: skip


def front(menu: Menu) -> list[Assignment]:
    """The optima for a range of latencies, as far as they can be reached."""
    goal, whole = thrifty(menu), menu.total("latency_ms", menu.as_is)
    found = []
    for share in FRONT:
        try:
            found.append(assign(goal, [Limit("latency_ms", share * whole)]))
        except Infeasible:
            continue
    return found
