"""How many widths of a group of channels are offered, so that the tables of a large network stay small.

Each width is an edit of the whole graph, which all that costs something is read off. And a layer's cost is a table over
the widths of what it reads and of what it makes: with a step of 16 channels a layer from 512 to 2,048 has 4,096
entries. The exact solver has a variable for each, and takes minutes over a hundred thousand.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from chipfit.core.graph import Graph
from chipfit.space.apart import apart
from chipfit.space.groups import ChannelGroup, channel_groups
from chipfit.space.offer import LEAST_STEP
from chipfit.space.widths import offered_widths

MOST_CELLS = 5_000
"""Entries of the tables of all layers together."""

MOST_OPTIONS = 400
"""Widths of all groups together: the graph is edited once for each, and read by all that costs something."""

FEWEST = 5
"""Widths that a group is offered at least, where it has so many: whole, three quarters, half, a quarter, least."""


MOST_BESIDE = 3
"""Groups that one table is over, such as whole groups of a convolution, its channels in and out of each."""


def most_widths(graph: Graph, block: Mapping[int, int], most_cells: int = MOST_CELLS) -> int | None:
    """Widths of one group at most, from the whole one to the narrowest; None where all of them can be offered."""
    step = max(LEAST_STEP, min(block.values(), default=LEAST_STEP))
    groups = apart(graph, channel_groups(graph)).groups
    widths = {g.name: len(offered_widths(g, step)) for g in groups}
    layers = _layers(groups)
    most = max(widths.values(), default=0)
    bounds = [None, *(n for n in range(most - 1, FEWEST - 1, -1))]
    for bound in bounds:
        options = sum(min(n, bound or most) for n in widths.values())
        if options <= MOST_OPTIONS and _cells(layers, widths, bound or most) <= most_cells:
            return bound
    return FEWEST if bounds[1:] else None


def _layers(groups: tuple[ChannelGroup, ...]) -> dict[str, set[str]]:
    """The groups that each layer reads or makes."""
    found: dict[str, set[str]] = {}
    for g in groups:
        for layer in (*g.producers, *(c.op for c in g.consumers), *(name for name, _ in g.carriers)):
            found.setdefault(layer, set()).add(g.name)
    return found


def _cells(layers: Mapping[str, set[str]], widths: Mapping[str, int], most: int) -> int:
    """Entries of all tables where no group has more than so many widths; behind a stack each group has its own."""
    total = 0
    for groups in layers.values():
        each = sorted((min(widths[g], most) for g in groups), reverse=True)
        total += prod(each[:MOST_BESIDE] if len(each) <= MOST_BESIDE else each[:2])
    return total
