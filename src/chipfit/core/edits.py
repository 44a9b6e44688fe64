"""Edits, and graphs that explain how edits made them: the words that all who change networks share.

What a kind of edit does to a graph is in `space.edits`, one file each, beside the records of kinds that only it knows;
the records here are those that others name. What edits do comes out as an `Edited`: whoever holds weights makes those
of the new graph from `arrays`, and whoever repairs them finds in `stands_for` what to hold them against, without
knowing one kind from another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from chipfit.core.graph import Graph, Op

Indices = tuple[int, ...]
"""0-based places along an axis, ascending."""


class Edit:
    """One change to a network, as a frozen record of plain data. Each kind of edit is a class of its own."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Width(Edit):
    """Keep only these channels (ascending, 0-based) of a coupled channel group."""

    group: str
    keep: Indices


@dataclass(frozen=True, slots=True)
class Skip(Edit):
    """Drop the body of a residual block; `block` is the name of its add. What is left is the shortcut."""

    block: str


@dataclass(frozen=True, slots=True)
class Swap(Edit):
    """Compute a layer by a program of other operators, which is written as `space.program` does."""

    layer: str
    program: str


@dataclass(frozen=True, slots=True)
class Precision(Edit):
    """Compute a site (a run of operators) with these bits: 8 is int8 QDQ, 32 float.

    With `alone` the site is one layer, which is named by it, with what is computed together with it.
    """

    site: str
    bits: int
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Same:
    """An array of the original as it is."""

    name: str


@dataclass(frozen=True, slots=True)
class Take:
    """Parts of an array of the original: of each axis in `axes` these places, of the others all."""

    name: str
    axes: Mapping[int, Indices]


@dataclass(frozen=True, slots=True)
class Padded:
    """An array with zeros around it: on each axis in `around` so many before and after."""

    of: Source
    around: Mapping[int, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Masked:
    """Kernels (..., rows, columns) with zeros outside of patterns, which are the flat places that stay, ascending.

    Each kernel takes the pattern that keeps the largest sum of squares, the first of equals.
    """

    of: Source
    patterns: tuple[Indices, ...]


@dataclass(frozen=True, slots=True)
class Factor:
    """What an array's places on axis 0 are multiplied by when it is stored: scale / √(variance + eps).

    A batch norm behind a layer has all three, an affine the scale alone.
    """

    scale: Source
    variance: Source | None = None
    eps: float = 0.0


@dataclass(frozen=True, slots=True)
class Rounded:
    """An array in fixed point (`core.fixed_point`); with `factor` such that it is on the grid once multiplied by it."""

    of: Source
    integer: int
    fraction: int
    factor: Factor | None = None


@dataclass(frozen=True, slots=True)
class Fitted:
    """An array of the operators that stand in the place of a layer: together they are fitted to the layer's weight.

    `of` is how that weight is made, `layer` the operator that has it, narrowed as it may be. `instead` has the
    operators in its place behind an input, which is what the layer reads; `array` is one of their arrays.
    """

    of: Source
    layer: Op
    instead: Graph
    array: str


Source = Same | Take | Padded | Masked | Rounded | Fitted
"""How an array is made. The innermost of nested sources is a `Same` or a `Take`."""


def innermost(source: Source) -> Same | Take:
    """What an array is made of before it is padded, masked, rounded or fitted."""
    return source if isinstance(source, Same | Take) else innermost(source.of)


@dataclass(frozen=True, slots=True)
class Edited:
    """A graph after edits, explained by the graph that they are edits of, the original.

    `arrays` says of every array of the new graph how it is made. `stands_for` says of an operator which operator's
    output in the original it should have: its own, or where blocks were dropped behind it, what they made of it. Where
    it has some channels of that output only, `channels` says which places on which axes, 0 being the first after the
    batch. `within` are the operators that stand for none: those that are new, each with the layer in whose place it is.
    """

    graph: Graph
    arrays: Mapping[str, Source]
    stands_for: Mapping[str, str]
    channels: Mapping[str, Mapping[int, Indices]]
    within: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def nothing(cls, graph: Graph) -> Edited:
        """The graph as it is, before any edit."""
        arrays = {name: Same(name) for o in graph for name in graph.weight_shapes(o)}
        return cls(graph, arrays, {o.name: o.name for o in graph}, {})
