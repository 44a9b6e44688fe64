"""What needs no device: MACs, parameters, bit operations and bytes as terms of a menu, and the peak of live memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Final

from chipfit.core.channels import array_axis
from chipfit.core.graph import Graph, Op
from chipfit.core.kernel import Kernel, kernel, members
from chipfit.core.kinds import named
from chipfit.core.types import Measurement
from chipfit.evaluate.cells import ByOperator, Cell, Cells, Variants
from chipfit.evaluate.pieces import pieces, term
from chipfit.evaluate.programs import LAYER, instead
from chipfit.space.menu import Menu, Term
from chipfit.space.offer import Offer
from chipfit.space.programmed import Programs

METRICS: Final = ("macs", "params", "bops", "size_mb")

Numbers = tuple[float, ...]
"""One of each of `METRICS`."""


def _weights(kernel: Kernel) -> int:
    """Values in the weight of a convolution or linear layer."""
    if kernel.kind == "linear":
        return kernel.cin * kernel.cout
    groups, taps = kernel.attr("groups"), prod(kernel.attr("kernel"))
    return int(kernel.cout * taps if groups == "dw" else kernel.cin // groups * kernel.cout * taps)


def _uses(kernel: Kernel) -> int:
    """How often each value of that weight is used for one input."""
    return int(kernel.attr("rows", 1)) if kernel.kind == "linear" else prod(kernel.out_size)


def macs(kernel: Kernel) -> int:
    """Multiply-accumulates of a convolution or linear layer for one input."""
    return _weights(kernel) * _uses(kernel)


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


@dataclass(frozen=True, slots=True)
class Counts:
    """What is counted at an operator that is no layer of channels in and out, of one edited graph.

    Its learnt values, the bytes of its arrays in a float and in an int8 file, and its multiply-accumulates.
    """

    params: int
    stored_bytes: int
    int8_bytes: int
    macs: int
    bits: int

    @property
    def numbers(self) -> tuple[float, ...]:
        """The numbers of `METRICS`."""
        held = self.stored_bytes if self.bits == 32 else self.int8_bytes
        return float(self.macs), float(self.params), float(self.macs * self.bits**2), held / 1e6


def _counts(kernel: Kernel, held: Held, uses: int) -> tuple[float, ...]:
    """The numbers of `METRICS` of a kernel whose weights are used this often, 0 for what has no weight."""
    weights = _weights(kernel) if uses else 0
    work = weights * uses
    bytes_each = held.stored_bytes if kernel.bits == 32 else held.int8_bytes
    size = (weights if held.stored or kernel.bits == 8 else 0) * kernel.bits / 8 + kernel.cout * bytes_each
    params = weights * held.weight + held.values * kernel.cout + held.more
    return float(work), float(params), float(work * kernel.bits**2), size / 1e6


def priced_counts(graph: Graph, offer: Offer, variants: Variants | None = None) -> Menu:
    """The offer's menu with terms for `macs`, `params`, `bops` and `size_mb` (weights and scales, not names).

    They are those of the edited graph, to the digit. `variants` are the menu's, for callers that read more off them.
    """
    variants, holders = variants or Variants(graph, offer.menu), _Holders(graph)
    owners = _owners(variants)
    terms: list[Term] = []
    for cells in variants.cells(ByOperator(holders.read)):
        held, programs = holders.held(cells.op, owners), variants.programs.get(cells.op)
        read = partial(_as_program, bias=int(graph[cells.op]["bias"]))
        terms += _terms(offer.menu, cells, held) if programs is None else _over(offer.menu, cells, held, programs, read)
    for others in variants.cells(ByOperator(partial(holders.counts, owners))):
        terms += _other_terms(offer.menu, others)
    return offer.menu.priced(terms)


def _terms(menu: Menu, cells: Cells[Kernel], held: Held) -> list[Term]:
    """The counts at a layer."""
    terms = []
    for n, piece in enumerate(pieces(cells, own=True)):
        here = held if n == 0 else held.further(piece.again)
        there = {cell: mix[0][1] for cell, mix in piece.cells.items() if mix}
        by_cell = {cell: _counts(record, here, _uses(record)) for cell, record in there.items()}
        terms += _of_metrics(menu, piece.on, by_cell, cells.op)
    return terms


def _over(
    menu: Menu, cells: Cells[Kernel], held: Held, programs: Programs, read: Callable[[Kernel, str, Held], Numbers]
) -> list[Term]:
    """The counts at a layer that programs may compute; it reads and makes channels of one group each."""
    by_cell: dict[Cell, Numbers] = {}
    for cell, record in cells.records.items():
        for o, text in enumerate(programs.texts):
            if record is not None:
                by_cell[*cell, o] = read(record, text, held) if text else _counts(record, held, _uses(record))
    return _of_metrics(menu, (*cells.on, programs.decision), by_cell, cells.op)


def _of_metrics(menu: Menu, on: tuple[int, ...], by_cell: Mapping[Cell, Numbers], label: str) -> list[Term]:
    """A term of each of `METRICS`."""
    found = []
    for i, metric in enumerate(METRICS):
        found.append(term(menu, metric, on, {cell: counts[i] for cell, counts in by_cell.items()}, label))
    return found


def _as_program(layer: Kernel, text: str, held: Held, bias: int) -> Numbers:
    """The numbers of `METRICS` of a program in a layer's place; the norm behind that is as it was.

    In a file each of its layers has its values, in int8 a scale and a place of zero for each channel too.
    """
    graph = instead(layer, text, bias)
    learnt = sum(prod(shape) for o in graph for shape in graph.learnt(o).values())
    beside = (held.values - bias) * layer.cout + held.more
    each = held.stored_bytes if layer.bits == 32 else held.int8_bytes
    stored = float(layer.cout * each)
    for o in graph:
        arrays = sum(prod(shape) for role, shape in graph.roles(o).items() if role != "bias" or o.name != LAYER)
        stored += arrays * o.bits / 8 + (SCALES * o.shape[array_axis(o)] if o.bits == 8 and arrays else 0)
    work = graph.total_macs
    return float(work), float(learnt + beside), float(work * layer.bits**2), stored / 1e6


SCALES = 5
"""Bytes of a scale and a place of zero."""


def _other_terms(menu: Menu, cells: Cells[Counts]) -> list[Term]:
    """The counts at any other operator, of those metrics that it has any of."""
    terms = []
    for piece in pieces(cells, own=True):
        by_cell = {cell: mix[0][1].numbers for cell, mix in piece.cells.items() if mix}
        for i, metric in enumerate(METRICS):
            numbers = {cell: counts[i] for cell, counts in by_cell.items()}
            if any(numbers.values()):
                terms.append(term(menu, metric, piece.on, numbers, cells.op))
    return terms


class _Holders:
    """The operators that arrays are counted at: layers, with the norms that are folded into them, and others."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.layers = {o.name: members(graph, o) for o in graph if _counted_by_channels(o)}
        self.folded = {name for names in self.layers.values() for name in names}
        self.first = {self._arrays(name): name for name in reversed(self.layers)}

    def read(self, graph: Graph, o: Op) -> Kernel | None:
        """A layer of an edited graph, without its activation."""
        return kernel(graph, o) if o.name in self.layers else None

    def counts(self, owners: Mapping[str, str], graph: Graph, o: Op) -> Counts | None:
        """What is counted at any other operator of an edited graph that anything is counted at."""
        counts = o.name not in self.folded and (graph.weight_shapes(o) or graph.macs(o))
        return _counted(graph, o, owners) if counts else None

    def held(self, op: str, owners: Mapping[str, str]) -> Held:
        """What is counted at a layer; `owners` tells of each array where it is."""
        found = _held(self.graph, self.graph[op], self.layers[op], owners)
        once = self.first[self._arrays(op)] != op
        return replace(found, stored=False, stored_bytes=0) if once else found

    def _arrays(self, layer: str) -> tuple[str, ...]:
        """The arrays that a layer's are folded from; a float file holds those that are folded alike once."""
        return tuple(name for m in self.layers[layer] for name in self.graph.weight_shapes(self.graph[m]))


def _counted_by_channels(o: Op) -> bool:
    """True of layers whose weights are their channels in times those out, times taps."""
    return o.kind == "linear" or (o.kind == "conv" and len(o["kernel"]) == 2)


def _counted(graph: Graph, o: Op, owners: Mapping[str, str]) -> Counts:
    """What is counted at an operator that is no such layer."""
    mine = [prod(shape) for name, shape in graph.learnt(o).items() if owners[name] == o.name]
    stored = 4 * sum(prod(shape) for shape in graph.weight_shapes(o).values())
    # a norm that stands alone is written in int8 as the depth-wise layer that it is
    low = 10 * o.shape[array_axis(o)] if o.kind == "batch_norm" else stored
    return Counts(sum(mine), stored, low, graph.macs(o), o.bits)


def _owners(variants: Variants) -> dict[str, str]:
    """Array to the operator that it is counted at: of those that use it, one that is there as long as any is."""
    graph = variants.graph
    users: dict[str, list[str]] = defaultdict(list)
    for o in graph:
        for name in graph.weight_shapes(o):
            users[name].append(o.name)
    there = variants.cells(ByOperator(lambda of, o: o.kind if of.weight_shapes(o) else None))
    dropped = {c.op: frozenset[int]().union(*map(c.drops, c.alone)) for c in there}
    found = {}
    for name, ops in users.items():
        last = frozenset.intersection(*(dropped[op] for op in ops))
        found[name] = next((op for op in ops if dropped[op] == last), ops[0])
    return found


def _held(graph: Graph, o: Op, names: Sequence[str], owners: Mapping[str, str]) -> Held:
    """What is counted at a layer; `names` are the operators whose arrays it holds."""
    mine = []
    for name in names:
        learnt = graph.learnt(graph[name])
        mine += [shape for array, shape in learnt.items() if owners[array] == name]
    width = o.shape[array_axis(o)]
    beside = [shape for shape in mine if len(shape) == 1]
    values = sum(1 for shape in beside if shape == (width,))
    more = sum(prod(shape) for shape in beside if shape != (width,))
    return Held(any(len(shape) > 1 for shape in mine), True, values, more, 4, 9)


def counted(graph: Graph) -> tuple[Measurement, ...]:
    """MACs, parameters and peak memory of a graph, exact."""
    return (
        Measurement("macs", float(graph.total_macs), "counted"),
        Measurement("params", float(graph.total_params), "counted"),
        Measurement("peak_memory_mb", peak_memory_mb(graph), "counted"),
    )


def peak_memory_mb(graph: Graph) -> float:
    """Megabytes of activations alive at the worst moment, operators run in order, batch norm and ReLU in place."""
    in_place_kinds = named(lambda kind: kind.in_place) | {"BatchNormalization", "Relu", "Flatten"}
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
