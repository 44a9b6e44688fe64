"""Menu × device → latency terms: small tables per operator, measured once in chains, corrected on whole networks.

Cost is weight-free: the same tables serve every budget, and every network that holds the same operators on this device.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

from chipfit.core.deadline import Deadline
from chipfit.core.errors import ChipfitError
from chipfit.core.graph import Graph
from chipfit.evaluate.borders import border, layout
from chipfit.evaluate.chains import Recipe, recipe
from chipfit.evaluate.counts import macs
from chipfit.evaluate.families import families_of
from chipfit.evaluate.in_time import InTime, by_weight, guessed_ms
from chipfit.evaluate.kernel import Unit
from chipfit.evaluate.pieces import Piece, pieces, term
from chipfit.evaluate.timing import Timing
from chipfit.evaluate.units import Site, UnitMap
from chipfit.space import edits as on_graph
from chipfit.space.edits import computed_in
from chipfit.space.menu import Assignment, Menu, Term
from chipfit.space.offer import LEAST_STEP, Offer


@dataclass(frozen=True, slots=True)
class Part:
    """Terms that are right up to one common factor, which is known to about `spread`; equal names share it."""

    name: str
    terms: tuple[Term, ...]
    spread: float


@dataclass(frozen=True)
class Pricing:
    """A priced menu, and the whole networks (`assignments`, `measured` in ms) that its tables were corrected on."""

    menu: Menu
    measured: tuple[float, ...]
    assignments: tuple[Assignment, ...]
    parts: tuple[Part, ...]
    timed: float = 1.0
    """Share of what was to be timed that there was time for."""

    @cached_property
    def predicted(self) -> tuple[float, ...]:
        """What the tables, corrected on all the others, foretell of each measured network, in ms."""
        sums, measured = _sums(self.parts, self.assignments), np.array(self.measured)
        spread = np.array([p.spread for p in self.parts])
        everyone = np.arange(len(sums))
        return tuple(float(sums[i] @ scales(sums[everyone != i], measured[everyone != i], spread)) for i in everyone)

    @cached_property
    def error(self) -> float:
        """Relative error of `predicted`: the median of its absolute values, times 1.48 (a normal's sd)."""
        return 1.4826 * float(np.median(np.abs(np.array(self.predicted) / np.array(self.measured) - 1)))

    def refined(
        self, graph: Graph, assignments: Sequence[Assignment], timing: Timing, deadline: Deadline | None = None
    ) -> Pricing:
        """The same tables, corrected on these networks too: on optima, say, which are where errors of tables gather."""
        new = [a for a in dict.fromkeys(assignments) if a not in self.assignments]
        return _corrected(self, graph, new, InTime(timing, deadline or Deadline.never())) if new else self


UNITS_SHARE = 0.7
"""Of a deadline, for kernels; the rest is for whole networks."""


def price(
    graph: Graph,
    offer: Offer,
    timing: Timing,
    rng: np.random.Generator,
    *,
    calibrate: int = 64,
    deadline: Deadline | None = None,
) -> Pricing:
    """The offer's menu with `latency_ms` terms.

    `calibrate` random assignments are timed as whole networks; they correct a constant and one scale for each
    resolution and precision (Bayesian least squares around "as measured in chains"). On a device whose latencies are
    foretold no chain can be timed: there `FORETOLD` whole networks, which cost nothing, scale the work of each kernel,
    and the menu prices the upper ends of the intervals, which is what budgets are held against.

    At the deadline what was not timed yet is guessed (`in_time`); `Pricing.timed` tells how much was.
    """
    units, until = UnitMap(graph, offer), deadline or Deadline.never()
    kernels, wholes = InTime(timing, until.share(UNITS_SHARE)), InTime(timing, until)
    if timing.foretold:
        (whole,) = timing.graphs([graph], "quick")
        parts, calibrate = shares_of(units, whole.bound), max(calibrate, FORETOLD)
    else:
        parts = parts_of(units, timing, kernels)
    raw = Pricing(offer.menu, (), (), tuple(parts))
    made = _corrected(raw, graph, _spread(offer.menu, calibrate, rng), wholes)
    return replace(made, timed=(kernels.reached + wholes.reached) / max(1, kernels.asked + wholes.asked))


FORETOLD = 400
"""Whole networks that the menu is fitted to where latencies are foretold."""

WORK, TRAFFIC, LAUNCH = 0.6, 0.25, 0.15
"""First guess of the shares of a latency that go with MACs, with values read and written, and with kernels."""


def shares_of(units: UnitMap, whole_ms: float) -> list[Part]:
    """Latency terms of each kernel in each precision for its MACs, its values and its being there at all.

    Each is a part of its own, so that whole networks tell its scale; the first guess shares `whole_ms` out.
    """
    counts: list[tuple[str, float, list[Term]]] = []
    for site in units.sites:
        pieces = units.pieces(site)
        for bits in (32, 8):
            for name, share, count in (("work", WORK, _macs), ("traffic", TRAFFIC, _values), ("launch", LAUNCH, _one)):
                found = latency(units, pieces, count, f"{site.op.name} {name} {bits}", bits)
                if any(t.table.any() for t in found):
                    counts.append((name, share, found))
    wholes: dict[str, float] = defaultdict(float)
    for name, _, found in counts:
        wholes[name] += sum(float(t.table.max()) for t in found)
    parts = [Part("call", (Term("latency_ms", (), np.array(CALL_MS), "call"),), 1.0)]
    for name, share, found in counts:
        factor = share * whole_ms / wholes[name]
        parts.append(Part(found[0].label, tuple(replace(t, table=t.table * factor) for t in found), 1.0))
    return parts


def latency(
    units: UnitMap, pieces: Iterable[Piece], value: Callable[[Unit], float], label: str, bits: int = 0
) -> list[Term]:
    """The terms of a kernel's pieces by the value of a unit, of units in this precision; none where there are none."""
    cells = [(p.on, p.numbers(value, bits)) for p in pieces]
    return [term(units.menu, "latency_ms", on, mine, label) for on, mine in cells if mine]


def _macs(unit: Unit) -> float:
    return float(macs(unit)) if unit.kind in ("conv", "linear") else 0.0


def _values(unit: Unit) -> float:
    return float(unit.cin * prod(unit.size) + unit.cout * prod(unit.out_size)) * unit.bits / 32


def _one(unit: Unit) -> float:
    return 1.0


def _corrected(known: Pricing, graph: Graph, assignments: Sequence[Assignment], timing: InTime) -> Pricing:
    """What is known, with these networks measured and every scale fitted to all of them."""
    graphs = [on_graph.apply(graph, known.menu.edits(a)) for a in assignments]
    found = [(a, m) for a, m in zip(assignments, timing.graphs(graphs), strict=True) if m is not None]
    good = [(a, m.bound) for a, m in found if np.isfinite(m.value)]
    if not good and not known.measured:
        raise ChipfitError(f"no version of this network can be timed on the device: {found[0][1].protocol}")
    everyone = (*known.assignments, *(a for a, _ in good))
    measured = (*known.measured, *(ms for _, ms in good))
    spread = np.array([p.spread for p in known.parts])
    factors = scales(_sums(known.parts, everyone), np.array(measured), spread)
    terms = [replace(t, table=t.table * s) for p, s in zip(known.parts, factors, strict=True) for t in p.terms]
    return replace(known, menu=known.menu.priced(terms), measured=measured, assignments=everyone)


SPREAD = 0.15
"""How well the units of one resolution and precision are known, but for one factor.

[measured] It matters where few networks correct the tables: with 5 on an AMD EPYC the mean error on mixed networks fell
from 6.1 to 3.8 % (LiteRT 10.1 to 3.0) against .4, with 10 on a Sapphire Rapids it is the same; with 64, a menu's, too.
"""

CALL_MS = 0.012
"""First guess of what a network costs beyond its kernels: the call, the input's and the output's layout."""

CONVERSION_MS = 0.004
"""First guess of what quantising the input, or answering from int8, adds."""


def parts_of(units: UnitMap, timing: Timing, in_time: InTime | None = None) -> list[Part]:
    """Latency terms in groups: the constant, conversions, and units by resolution and precision."""
    sites = [(site, units.pieces(site)) for site in units.sites]
    borders = [(name, pieces(border(units, name, p, q), units.menu)) for name, p, q in units.boundaries()]
    block = timing.facts.channel_block.get(32, 1)
    layouts = [(name, pieces(layout(units, name, p, q, block), units.menu)) for name, p, q in units.readings()]
    wanted = {u for _, parts in [*sites, *borders, *layouts] for p in parts for u in p.units}
    ms = unit_ms(wanted, timing, in_time)
    groups: dict[tuple[tuple[int, ...], int], list[Term]] = defaultdict(list)
    for site, parts in sites:
        for bits in (32, 8):
            if found := latency(units, parts, ms.__getitem__, site.op.name, bits):
                groups[_out_size(units, site), bits] += found
    for name, parts in layouts:
        if found := latency(units, parts, ms.__getitem__, f"{name} unblocked"):
            groups[units.graph[name].shape[1:], 32] += found
    made = [Part(t.label, (t,), 1.0) for t in (Term("latency_ms", (), np.array(CALL_MS), "call"), *_ends(units))]
    for name, parts in borders:
        for bits, way in ((8, "to float"), (32, "to int8")):  # from these bits; the two ways differ in layout changes
            if found := latency(units, parts, lambda u: _one_way(u, ms[u]), f"{name} {way}", bits):
                made.append(Part(found[0].label, tuple(found), 1.0))
    return made + [Part(f"{size} {bits}", tuple(group), SPREAD) for (size, bits), group in groups.items()]


def _one_way(unit: Unit, ms: float) -> float:
    """A unit of conversion holds the way there and back, but before a pool; a kernel more is never free."""
    return (ms / 2 if unit.kind == "boundary" else ms) + CONVERSION_MS / 2


def _out_size(units: UnitMap, site: Site) -> tuple[int, ...]:
    shape = units.graph[site.op.name].shape
    return shape[1:] if len(shape) == 3 else ()


def _ends(units: UnitMap) -> list[Term]:
    """What the precision of the first and of the last site adds at the network's ends."""
    decisions = dict.fromkeys(units.precision.values())
    found = []
    for d in list(dict.fromkeys([*list(decisions)[:1], *list(decisions)[-1:]])):
        low = [float(computed_in(o.edits) == 8) * CONVERSION_MS for o in units.menu.decisions[d].options]
        found.append(Term("latency_ms", (d,), np.array(low), f"ends {units.menu.decisions[d].name}"))
    return found


def unit_ms(units: Iterable[Unit], timing: Timing, in_time: InTime | None = None) -> dict[Unit, float]:
    """Marginal milliseconds of each unit on the device; those that could not be timed, or not in time, are guessed.

    Widths that fill the same blocks of the device's kernels cost the same, and are measured once. Of a large family a
    grid is measured; where the device is not smooth between its points, so is what the grid cannot tell.
    """
    block, in_time = timing.facts.channel_block, in_time or InTime(timing, Deadline.never())
    filled = {u: _filled(u, block.get(u.bits, 1)) for u in units}
    families = families_of(filled.values())
    known = _timed([u for f in families for u in f.first], block, in_time)
    rough = [f for f in families if not f.smooth(known)]
    known |= _timed([u for f in rough for u in f.more], block, in_time)
    guessed = {u: guessed_ms(u, known) for f in families for u in f.grid if u not in known}
    ms = guessed | known
    for f in families:
        ms |= f.told(ms)
    return {u: ms[as_filled] for u, as_filled in filled.items()}


def _timed(units: Iterable[Unit], block: Mapping[int, int], in_time: InTime) -> dict[Unit, float]:
    """Marginal milliseconds of these units, and of those that their prices need, as far as the time reaches."""
    recipes = _with_needs(set(units), block)
    graphs = _graphs(recipes, by_weight(list(recipes)))
    timed = zip(graphs, in_time.graphs(graphs), strict=True)
    return _values_of(recipes, {g.key: m.value for g, m in timed if m is not None and np.isfinite(m.value)})


def _graphs(recipes: Mapping[Unit, Recipe], order: Iterable[Unit]) -> list[Graph]:
    """What has to be timed, each once, so that the first units are known first, with what they need."""
    found: dict[str, Graph] = {}

    def add(u: Unit) -> None:
        for n in recipes[u].needs:
            add(n)
        for g in recipes[u].graphs:
            found.setdefault(g.key, g)

    for u in order:
        add(u)
    return list(found.values())


def _values_of(recipes: Mapping[Unit, Recipe], measured: Mapping[str, float]) -> dict[Unit, float]:
    """Milliseconds of the units whose graphs, and whose needs', were all timed."""
    ms: dict[Unit, float | None] = {}

    def value(u: Unit) -> float | None:
        if u not in ms:
            r = recipes[u]
            needs, taken = [value(n) for n in r.needs], [measured.get(g.key) for g in r.graphs]
            known = [n for n in needs if n is not None], [t for t in taken if t is not None]
            whole = len(known[0]) == len(needs) and len(known[1]) == len(taken)
            ms[u] = r.value(known[1], known[0]) if whole else None
        return ms[u]

    return {u: v for u in recipes if (v := value(u)) is not None}


def _filled(u: Unit, block: int) -> Unit:
    """The unit with the widths of its kernel rounded up to whole blocks.

    Below one block they count as they are, and so do odd ones (a layer of 30 channels as it came): those take longer
    than the next block.
    """
    groups = u.attr("groups", 1)
    if u.kind not in ("conv", "add") or groups not in (1, "dw"):
        return u
    cin, cout = (w if w < block or w % LEAST_STEP else -(-w // block) * block for w in (u.cin, u.cout))
    return replace(u, cin=cin, cout=cout)


def _with_needs(units: Iterable[Unit], block: Mapping[int, int]) -> dict[Unit, Recipe]:
    recipes: dict[Unit, Recipe] = {}
    stack = sorted(units, key=repr)
    while stack:
        u = stack.pop()
        if u not in recipes:
            recipes[u] = recipe(u, block.get(u.bits, 1))
            stack.extend(recipes[u].needs)
    return recipes


def _sum(terms: Sequence[Term], a: Assignment) -> float:
    return float(sum(t.table[tuple(a[d] for d in t.on)] for t in terms))


NOISE = 0.015
"""Relative error of a quick measurement of a whole network together with what no table can tell."""


def _sums(parts: Sequence[Part], assignments: Sequence[Assignment]) -> NDArray[np.float64]:
    """(assignments, parts) uncorrected ms of each part."""
    return np.array([[_sum(p.terms, a) for p in parts] for a in assignments])


def scales(
    sums: NDArray[np.float64], measured: NDArray[np.float64], spread: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(parts,) the scale of each part of the (networks, parts) sums that fits the (networks,) measured ms.

    Least squares of relative errors in units of `NOISE`, with each scale drawn to 1 in units of the part's spread.
    """
    a = np.vstack([sums / measured[:, None] / NOISE, np.diag(1 / spread)])
    b = np.concatenate([np.full(len(measured), 1 / NOISE), 1 / spread])
    theta: NDArray[np.float64] = lsq_linear(a, b, bounds=(0.0, np.inf)).x
    return theta


def _spread(menu: Menu, n: int, rng: np.random.Generator) -> list[Assignment]:
    """As it is, all int8, and random assignments of which a third each is all fp32, all int8 and mixed."""
    found = [menu.as_is]
    precision = [i for i, d in enumerate(menu.decisions) if d.kind == "precision"]
    if precision:
        found.append(tuple(int(i in precision) for i in range(len(menu.decisions))))
    while len(found) < n + 2:
        a = random_assignment(menu, rng)
        if mode := len(found) % 3:
            a = tuple((mode - 1) if i in precision else o for i, o in enumerate(a))
        found.append(a)
    return list(dict.fromkeys(found))


def random_assignment(menu: Menu, rng: np.random.Generator) -> Assignment:
    """Uniform options, ties repaired towards the first of each pair."""
    a = [int(rng.integers(n)) for n in menu.sizes]
    free: dict[int, int] = {}  # a decision's options before the first that a tie sets
    for _, (e, p) in menu.ties:
        free[e] = min(p, free.get(e, p))
    for (d, o), (e, p) in menu.ties:
        if (a[d] == o) != (a[e] == p):
            a[e] = p if a[d] == o else int(rng.integers(free[e]))
    return tuple(a)
