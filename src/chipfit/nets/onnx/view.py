"""A file's nodes as a graph in which several can be found that are one operator."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from onnx import NodeProto
from onnx.helper import get_attribute_value, make_attribute, make_node

from chipfit.nets.onnx.call import Constant

Known = dict[str, Constant]

ORDERED = frozenset({"Div", "Sub", "Pow"})
"""Operators whose right side alone may be the constant of a pattern."""


@dataclass(frozen=True, slots=True)
class View:
    """Who makes a value, who reads it, what is constant, and what the file answers."""

    makers: dict[str, NodeProto]
    known: Known
    output: str
    readers: dict[str, list[NodeProto]] = field(default_factory=dict)

    @classmethod
    def of(cls, nodes: Sequence[NodeProto], known: Known, output: str) -> View:
        """The view of some nodes in running order."""
        makers: dict[str, NodeProto] = {}
        readers: dict[str, list[NodeProto]] = {}
        for node in nodes:
            makers.update(dict.fromkeys(node.output, node))
            for name in dict.fromkeys(node.input):
                readers.setdefault(name, []).append(node)
        return cls(makers, known, output, readers)

    def maker(self, name: str, kind: str) -> NodeProto | None:
        """The node of a kind that makes a value."""
        node = self.makers.get(name)
        return node if node is not None and node.op_type == kind else None

    def alone(self, name: str) -> bool:
        """True for a value that one node reads, and that is no answer."""
        return len(self.readers.get(name, ())) == 1 and name != self.output

    def within(self, *nodes: NodeProto) -> bool:
        """True where nobody else reads what these nodes make: each for the next, the last for what follows."""
        return all(self.alone(n.output[0]) for n in nodes)

    def number(self, name: str) -> float | None:
        """The value of a constant that is one number."""
        constant = self.known.get(name)
        if constant is None or constant.value.size != 1:
            return None
        return float(constant.value.reshape(-1)[0])

    def split(self, node: NodeProto | None) -> tuple[str, str] | None:
        """The value and the constant that a node joins; None where it joins others."""
        if node is None or len(node.input) != 2:
            return None
        left, right = node.input
        if (left in self.known) == (right in self.known):
            return None
        return (right, left) if left in self.known else (left, right)

    def with_number(self, node: NodeProto | None, kind: str, number: float) -> str | None:
        """The value that a node of a kind joins with this number."""
        if node is None or node.op_type != kind:
            return None
        parts = self.split(node)
        if parts is None or (kind in ORDERED and parts[1] != node.input[1]):
            return None
        found = self.number(parts[1])
        near = found is not None and math.isclose(found, number, rel_tol=1e-4)
        return parts[0] if near else None


Found = tuple[NodeProto, list[NodeProto]]
"""The one node, and those that it stands for, the last of which it replaces."""

Pattern = Callable[[NodeProto, View], Found | None]


def applied(pattern: Pattern, nodes: list[NodeProto], known: Known, output: str) -> list[NodeProto]:
    """The nodes with each place that a pattern finds as one node."""
    view = View.of(nodes, known, output)
    gone: set[int] = set()
    instead: dict[int, NodeProto] = {}
    for node in nodes:
        found = pattern(node, view)
        if found is None:
            continue
        one, several = found
        if not any(id(n) in gone or id(n) in instead for n in several):
            instead[id(node)] = one
            gone |= {id(n) for n in several if n is not node}
    return [instead.get(id(n), n) for n in nodes if id(n) not in gone]


def named(node: NodeProto, kind: str, inputs: Sequence[str], **attributes: float | int | str | list[int]) -> NodeProto:
    """A node of another kind in the place of one: its name, its output."""
    made = make_node(kind, inputs, node.output[:1], name=node.name)
    made.attribute.extend(make_attribute(name, value) for name, value in attributes.items())
    return made


def sides(node: NodeProto) -> Iterator[tuple[str, str]]:
    """Both orders of what a product or a sum joins."""
    if len(node.input) == 2:
        left, right = node.input
        yield left, right
        yield right, left


def attribute(node: NodeProto, name: str, default: float) -> float:
    """A number among a node's attributes."""
    for a in node.attribute:
        if a.name == name:
            return float(get_attribute_value(a))
    return default
