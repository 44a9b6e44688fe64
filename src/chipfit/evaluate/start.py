"""A model whose menu is open: what may change, what each change costs on this device, and what it harms."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from chipfit.compress import heads, streams
from chipfit.compress import profile as profiling
from chipfit.compress.profile import Profile
from chipfit.compress.refit import refit
from chipfit.core.data import Dataset
from chipfit.core.deadline import Deadline
from chipfit.core.errors import Infeasible, OutOfTime
from chipfit.core.graph import Graph, Network, Weights
from chipfit.core.task import CLASSIFICATION, Task
from chipfit.core.types import Limit
from chipfit.evaluate.cells import Variants
from chipfit.evaluate.counts import priced_counts
from chipfit.evaluate.damage import Scorer, additivity, all_scored, damage
from chipfit.evaluate.damage_plan import WHOLE_PLAN, Plan, planned
from chipfit.evaluate.design import thrifty
from chipfit.evaluate.in_time import inputs_in_time
from chipfit.evaluate.offered import offered
from chipfit.evaluate.parts import SCORED, WHOLE, Parts, parts_of
from chipfit.evaluate.price import pricer
from chipfit.evaluate.pricing import Pricing
from chipfit.evaluate.ticker import quiet
from chipfit.evaluate.timing import Latencies
from chipfit.nets.zoo import Entry
from chipfit.search.design_costs import DesignCosts
from chipfit.search.one_design import solved
from chipfit.space.edits import structural
from chipfit.space.knobs import Knobs
from chipfit.space.menu import Assignment, Menu, Term
from chipfit.space.offer import Offer
from chipfit.store.store import Store
from chipfit.train.loop import on_threads

FRONT = (0.1, 0.15, 0.22, 0.33, 0.45, 0.6, 0.8)
"""Shares of the untouched latency whose optima are timed: errors of the tables gather where they are exploited."""

FRONT_LOOKS = 2
"""How often: what the first look corrects moves the optima."""

FRONT_GAP = 0.01
"""How far from the best they may be: it is what tables favour that is looked for."""

SOLVED_SHARE = 0.5
"""Of the time for optima, for finding them; the rest is for timing them."""

OPEN_SHARE, PROFILE_SHARE = 0.85, 0.5
"""Of a menu's time, for scores and prices before optima are looked at; of the first, for what damages rest on."""

SHIP_INPUTS = 384
"""What a design is repaired on before it is trained or shipped: of few, those that others were scored on, too."""

REPAIR_INPUTS = 128
"""Of those for compensation: what a network is repaired on to be scored, not shipped."""

CHECK_INPUTS = 64
"""The same, where many networks are scored to test that damages add up."""

FEW_SCORED = 30
"""Scored inputs below which their spread tells too little: divergences have long tails, which few inputs miss."""


@dataclass(frozen=True)
class Start:
    """One entry of the zoo with its offer, profile (device-free) and priced menu (weight-free costs, by device)."""

    entry: Entry
    offer: Offer
    profile: Profile
    pricings: tuple[Pricing, ...]
    menu: Menu
    inputs: NDArray[np.float32] = field(repr=False)
    parts: Parts
    complete: bool = True
    """Whether there was time for all scores, on all inputs."""
    plan: Plan = WHOLE_PLAN
    task: Task = CLASSIFICATION

    @property
    def costs(self) -> DesignCosts | None:
        """The menu's latency on every design of the device, where that is a variable too; None where it is not."""
        return self.pricings[0].costs if len(self.pricings) == 1 else None

    @property
    def table_error(self) -> float:
        """Relative error of the cost tables, on the device where they err most."""
        return max(p.error for p in self.pricings)

    @property
    def curtailed(self) -> str:
        """In words: what of the menu there was no time for; empty where all of it was measured."""
        priced = min(p.timed for p in self.pricings)
        options = {profiling.key(o.edits) for d in self.menu.decisions for o in d.options if o.edits}
        scored = sum(key in self.profile.damage for key in options)
        texts = [f"{100 * priced:.0f} % of what prices it was timed"] if priced < 1 else []
        if not self.complete:
            texts.append(f"{scored} of {len(options)} options were scored, on {self.profile.scored} inputs")
        if self.profile.seen:
            texts.append(f"second moments rest on {self.profile.seen} inputs")
        guessed = "; the rest is guessed" if priced < 1 or scored < len(options) else ""
        return f"{self.entry.name}: {', '.join(texts)}{guessed}" if texts else ""

    @property
    def sureness(self) -> str:
        """In words: how many inputs the damages rest on, and how far a typical one may be off by their choice."""
        if not self.profile.damage and not self.complete:
            return f"damage of {self.entry.name} was not scored, for want of time"
        error, n = self.profile.uncertainty, self.profile.scored
        least = "at least " if n < FEW_SCORED else ""
        spread = (
            "no option does harm on them" if math.isnan(error) else f"{least}± {100 * error:.0f} % (standard error)"
        )
        line = f"damage of {self.entry.name} rests on {n} input{'s' * (n != 1)}: {spread}"
        return f"{line}; options and whole designs are scored on shared inputs" if self.parts.overlapping else line

    @property
    def unsure(self) -> bool:
        """True where damages rest on fewer inputs than they would with enough data."""
        return self.profile.scored < SCORED or self.parts.overlapping

    def stitched(self, a: Assignment) -> Network:
        """The network of an assignment, compensated from the profile; no gradients, no labels."""
        return profiling.stitch(self.entry.network, self.profile, self.menu.edits(a))

    def repaired(self, a: Assignment, store: Store | None = None, deadline: Deadline | None = None) -> Network:
        """The stitched network, refitted layer by layer to the original, as far as there is time; kept in the store.

        One that differs from the original in precisions alone has its weights: there is nothing to make good.
        """
        if not structural(self.menu.edits(a)):
            return self.stitched(a)
        # on other hardware other knobs are offered, so that options have other places
        places = "-".join(map(str, a)) if self.costs is None else profiling.key(self.menu.edits(a))
        name = f"repaired {self.entry.name} {places}"
        stitched = self.stitched(a)
        known = store.arrays(name) if store is not None else None
        if known is not None:
            return Network(stitched.graph, known)
        repair = self.inputs[:SHIP_INPUTS]  # those for compensation come first
        effort = self.plan.shipped
        rng, edits = np.random.default_rng(0), self.menu.edits(a)
        made = refit(self.entry.network, stitched, edits, repair, rng, effort, deadline)
        if store is not None:
            store.put_arrays(name, made.weights)
        return made

    def true_damage(self, a: Assignment) -> float:
        """Divergence (nats) of the repaired network from the original on inputs that no option was scored on.

        In float, and repaired with little effort: quick enough to correct a search.
        """
        return self._divergence(a, CHECK_INPUTS, self._checked())

    def confirmed_damage(self, a: Assignment) -> float:
        """The same on more and yet other inputs, and repaired better, to confirm what a search found."""
        return self._divergence(a, REPAIR_INPUTS, self.inputs[self.parts.confirmation])

    def _compensating(self, most: int) -> NDArray[np.float32]:
        """The first `most` of the inputs for compensation, or all of them."""
        return self.inputs[self.parts.compensation][:most]

    def _checked(self) -> NDArray[np.float32]:
        return self.inputs[self.parts.truth][:CHECK_INPUTS]

    def _divergence(self, a: Assignment, repaired_on: int, scored_on: NDArray[np.float32]) -> float:
        edits = structural(self.menu.edits(a))
        if not edits:
            return 0.0
        repair = self._compensating(repaired_on)
        name, task, effort = self.entry.name, self.task, self.plan.checked
        scorer = Scorer(self.entry.network, self.profile, repair, scored_on, [edits], effort, model=name, task=task)
        return scorer.damage(edits)

    def additivity(
        self, rng: np.random.Generator, n: int, deadline: Deadline | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(predicted, true) damage of `n` random repaired networks, light and heavy ones, on unseen inputs.

        Fewer at a deadline.
        """
        repair = self._compensating(CHECK_INPUTS)
        network, inputs = self.entry.network, self._checked()
        return additivity(self.menu, network, self.profile, repair, inputs, rng, n, deadline, task=self.task)


def open_start(
    entry: Entry,
    dataset: Dataset,
    timing: Latencies,
    *,
    bits: tuple[int, ...] = (32, 8),
    keep: tuple[str, ...] = (),
    knobs: Mapping[str, Knobs] = {},
    programs: Mapping[str, tuple[str, ...]] = {},
    seed: int = 0,
    known: Mapping[str, NDArray[Any]] | None = None,
    most_inputs: int | None = None,
    deadline: Deadline | None = None,
    planned_s: float = math.inf,
    tell: Callable[[str], None] = quiet,
) -> Start:
    """Offers, prices and damages the menu of an entry; `known` is a profile that was stored before.

    At the deadline what was neither timed nor scored is guessed (`in_time`, `unscored`). Before it, fewer calibration
    inputs are taken where all would take longer; `most_inputs` is how many were taken for the profile that is known.
    `knobs` open what may be done to the weights of single layers, `programs` what may compute them.

    `planned_s` are the seconds that the menu should take on one core for timing and one for the rest. Where all of it
    would take longer, as for large networks, it is priced and damaged in quicker ways (`timed`, `damage_plan`).

    Raises:
        BadInput: fewer training inputs than `parts.FEWEST`.
    """
    graph, rng = entry.network.graph, np.random.default_rng(seed)
    on_offer = offered(graph, timing, bits=bits, keep=keep, knobs=knobs, programs=programs)
    variants = Variants(graph, on_offer.menu)
    until = (deadline or Deadline.never()).sooner(planned_s)
    scored_until, planned_s = until.share(OPEN_SHARE), OPEN_SHARE * planned_s
    n = most_inputs or len(dataset.train)
    # a device is timed by a process on a core of its own, for which this one mostly waits
    threads, timed, over = torch.get_num_threads(), Event(), Event()
    beside_timing = max(1, threads - 1)
    with on_threads(beside_timing):
        plan, fewer = _in_time(entry.network, on_offer.menu, n, planned_s, scored_until)
    n = n if known else fewer
    parts = parts_of(n)
    inputs = dataset.normalise(dataset.calibration(min(n, WHOLE)).inputs)
    inputs = inputs[np.random.default_rng(1).permutation(len(inputs))]
    damaged_until = _or_over(scored_until, over)

    def damaged() -> tuple[Menu, Profile]:
        compensating, scored = inputs[parts.compensation], inputs[parts.damage]
        profile = (
            Profile.from_arrays(known) if known else _profiled(entry.network, compensating, seed, plan, damaged_until)
        )
        repair = compensating[:REPAIR_INPUTS]
        return damage(
            profile.of(entry.network), on_offer, profile, repair, scored, model=entry.name, task=dataset.task,
            deadline=damaged_until, plan=plan, tell=tell, between=take_all,
        )  # fmt: skip

    def take_all() -> None:
        """Takes every core once nothing is timed any more; but where all is scored, whose last digits should stay."""
        if timed.is_set() and plan != WHOLE_PLAN:
            torch.set_num_threads(threads)

    with on_threads(beside_timing), ThreadPoolExecutor(1) as beside:
        harm = beside.submit(damaged)
        try:
            pricings = _priced(graph, on_offer, variants, timing, planned_s, scored_until, rng=rng, tell=tell)
            timed.set()
            counts = priced_counts(graph, on_offer, variants)
            menu, profile = harm.result()
        finally:
            over.set()  # whoever stops here, Ctrl-C too, waits for the other thread, which would go on to its deadline
    menu = menu.priced([*counts.terms, *_latency(pricings, timing)])
    pricings, menu = _refined(menu, pricings, timing, graph, until)
    complete = n >= min(WHOLE, len(dataset.train)) and all_scored(menu, profile)
    opened = replace(entry, network=profile.of(entry.network)) if profile.turned else entry
    return Start(opened, on_offer, profile, tuple(pricings), menu, inputs, parts, complete, plan, dataset.task)


def _or_over(until: Deadline, over: Event) -> Deadline:
    """The same deadline, which has also come once `over` is set."""
    return Deadline(until.at, lambda: math.inf if over.is_set() else until.clock())


def _priced(
    graph: Graph,
    on_offer: Offer,
    variants: Variants,
    timing: Latencies,
    planned_s: float,
    until: Deadline,
    *,
    rng: np.random.Generator,
    tell: Callable[[str], None],
) -> list[Pricing]:
    """The menu's latency on each device, one after the other, each of which has its share of the time."""
    pricings = []
    for left, (one, _) in zip(range(len(timing.each), 0, -1), timing.each, strict=True):
        part, each_s, prices = until.share(1 / left), planned_s / len(timing.each), pricer(one)
        pricings.append(
            prices.price(graph, on_offer, rng, deadline=part, planned_s=each_s, tell=tell, variants=variants)
        )
    return pricings


def _in_time(network: Network, menu: Menu, n: int, planned_s: float, until: Deadline) -> tuple[Plan, int]:
    """How damages are measured in the seconds that were planned for them, and on how many of `n` inputs."""
    plan = planned(network, menu, min(n, WHOLE), planned_s)
    if plan != WHOLE_PLAN:
        return plan, min(n, plan.inputs)
    options = sum(len(d.options) - 1 for d in menu.decisions)
    return plan, inputs_in_time(network, options, n, until)


def _profiled(network: Network, compensating: NDArray[np.float32], seed: int, plan: Plan, until: Deadline) -> Profile:
    """What widths lose, of the network with its heads, and then its streams, on principal axes.

    `turned` has the arrays that this changed.
    """
    others: Weights = {}
    on_axes = network
    for turned in (heads.turned, streams.turned):
        others |= turned(on_axes, compensating)
        on_axes = Network(network.graph, {**network.weights, **others})
    made = profiling.profile(
        on_axes, compensating, np.random.default_rng(seed), until.share(PROFILE_SHARE),
        rows_per_column=plan.rows_per_column, coarse=plan.coarse, forms=plan.forms,
    )  # fmt: skip
    return replace(made, turned=others)


def _refined(
    menu: Menu, pricings: list[Pricing], timing: Latencies, graph: Graph, until: Deadline
) -> tuple[list[Pricing], Menu]:
    """Pricings corrected where the best designs of the menu stand, and the menu with them."""
    correctable = any(p.parts for p in pricings)
    for _ in range(FRONT_LOOKS if correctable else 0):
        optima = front(menu, until)
        if until.passed():
            break
        pairs = zip(pricings, timing.each, strict=True)
        pricings = [p.refined(graph, optima, one, until) for p, (one, _) in pairs]
        menu = menu.priced(_latency(pricings, timing))
    return pricings, menu


def _latency(pricings: Sequence[Pricing], timing: Latencies) -> list[Term]:
    """The latency terms of every device, an aspect each."""
    return [
        replace(t, table=factor * t.table, aspect=one.device.name)
        for pricing, (one, factor) in zip(pricings, timing.each, strict=True)
        for t in pricing.menu.terms if t.metric == "latency_ms"
    ]  # fmt: skip


def front(menu: Menu, deadline: Deadline | None = None) -> list[Assignment]:
    """The optima for a range of latencies, as far as they can be reached and there is time."""
    goal, whole, until = thrifty(menu), menu.total("latency_ms", menu.as_is), deadline or Deadline.never()
    found = []
    for left, share in zip(range(len(FRONT), 0, -1), FRONT, strict=True):
        try:
            part = until.share(SOLVED_SHARE / left)
            found.append(solved(goal, [Limit("latency_ms", share * whole)], deadline=part, gap=FRONT_GAP))
        except (Infeasible, OutOfTime):
            continue
    return found
