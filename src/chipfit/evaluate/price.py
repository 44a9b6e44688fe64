"""Menu × device → latency terms: small tables per operator, measured once in chains, corrected on whole networks.

Cost is weight-free: the same tables serve every budget, and every network that holds the same operators on this device.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

from chipfit.core.graph import Graph
from chipfit.evaluate.chains import Recipe, recipe
from chipfit.evaluate.timing import Timing
from chipfit.evaluate.units import Unit, UnitMap, term
from chipfit.space import edits as on_graph
from chipfit.space.menu import Assignment, Menu, Term
from chipfit.space.offer import Offer

FULL_TABLE = 40
"""Cells of one family of units up to which every one is measured; larger families are sampled and interpolated."""

GRID = 4
"""Values of each width that a sampled family is measured at."""


@dataclass(frozen=True, slots=True)
class Pricing:
    """A priced menu, and how well its tables foretold whole networks before they were corrected on them.

    `predicted` are leave-one-out predictions of the `measured` networks, in ms.
    """

    menu: Menu
    predicted: tuple[float, ...]
    measured: tuple[float, ...]


def price(graph: Graph, offer: Offer, timing: Timing, rng: np.random.Generator, *, calibrate: int = 14) -> Pricing:
    """The offer's menu with `latency_ms` terms.

    `calibrate` random assignments are timed as whole networks; a scale for each precision and for the boundaries and
    a constant are fitted to them by a ridge that pulls towards "as measured".
    """
    units = UnitMap(graph, offer)
    terms = _terms(units, timing)
    assignments = _spread(offer.menu, calibrate, rng)
    graphs = [on_graph.apply(graph, offer.menu.edits(a), units.coupling) for a in assignments]
    measured = np.array([m.value for m in timing.graphs(graphs, "quick")])
    good = np.isfinite(measured)
    parts = np.array([[_sum(terms[part], a) for part in _PARTS] for a in assignments])
    scale, left_out = _calibrate(parts[good], measured[good], timing.facts.overhead_ms)
    menu = offer.menu.priced(_scaled(terms, scale))
    return Pricing(menu, tuple(left_out.tolist()), tuple(measured[good].tolist()))


_PARTS = ("fp32", "int8", "boundary")


def _terms(units: UnitMap, timing: Timing) -> dict[str, list[Term]]:
    """Latency terms by part; every table holds the cells of one part, zeros elsewhere."""
    tables = [(site, *units.table(site)) for site in units.sites]
    borders = [(name, p, q, _border(units, name, p, q)) for name, p, q in units.boundaries()]
    wanted = {u for _, _, cells in tables for u in cells.values() if u} | {
        u for *_, (_, cells) in borders for u in cells.values() if u
    }
    ms = unit_ms(wanted, timing)
    terms: dict[str, list[Term]] = {part: [] for part in _PARTS}
    for site, on, cells in tables:
        for part, bits in (("fp32", 32), ("int8", 8)):
            mine = {c: ms[u] for c, u in cells.items() if u and u.bits == bits}
            if mine:
                terms[part].append(term(units.menu, "latency_ms", on, mine, site.op.name))
    for name, _, _, (on, cells) in borders:
        values = {c: ms[u] / 2 for c, u in cells.items() if u}  # a unit holds the way there and back
        terms["boundary"].append(term(units.menu, "latency_ms", on, values, f"boundary {name}"))
    return terms


def _border(units: UnitMap, name: str, p: int, q: int) -> tuple[tuple[int, ...], dict[tuple[int, ...], Unit | None]]:
    """Cells of the conversion behind operator `name` over its precision, its reader's and its width."""
    segments = units.coupling.segments[name]
    width = next((units.decision[s.group] for s in segments if s.group in units.decision), None)
    on = tuple(sorted({p, q} | ({width} if width is not None else set())))
    shape = units.graph[name].shape
    options = {d: units.menu.decisions[d].options for d in on}
    cells: dict[tuple[int, ...], Unit | None] = {}
    for cell in np.ndindex(*(len(options[d]) for d in on)):
        chosen = {d: options[d][o].value for d, o in zip(on, cell, strict=True)}
        channels = shape[0] if width is None else chosen[width] or shape[0]
        flat = len(shape) != 3
        cells[cell] = None if chosen[p] == chosen[q] or flat else Unit("boundary", channels, channels, shape[1:], 8)
    return on, cells


def unit_ms(units: Iterable[Unit], timing: Timing) -> dict[Unit, float]:
    """Marginal milliseconds of each unit on the device."""
    wanted = set(units)
    block = timing.facts.channel_block
    sampled = _sampled(wanted)
    chosen = {u for family in sampled.values() for u in family} if sampled else set()
    direct = {u for u in wanted if _family(u) not in sampled} | chosen
    recipes = _with_needs(direct)
    graphs = [g for r in recipes.values() for g in r.graphs]
    measured = {g.key: m.value for g, m in zip(graphs, timing.graphs(graphs, "quick"), strict=True)}
    ms: dict[Unit, float] = {}

    def value(u: Unit) -> float:
        if u not in ms:
            r = recipes[u]
            ms[u] = float(np.nan_to_num(r.value([measured[g.key] for g in r.graphs], [value(n) for n in r.needs])))
        return ms[u]

    for u in recipes:
        value(u)
    for family, points in sampled.items():
        rest = [u for u in wanted if _family(u) == family and u not in ms]
        ms |= _interpolated(points, ms, rest, block.get(family.bits, 8))
    return ms


def _with_needs(units: Iterable[Unit]) -> dict[Unit, Recipe]:
    recipes: dict[Unit, Recipe] = {}
    stack = sorted(units, key=repr)
    while stack:
        u = stack.pop()
        if u not in recipes:
            recipes[u] = recipe(u)
            stack.extend(recipes[u].needs)
    return recipes


def _family(u: Unit) -> Unit:
    return replace(u, cin=0, cout=0)


def _sampled(units: Iterable[Unit]) -> dict[Unit, list[Unit]]:
    """For each family that is too large, the units at a grid of its widths."""
    families: dict[Unit, set[Unit]] = defaultdict(set)
    for u in units:
        families[_family(u)].add(u)
    chosen: dict[Unit, list[Unit]] = {}
    for family, members in families.items():
        pairs = {frozenset((u.cin, u.cout)) if u.kind == "conv" else (u.cin, u.cout) for u in members}
        if len(pairs) > FULL_TABLE:
            a, b = (_grid(sorted({getattr(u, side) for u in members})) for side in ("cin", "cout"))
            chosen[family] = sorted((u for u in members if u.cin in a and u.cout in b), key=lambda u: (u.cin, u.cout))
    return {f: points for f, points in chosen.items() if len(points) >= 6}


def _grid(values: Sequence[int]) -> set[int]:
    picks = np.unique(np.linspace(0, len(values) - 1, GRID).round().astype(int))
    return {values[i] for i in picks}


def _interpolated(
    points: Sequence[Unit], ms: Mapping[Unit, float], rest: Sequence[Unit], block: int
) -> dict[Unit, float]:
    """A bilinear surface over widths rounded up to the kernel's block, fitted with equal relative weight."""
    if not rest:
        return {}

    def features(u: Unit) -> tuple[float, float, float, float]:
        a, b = (w if w < block else -(-w // block) * block for w in (u.cin, u.cout))
        return 1.0, float(a), float(b), float(a * b)

    x = np.array([features(u) for u in points])
    y = np.array([ms[u] for u in points])
    weight = 1.0 / np.maximum(y, np.max(y) * 0.02)
    theta, *_ = np.linalg.lstsq(x * weight[:, None], y * weight, rcond=None)
    floor = float(y.min()) / 2
    return {u: max(float(np.dot(features(u), theta)), floor) for u in rest}


def _sum(terms: Sequence[Term], a: Assignment) -> float:
    return float(sum(t.table[tuple(a[d] for d in t.on)] for t in terms))


def _calibrate(
    parts: NDArray[np.float64], measured: NDArray[np.float64], overhead: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(constant and scale of each part, leave-one-out predictions).

    Relative least squares; each scale is pulled to 1 and the constant to the device's overhead, as strongly as one
    more network would.
    """
    prior = np.array([overhead, 1.0, 1.0, 1.0])
    x = np.column_stack([np.ones(len(parts)), parts]) / measured[:, None]
    typical = np.maximum(np.abs(x).mean(0), 1e-9) * 0.3
    pull = np.diag(typical)

    def fit(rows: NDArray[np.bool_]) -> NDArray[np.float64]:
        a = np.vstack([x[rows], pull])
        b = np.concatenate([np.ones(int(rows.sum())), pull @ prior])
        theta: NDArray[np.float64] = lsq_linear(a, b, bounds=([0.0, 0.3, 0.3, 0.0], np.inf)).x
        return theta

    everyone = np.ones(len(parts), bool)
    left_out = np.empty(len(parts))
    for i in range(len(parts)):
        others = everyone.copy()
        others[i] = False
        left_out[i] = float(x[i] @ fit(others)) * measured[i]
    return fit(everyone), left_out


def _scaled(terms: Mapping[str, Sequence[Term]], scale: NDArray[np.float64]) -> list[Term]:
    made = [Term("latency_ms", (), np.array(scale[0]), "overhead")]
    for part, s in zip(_PARTS, scale[1:], strict=True):
        made += [replace(t, table=t.table * s) for t in terms[part]]
    return made


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
    for (d, o), (e, p) in menu.ties:
        if (a[d] == o) != (a[e] == p):
            a[e] = p if a[d] == o else int(rng.integers(p))
    return tuple(a)
