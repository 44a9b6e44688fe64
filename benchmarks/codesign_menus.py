"""Menus for the joint search: widths, blocks, and the weights of each layer, with damage that is measured or made up.

Networks of the zoo have weights, and their damage is measured on 128 images that nothing was repaired on. The published
networks have none here; theirs is made up, the same for every search that is compared. A layer of which the share k of
the multiplications a weight is left, in b bits (16 untouched), harms by

    (share of all weights)^(1/2)  ((1 - k)^2 + 4^(3 - b))

and a block that is dropped like layers of which nothing is left. An option harms by the sum over the layers that it
changes, and options of several decisions by their sum.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from math import prod

import numpy as np

from chipfit.compress.patterns import pattern_sets, prunable
from chipfit.compress.profile import profile
from chipfit.compress.stored import stored_weights
from chipfit.core.fixed_point import WIDEST, integer_bits
from chipfit.core.graph import LAYERS, Graph, Network, Op
from chipfit.data.load import load_data
from chipfit.evaluate.damage import damage
from chipfit.nets.published import published
from chipfit.nets.zoo import load_zoo
from chipfit.space import edits as on_graph
from chipfit.space.edits.layer import alone
from chipfit.space.edits.pattern import candidates
from chipfit.space.knobs import Knobs
from chipfit.space.menu import Choice, Menu, Term
from chipfit.space.offer import offer

FORMATS = (8, 6)
"""Bits of fixed-point weights that are offered, where weights are not the bottleneck of a part only."""
PRUNED = {3: (2, 4)}
"""Size of a kernel to the zeros that its patterns may have."""
MEASURED_ON = 128
"""Images to repair on, and as many others to score."""


@dataclass(frozen=True)
class Case:
    """A network and its menu with damage; `made_up` where it has no weights."""

    name: str
    graph: Graph
    menu: Menu
    made_up: bool


@cache
def case(name: str, step: int) -> Case:
    """The case of a zoo network ("fashion-mnist/resnet20") or of a published one; widths in steps of so many."""
    if "/" in name:
        network = load_zoo(name).network
        return Case(name, network.graph, _measured(name.partition("/")[0], network, step), False)
    graph = published(name)
    menu = offer(graph, {32: step}, bits=(32,), knobs=_knobs(graph, {}, {})).menu
    return Case(name, graph, menu.priced(made_up(graph, menu)), True)


def _measured(data: str, network: Network, step: int) -> Menu:
    dataset = load_data(data)
    inputs = dataset.normalise(dataset.calibration(1024 + 2 * MEASURED_ON).inputs)
    made = profile(network, inputs[: 1024 - MEASURED_ON], np.random.default_rng(0))
    sets = {size: sets[1::2] for size, sets in pattern_sets(network).items() if size in PRUNED}
    whole = {o.name: integer_bits(stored_weights(network, o.name)) for o in network.graph if alone(network.graph, o)}
    offered = offer(network.graph, {32: step}, bits=(32,), knobs=_knobs(network.graph, sets, whole))
    repair, score = inputs[1024 : 1024 + MEASURED_ON], inputs[1024 + MEASURED_ON :]
    return damage(network, offered, made, repair, score)[0]


def _knobs(
    graph: Graph, sets: Mapping[int, Collection[tuple[tuple[int, ...], ...]]], whole: Mapping[str, int]
) -> dict[str, Knobs]:
    """Two sets of patterns for 3x3 kernels, two formats and int8, for every layer whose weights are its own."""
    found = {}
    for o in graph:
        if not alone(graph, o):
            continue
        size = o["kernel"][0] if prunable(graph, o) and not _depthwise(o) else 0
        some = sets.get(size) or [candidates(size, zeros)[:1] for zeros in PRUNED.get(size, ())]
        i = whole.get(o.name, 1)
        formats = tuple((i, bits - i) for bits in FORMATS if bits > i)
        found[o.name] = Knobs(tuple(some), False, formats, True)
    return found


def _depthwise(o: Op) -> bool:
    return o.kind == "conv" and o["groups"] > 1


def made_up(graph: Graph, menu: Menu) -> list[Term]:
    """Damage of each option by the weights and bits that it takes away. Tied options harm where the tie begins."""
    follow: set[Choice] = {choice for _, choice in menu.ties}
    before = _layers(graph)
    whole = sum(weights for weights, _, _ in before.values())
    terms = []
    for d, decision in enumerate(menu.decisions):
        table = np.zeros(len(decision.options))
        for n, option in enumerate(decision.options):
            if option.edits and (d, n) not in follow:
                after = _layers(on_graph.apply(graph, option.edits))
                table[n] = sum(_harm(before[op], after.get(op), whole) for op in before)
        terms.append(Term("damage", (d,), table, decision.name))
    return terms


def _layers(graph: Graph) -> dict[str, tuple[float, float, int]]:
    """Layer to its weights, the share of its taps that is computed, and the bits of its weights."""
    found = {}
    for o in graph:
        if o.kind in LAYERS:
            attrs = dict(o.attrs)
            weights = float(prod(graph.weight_shapes(o)[o.array("weight")]))
            share = float(attrs.get("taps", 0)) / prod(o["kernel"]) if "taps" in attrs else 1.0
            fixed = attrs.get("integer_bits", 0) + attrs.get("fraction_bits", 0)
            found[o.name] = weights, share, 8 if o.bits == 8 else fixed or WIDEST
    return found


def _harm(before: tuple[float, float, int], after: tuple[float, float, int] | None, whole: float) -> float:
    weights, _, _ = before
    left, taps, bits = after or (0.0, 0.0, WIDEST)
    kept = left * taps / weights
    lost = (1 - kept) ** 2 + (4.0 ** (3 - bits) if bits < WIDEST else 0.0)
    return float(np.sqrt(weights / whole) * lost)
