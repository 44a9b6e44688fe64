"""What stands between kernels: conversions of precision, and maps that leave the kernels' layout.

A crossing is a value on its way from an operator to some of its readers. Which readers go together is settled on the
graph as it is (those of one precision site, or the convolutions among them); what crosses is read off edited graphs:
where a block was dropped its readers read what stood before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from chipfit.core.graph import Attr, Graph, Op
from chipfit.core.kernel import Kernel
from chipfit.space.groups import sites

Sites = Mapping[str, str]
"""Operator to the precision site that it is in, of those sites that a menu decides on."""


@dataclass(frozen=True, slots=True)
class Edge:
    """From an operator to readers in one site: `readers` are (operator, which of its inputs)."""

    source: str
    readers: tuple[tuple[str, int], ...]

    @property
    def name(self) -> str:
        """Another one for each edge."""
        return f"{self.source} -> {self.readers[0][0]}"


@dataclass(frozen=True, slots=True)
class Crossing:
    """A value of so many channels of a `size`, made in `bits` and read in `to_bits`.

    Where a max pool is among its readers, `pooled` is the size of what that makes; `pool` are its attributes if a
    convolution reads it, for which runtimes quantise before it.
    """

    channels: int
    size: tuple[int, ...]
    bits: int
    to_bits: int
    pool: tuple[tuple[str, Attr], ...] = ()
    pooled: tuple[int, ...] = ()


def decided_sites(graph: Graph, decided: Iterable[str]) -> Sites:
    """The operators of the precision sites of these names."""
    names = frozenset(decided)
    return {op: s.name for s in sites(graph) if s.name in names for op in s.ops}


def boundaries(graph: Graph, at: Sites) -> tuple[Edge, ...]:
    """Where a value may change its precision: from an operator of one site to all readers in another."""
    found = []
    for o in graph:
        others = dict.fromkeys(at[u] for u in graph.users[o.name] if u in at and o.name in at and at[u] != at[o.name])
        for site in others:
            readers = [u for u in graph.users[o.name] if at.get(u) == site]
            found.append(_edge(graph, o.name, readers))
    return tuple(found)


def readings(graph: Graph, at: Sites) -> tuple[Edge, ...]:
    """Where convolutions over all channels read a map, those of one site together."""
    found = []
    for o in graph:
        convs = [u for u in graph.users[o.name] if graph[u].kind == "conv" and graph[u]["groups"] == 1]
        if o.kind != "input" and len(o.shape) == 3:
            for site in dict.fromkeys(at.get(u) for u in convs):
                found.append(_edge(graph, o.name, [u for u in convs if at.get(u) == site]))
    return tuple(found)


def crossings(edges: Sequence[Edge], at: Sites) -> Callable[[Graph], dict[str, Crossing]]:
    """Reads what crosses these edges off a graph, by their names; nothing does where no reader is left."""

    def read(graph: Graph) -> dict[str, Crossing]:
        low = _site_bits(graph, at)
        found = {}
        for edge in edges:
            left = [(graph[u], i) for u, i in edge.readers if u in graph.by_name]
            if left:
                first, i = left[0]
                source = graph[first.inputs[i]]
                made_in = low.get(at.get(source.name, ""), source.bits)
                # what reads at a precision that nobody decides on is taken to read what was made
                read_in = low.get(at.get(first.name, ""), made_in)
                found[edge.name] = _crossing(graph, source, [o for o, _ in left], made_in, read_in)
        return found

    return read


def _site_bits(graph: Graph, at: Sites) -> dict[str, int]:
    """The bits of each site: those of the operators in it that have a form in them, the others stay float."""
    found: dict[str, int] = {}
    for o in graph:
        if o.name in at:
            found[at[o.name]] = min(o.bits, found.get(at[o.name], o.bits))
    return found


def _crossing(graph: Graph, source: Op, readers: Sequence[Op], made_in: int, read_in: int) -> Crossing:
    found = Crossing(source.shape[0], source.shape[1:], made_in, read_in)
    pool = next((o for o in readers if o.kind == "max_pool"), None)
    if pool is None:
        return found
    return replace(found, pool=pool.attrs if read_by_conv(graph, pool) else (), pooled=pool.shape[1:])


def read_by_conv(graph: Graph, o: Op) -> bool:
    """True where a convolution reads an operator's output."""
    return any(graph[user].kind == "conv" for user in graph.users[o.name])


def conversion(value: Crossing) -> Kernel | None:
    """The conversion of a value between precisions; None where there is none.

    Around a max pool, from int8 it stands behind the pool, to int8 before it.
    """
    c = value.channels
    if value.bits == value.to_bits or len(value.size) != 2:
        return None
    if not value.pooled:
        return Kernel("boundary", c, c, value.size, value.bits)
    if value.bits == 8 or not value.pool:
        return Kernel("boundary", c, c, value.pooled, value.bits)
    return Kernel("boundary before a pool", c, c, value.size, value.bits, "", value.pool)


def unblocked(value: Crossing, block: int) -> Kernel | None:
    """What it takes to bring a map out of the kernels' layout, for convolutions narrower than a block.

    Only from float to float: conversions between precisions change the layout themselves.
    """
    narrow = value.bits == value.to_bits == 32 and value.channels < block
    return Kernel("unblocked", value.channels, value.channels, value.size, 32) if narrow else None


def _edge(graph: Graph, source: str, readers: Sequence[str]) -> Edge:
    return Edge(source, tuple((u, graph[u].inputs.index(source)) for u in readers))
