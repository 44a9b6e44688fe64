"""What needs no device: MACs, parameters, bit operations and bytes as terms of a menu, and the peak of live memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Final

from chipfit.core.channels import array_axis
from chipfit.core.graph import Graph
from chipfit.core.types import Measurement
from chipfit.evaluate.kernel import Unit
from chipfit.evaluate.pieces import term
from chipfit.evaluate.units import Site, UnitMap
from chipfit.space.menu import Menu, Term
from chipfit.space.offer import Offer

LAYERS: Final = frozenset({"conv", "linear"})

METRICS: Final = ("macs", "params", "bops", "size_mb")


def _weights(unit: Unit) -> int:
    """Values in the weight of a convolution or linear layer."""
    if unit.kind == "linear":
        return unit.cin * unit.cout
    groups = unit.cin if unit.attr("groups") == "dw" else int(unit.attr("groups"))
    taps: int = prod(unit.attr("kernel"))
    return unit.cin // groups * unit.cout * taps


def _uses(unit: Unit) -> int:
    """How often each value of that weight is used for one input; no width changes it."""
    return int(unit.attr("rows", 1)) if unit.kind == "linear" else prod(unit.out_size)


def macs(unit: Unit) -> int:
    """Multiply-accumulates of a convolution or linear layer for one input."""
    return _weights(unit) * _uses(unit)


@dataclass(frozen=True, slots=True)
class Held:
    """What is counted at a site; arrays that several operators share are counted at one of them.

    `weight`: the layer's weight is counted here, `stored`: in a float file too, where batch norms that are folded into
    it make a copy. For each output channel, `values` that are learnt beside the weight and `stored_bytes` and
    `int8_bytes` of the file; `more` are learnt values that no width changes.
    """

    weight: bool
    stored: bool
    values: int
    more: int
    stored_bytes: int
    int8_bytes: int

    def further(self, again: bool) -> Held:
        """The same for other channels of the site; with `again` only those in are others, and not those out."""
        other = replace(self, more=0)
        return replace(other, values=0, stored_bytes=0, int8_bytes=0) if again else other


def _counts(unit: Unit, held: Held, uses: int) -> tuple[float, ...]:
    """The numbers of `METRICS` of a unit whose weights are used this often, 0 for what has no weight."""
    weights = _weights(unit) if uses else 0
    work = weights * uses
    bytes_each = held.stored_bytes if unit.bits == 32 else held.int8_bytes
    size = (weights if held.stored or unit.bits == 8 else 0) * unit.bits / 8 + unit.cout * bytes_each
    params = weights * held.weight + held.values * unit.cout + held.more
    return float(work), float(params), float(work * unit.bits**2), size / 1e6


def priced_counts(graph: Graph, offer: Offer) -> Menu:
    """The offer's menu with terms for `macs`, `params`, `bops` and `size_mb` (weights and scales, not names).

    They are those of the edited graph, to the digit.
    """
    units = UnitMap(graph, offer)
    layers = [s for s in units.sites if s.op.kind in LAYERS]
    inside = {m for s in layers for m in s.members}
    others = [units.standing(o) for o in graph if o.name not in inside and graph.weight_shapes(o)]
    owners, copies = _owners(units), _copies(layers, graph)
    found: list[Term] = []
    for site in (*layers, *others):
        held, layer = _held(graph, site, owners, site.op.name in copies), site.op.kind in LAYERS
        for n, piece in enumerate(units.pieces(site, own=True)):
            here = held if n == 0 else held.further(piece.again)
            uses = _uses(next(iter(piece.units))) if layer else 0
            told = {cell: _counts(mix[0][1], here, uses) for cell, mix in piece.cells.items() if mix}
            for i, metric in enumerate(METRICS):
                if layer or metric in ("params", "size_mb"):
                    cells = {cell: numbers[i] for cell, numbers in told.items()}
                    found.append(term(offer.menu, metric, piece.on, cells, site.op.name))
    return offer.menu.priced(found)


def _owners(units: UnitMap) -> dict[str, str]:
    """Array to the operator that it is counted at: of those that use it, one that is there as long as any is."""
    users: dict[str, list[str]] = defaultdict(list)
    for o in units.graph:
        for name in units.graph.weight_shapes(o):
            users[name].append(o.name)
    found = {}
    for name, ops in users.items():
        last = units.block(ops)
        found[name] = next((o for o in ops if units.block([o]) == last), ops[0])
    return found


def _copies(layers: list[Site], graph: Graph) -> set[str]:
    """Layers that a float file holds arrays of: the first of those that share them and fold the same batch norms."""
    first: dict[tuple[str, ...], str] = {}
    for s in layers:
        first.setdefault(tuple(n for m in s.members for n in graph.weight_shapes(graph[m])), s.op.name)
    return set(first.values())


def _held(graph: Graph, site: Site, owners: Mapping[str, str], stored: bool) -> Held:
    o = site.op
    learnt = [
        (name, shape, op)
        for op in map(graph.by_name.__getitem__, site.members)
        for name, shape in graph.weight_shapes(op).items()
        if "running" not in name
    ]
    mine = [(name, shape) for name, shape, op in learnt if owners[name] == op.name]
    layer = o.kind in LAYERS
    width = o.shape[array_axis(o)]
    beside = [shape for name, shape in mine if not (layer and len(shape) > 1)]
    values = sum(prod(s) // width for s in beside if s[:1] == (width,))
    more = sum(prod(s) for s in beside if s[:1] != (width,))
    weight = any(len(shape) > 1 for _, shape in mine)
    if layer:
        return Held(weight, stored, values, more, 4 if stored else 0, 9)
    arrays = graph.weight_shapes(o).values()
    alone = sum(4 * prod(s) // width for s in arrays)
    return Held(False, True, values, more, alone, 10 if o.kind == "batch_norm" else alone)


def counted(graph: Graph) -> tuple[Measurement, ...]:
    """MACs, parameters and peak memory of a graph, exact."""
    return (
        Measurement("macs", float(graph.total_macs), "counted"),
        Measurement("params", float(graph.total_params), "counted"),
        Measurement("peak_memory_mb", peak_memory_mb(graph), "counted"),
    )


def peak_memory_mb(graph: Graph) -> float:
    """Megabytes of activations alive at the worst moment, operators run in order, batch norm and ReLU in place."""
    in_place_kinds = ("batch_norm", "relu", "relu6", "flatten", "BatchNormalization", "Relu", "Flatten")
    last = {i: n for n, o in enumerate(graph) for i in o.inputs}
    alive: dict[str, float] = {}
    peak = 0.0
    for n, o in enumerate(graph):
        if o.kind == "Constant":
            continue
        in_place = o.kind in in_place_kinds and last.get(o.inputs[0]) == n
        alive[o.name] = o.size * o.bits / 8
        peak = max(peak, sum(alive.values()) - (alive[o.inputs[0]] if in_place else 0.0))
        for i in o.inputs:
            if last[i] == n:
                alive.pop(i, None)
    return peak / 1e6
