"""What is coupled: which channels must vanish together, which blocks can be dropped, which operators share a precision.

Every axis of every value is a row of *segments* (`space.axes`), each of channels of one or several groups. Convolutions
and dense layers end groups on their input side (they consume them) and begin one on their output side (they produce
it); batch norm and depth-wise convolutions carry it; additions and products join two; concatenations put segments side
by side, reshapes split and merge them. What breaks the bookkeeping freezes the groups it touches, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod

import numpy as np
from numpy.typing import NDArray

from chipfit.core.graph import Graph
from chipfit.space.axes import Axis, groups_on, places_of
from chipfit.space.blocks import Block, residual_blocks
from chipfit.space.coupling import Analysis
from chipfit.space.naming import Names
from chipfit.space.sites import QUANTISABLE, Site, precisions, sites

__all__ = [
    "QUANTISABLE",
    "Block",
    "ChannelGroup",
    "Consumer",
    "Coupling",
    "Site",
    "channel_groups",
    "precisions",
    "residual_blocks",
    "sites",
]


@dataclass(frozen=True, slots=True)
class Consumer:
    """A layer whose weight has a group on its input side; `axis` is all that stands on that axis of the weight."""

    op: str
    axis: Axis

    def places(self, group: ChannelGroup) -> NDArray[np.intp]:
        """(channels, places of each) of a group on the weight's input axis."""
        return places_of(self.axis, group.name, group.size)


@dataclass(frozen=True, slots=True)
class ChannelGroup:
    """One width: output channels of its producers, which vanish together.

    `made` is what stands on the axis of each producer's channels.
    `carriers` are batch norms and depth-wise convolutions whose channels (from an offset on) vanish with them.
    `products` are operators that sum over its channels without weights, such as an attention's over those of a head.
    `norms` are those that read the group's channels, as a stream's: they are worth something in their order alone.
    A channel of the group is `inner` channels of its producers next to one another, and this `outer` times: a head is
    as many as it is wide, and a channel of each head one for every head.
    """

    name: str
    size: int
    producers: tuple[str, ...]
    made: tuple[Axis, ...]
    carriers: tuple[tuple[str, int], ...]
    consumers: tuple[Consumer, ...]
    products: tuple[str, ...] = ()
    outer: int = 1
    inner: int = 1
    norms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Coupling:
    """All channel groups of a graph, and why others cannot be touched.

    `axes` gives every axis of every operator's output, `arrays` every axis of every array, "" being the group of what
    is frozen. `counts` says of attributes that count channels what they count: (operator, attribute) to an axis.
    `frozen` lists (layer, reason) for every convolution and dense layer whose width is fixed.
    """

    groups: tuple[ChannelGroup, ...]
    frozen: tuple[tuple[str, str], ...]
    axes: Mapping[str, tuple[Axis, ...]]
    arrays: Mapping[str, tuple[Axis, ...]]
    counts: Mapping[tuple[str, str], Axis] = field(default_factory=dict)

    def group(self, name: str) -> ChannelGroup:
        """The group of this name; KeyError where there is none."""
        for g in self.groups:
            if g.name == name:
                return g
        raise KeyError(f"no channel group {name!r}; there are {', '.join(g.name for g in self.groups)}")


def channel_groups(graph: Graph) -> Coupling:
    """The channel groups of a graph, in the order of their first producers."""
    analysis = Analysis(graph)
    names = Names(analysis)
    reasons = {op: names.reason(op) for op in analysis.makers}
    return Coupling(
        tuple(_groups(analysis, names)),
        tuple((op, reason) for op, reason in reasons.items() if reason),
        {name: names.axes(rows) for name, rows in analysis.rows.items()},
        {name: names.axes(rows) for name, rows in analysis.arrays.items()},
        {key: names.axis(row) for key, row in analysis.counts.items()},
    )


def _groups(analysis: Analysis, names: Names) -> Iterator[ChannelGroup]:
    for atom, name in names.of.items():
        if names.fixed(atom):
            continue
        made = tuple(names.axis(analysis.makers[op]) for op in names.makers[atom])
        outer, inner = _around(made[0], name)
        yield ChannelGroup(
            name,
            names.sizes[atom],
            tuple(names.makers[atom]),
            made,
            tuple((op, _start(names.axis(analysis.carriers[op]), name)) for op in names.carriers[atom]),
            tuple(Consumer(op, names.axis(analysis.readers[op])) for op in names.readers[atom]),
            tuple(dict.fromkeys(names.products[atom])),
            outer,
            inner,
            tuple(names.norms[atom]),
        )


def _start(axis: Axis, group: str) -> int:
    """The first place on an axis of a segment that a group is in."""
    start = 0
    for segment in axis:
        if group in groups_on((segment,)):
            break
        start += segment.size
    return start


def _around(axis: Axis, group: str) -> tuple[int, int]:
    """How often a group stands on an axis, and how many places one of its channels is there, each time."""
    for segment in axis:
        for n, factor in enumerate(segment.factors):
            outer, inner = (prod(f.size for f in part) for part in (segment.factors[:n], segment.factors[n + 1 :]))
            if factor.group == group:
                return outer, inner
            if factor.within and group in groups_on(factor.within):
                more, less = _around(factor.within, group)
                return outer * more, inner * less
    return 1, 1
