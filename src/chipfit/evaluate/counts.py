"""What needs no device: MACs, parameters, bit operations and bytes as terms of a menu, and the peak of live memory."""

from __future__ import annotations

from math import prod

from chipfit.core.graph import Graph
from chipfit.core.types import Measurement
from chipfit.evaluate.units import Unit, UnitMap, term
from chipfit.space.menu import Menu, Term
from chipfit.space.offer import Offer


def _kernel(unit: Unit) -> tuple[int, int]:
    """(weights, output pixels) of a convolution or linear layer."""
    if unit.kind == "linear":
        return unit.cin * unit.cout, 1
    groups = unit.cin if unit.attr("groups") == "dw" else int(unit.attr("groups"))
    return unit.cin // groups * unit.cout * prod(unit.attr("kernel")), prod(unit.out_size)


def macs(unit: Unit) -> int:
    """Multiply-accumulates for one input."""
    weights, pixels = _kernel(unit)
    return weights * pixels


def priced_counts(graph: Graph, offer: Offer) -> Menu:
    """The offer's menu with terms for `macs`, `params`, `bops` and `size_mb` (weights and scales, not names)."""
    units = UnitMap(graph, offer)
    terms: list[Term] = []
    for site in units.sites:
        if site.op.kind not in ("conv", "linear"):
            continue
        on, cells = units.table(site)
        numbers = {cell: _counts(u, site.affine) if u else (0.0,) * 4 for cell, u in cells.items()}
        for i, metric in enumerate(("macs", "params", "bops", "size_mb")):
            terms.append(term(offer.menu, metric, on, {c: n[i] for c, n in numbers.items()}, site.op.name))
    return offer.menu.priced(terms)


def _counts(unit: Unit, affine: int) -> tuple[float, float, float, float]:
    weights, pixels = _kernel(unit)
    work = weights * pixels
    size = weights * unit.bits / 8 + unit.cout * (4 if unit.bits == 32 else 9)  # bias; with int8 scale and zero point
    return float(work), float(weights + affine * unit.cout), float(work * unit.bits**2), size / 1e6


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
