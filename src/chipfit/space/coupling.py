"""Goes through a graph once and finds what stands on every axis of its values and arrays (`terms`).

What an operator says of its channels is its rule, one a kind (`coupling_rules`). A kind without one is opaque: what it
reads is frozen, and so is what it makes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import reduce

from chipfit.core.channels import array_axis
from chipfit.core.graph import Graph, Op
from chipfit.space.coupling_rules import rule_of
from chipfit.space.streams import streams
from chipfit.space.terms import Row, Terms, fixed, length

Rows = tuple[Row, ...]
"""What stands on each axis."""


class Analysis:
    """The axes of a graph's values and arrays.

    `makers` are convolutions, dense layers and others that make channels, with what stands on the axis of these;
    `readers` those that end them, with the axis of their weight that they are on; `carriers` have a value for each
    channel; `products` sum over channels of values, without weights; `norms` read a stream (`streams`), whose width
    they leave free. `counts` are attributes that count channels.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.terms = Terms()
        self.rows: dict[str, Rows] = {}
        self.arrays: dict[str, Rows] = {}
        self.counts: dict[tuple[str, str], Row] = {}
        self.makers: dict[str, Row] = {}
        self.readers: dict[str, Row] = {}
        self.carriers: dict[str, Row] = {}
        self.products: list[tuple[str, Row]] = []
        self.norms: dict[str, Row] = {}
        self.turnable = {norm for s in streams(graph) for norm in s.norms}
        for o in graph:
            rule = rule_of(o.kind)
            self.rows[o.name] = self.opaque(o) if rule is None else rule(self, o)
        self.keep(self.rows[graph.output], "its outputs are the network's answers")
        self._once()

    def of(self, o: Op, i: int = 0) -> Rows:
        """What stands on the axes of an operator's i-th input."""
        return self.rows[o.inputs[i]]

    def keep(self, rows: Iterable[Row], reason: str) -> None:
        """Freezes what stands on some axes."""
        for row in rows:
            self.terms.freeze(row, reason)

    def join(self, a: Rows, b: Rows, why: str) -> None:
        """Makes axes the same one by one, or freezes all where there are not equally many."""
        if len(a) != len(b):
            self.keep((*a, *b), why)
            return
        for row, other in zip(a, b, strict=True):
            self.terms.join(row, other, why)

    def opaque(self, o: Op, reason: str = "") -> Rows:
        """A value whose channels are not followed: what goes in is frozen, and so is what comes out."""
        why = reason or f"{o.kind} '{o.name}' rearranges channels"
        for i in o.inputs:
            self.keep(self.rows[i], why)
        for role, shape in self.graph.roles(o).items():
            self.array(o, role, still(shape))
        return (self.terms.new(o.shape[0], why), *still(o.shape[1:])) if o.shape else ()

    def layer(self, o: Op, out: Row, into: Row) -> None:
        """A layer whose weight has `out` on its first axis and `into` on its second."""
        for role, shape in self.graph.roles(o).items():
            rows = (out, into, *still(shape[2:])) if len(shape) > 1 else (out,)
            self.array(o, role, rows)
        self.makers[o.name], self.readers[o.name] = out, into

    def carry(self, o: Op) -> None:
        """An operator with arrays of a value for each channel."""
        row = self.of(o)[array_axis(o)]
        for role, shape in self.graph.roles(o).items():
            self.array(o, role, (row, *still(shape[1:])))
        self.carriers[o.name] = row

    def array(self, o: Op, role: str, rows: Rows) -> None:
        """Says what is on the axes of an array; all uses of one have the same."""
        name = o.array(role)
        if name in self.arrays:
            self.join(self.arrays[name], rows, f"layer '{o.weights}' is used twice with different channels")
        else:
            self.arrays[name] = rows

    def reshaped(self, rows: Rows, shape: Sequence[int], why: str) -> Rows:
        """What stands on the axes of a value once it has another shape.

        Axes are taken together, of the old shape and of the new one, until both hold equally many places.
        """
        old, found = [row for row in rows if length(row) > 1], list[Row]()
        left = fixed(1)
        for n in shape:
            if n == 1:
                found.append(fixed(1))
                continue
            while length(left) % n or length(left) < n:
                left = self.terms.times(left, old.pop(0)) if length(left) > 1 else old.pop(0)
            outer, left = self._first(left, n, why)
            found.append(outer)
        return tuple(found)

    def _first(self, row: Row, size: int, why: str) -> tuple[Row, Row]:
        """The slow end of an axis, of so many places, and what is within it."""
        if length(row) == size:
            return row, fixed(1)
        return self.terms.split(row, length(row) // size, why)

    def merged(self, rows: Rows) -> Row:
        """All axes as one."""
        return reduce(self.terms.times, rows)

    def _once(self) -> None:
        """Freezes what stands twice within one another, as the flattened product of a value with itself has it."""
        for rows in (*self.rows.values(), *self.arrays.values()):
            for row in rows:
                self._once_on(row)

    def _once_on(self, row: Row) -> None:
        for product in self.terms.current(row):
            if len(product) > 1:
                times = Counter(a for term in product for a in set(self.terms.atoms(((term,),))))
                twice = tuple((atom,) for atom, n in times.items() if n > 1)
                self.terms.freeze(twice, "they stand twice within one another")


def still(shape: Iterable[int]) -> Rows:
    """Axes that no channels are on."""
    return tuple(fixed(n) for n in shape)
