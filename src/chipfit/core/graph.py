"""The waist: a network as a list of operators that everything on the hardware side reads, and nothing there sees torch.

A `Graph` is written (JSON, version 1), executable (`nets.build` makes a torch module of it, `export.onnx` a file) and
knows its own costs, so that estimate, training and deployment cannot disagree. Weights live beside it in a flat dict
of arrays, `{"<op.weights>.weight": ...}`, so that one graph can be priced without them.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chipfit.core.kinds import KINDS as RECORDS
from chipfit.core.kinds import known, named
from chipfit.core.kinds.layers import STORED
from chipfit.core.kinds.norms import single
from chipfit.core.op import Attr, Op

__all__ = [
    "ACTIVATIONS", "CHANNELWISE", "ELEMENTWISE", "GLOBAL_POOLS", "KINDS", "LAYERS", "POOLS", "SOFTMAXES", "STORED",
    "Attr", "Graph", "Network", "Op", "Weights", "live", "op", "single",
]  # fmt: skip

Weights = dict[str, NDArray[np.float32]]
"""Arrays by name: `<op.weights>.weight`, `.bias`, and what else `Graph.weight_shapes` names."""

KINDS = frozenset(RECORDS)
"""Every kind of operator that has a record in `core.kinds`.

A kind with a capital is an ONNX operator of a file that was not made here: it has macs (int), counted; a `Constant` is
an array that such operators read. A graph of these is counted and profiled, never edited or built.
"""

ACTIVATIONS = named(lambda kind: kind.family == "activation")
ELEMENTWISE = named(lambda kind: kind.family == "join")
POOLS = named(lambda kind: kind.family == "pool")
GLOBAL_POOLS = named(lambda kind: kind.family == "global_pool")
SOFTMAXES = named(lambda kind: kind.family == "softmax")
LAYERS = named(lambda kind: kind.family == "layer")
"""Kinds that multiply by a matrix of weights, a row for each output."""
CHANNELWISE = named(lambda kind: kind.channels == "carries")
"""Kinds with arrays of one value a channel: their channels are those of what they read."""


def op(
    name: str,
    kind: str,
    inputs: tuple[str, ...],
    shape: tuple[int, ...],
    weights: str = "",
    bits: int = 32,
    **attrs: Attr,
) -> Op:
    """An `Op` with attributes as keywords.

    Raises:
        ValueError: an unknown kind.
    """
    if kind not in KINDS:
        raise ValueError(f"operator {name!r} is of unknown kind {kind!r}; known: {', '.join(sorted(KINDS))}")
    return Op(name, kind, inputs, shape, tuple(sorted(attrs.items())), weights, bits)


@dataclass(frozen=True)
class Graph:
    """Operators in an order in which every input comes before its use.

    The first is the `input`; `output` names the last value.
    """

    ops: tuple[Op, ...]
    output: str
    version: int = field(default=1, compare=False)

    @cached_property
    def by_name(self) -> Mapping[str, Op]:
        """Operators by name."""
        return {o.name: o for o in self.ops}

    @cached_property
    def users(self) -> Mapping[str, tuple[str, ...]]:
        """For each operator the names of those that read it, in order."""
        found: dict[str, list[str]] = {o.name: [] for o in self.ops}
        for o in self.ops:
            for i in o.inputs:
                found[i].append(o.name)
        return {name: tuple(users) for name, users in found.items()}

    def __iter__(self) -> Iterator[Op]:
        return iter(self.ops)

    def __getitem__(self, name: str) -> Op:
        return self.by_name[name]

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(C, H, W) of the input."""
        return self.ops[0].shape

    def in_shape(self, o: Op, i: int = 0) -> tuple[int, ...]:
        """Shape of an operator's i-th input."""
        return self.by_name[o.inputs[i]].shape

    def in_shapes(self, o: Op) -> tuple[tuple[int, ...], ...]:
        """Shapes of all that an operator reads."""
        return tuple(self.by_name[i].shape for i in o.inputs)

    def weight_shapes(self, o: Op) -> dict[str, tuple[int, ...]]:
        """Name to shape of an operator's arrays."""
        if o.kind == "Constant":
            return {o.name: o.shape}
        return {o.array(role): shape for role, shape in self.roles(o).items()}

    def roles(self, o: Op) -> dict[str, tuple[int, ...]]:
        """Role ("weight", "bias", ...) to shape of an operator's arrays, in the order in which files take them."""
        kind = known(o.kind)
        if kind is None or kind.arrays is None:
            return {}
        return kind.arrays(o, self.in_shapes(o))

    def learnt(self, o: Op) -> dict[str, tuple[int, ...]]:
        """Name to shape of those of an operator's arrays that are trained: no running statistics, no constants."""
        kind = known(o.kind)
        if kind is None:
            return self.weight_shapes(o)
        return {o.array(role): shape for role, shape in self.roles(o).items() if kind.learns(o, role)}

    @cached_property
    def sharing(self) -> frozenset[str]:
        """Operators that share an array with another."""
        readers: dict[str, list[str]] = {}
        for o in self.ops:
            for name in self.weight_shapes(o):
                readers.setdefault(name, []).append(o.name)
        return frozenset(name for names in readers.values() if len(names) > 1 for name in names)

    def macs(self, o: Op) -> int:
        """Multiply-accumulates of one operator for one input."""
        kind = known(o.kind)
        if kind is None:
            return int(o["macs"]) if o.kind[0].isupper() else 0
        return kind.macs(o, self.in_shapes(o)) if kind.macs else 0

    @property
    def total_macs(self) -> int:
        """Multiply-accumulates for one input."""
        return sum(self.macs(o) for o in self.ops)

    @property
    def total_params(self) -> int:
        """Learnt values (running statistics and constants not counted); shared ones count once."""
        shapes: dict[str, tuple[int, ...]] = {}
        for o in self.ops:
            shapes |= self.learnt(o)
        return sum(math.prod(s) for s in shapes.values())

    @cached_property
    def key(self) -> str:
        """Hash of the structure: equal for graphs that differ in names only."""
        place = {o.name: n for n, o in enumerate(self.ops)}
        shared: dict[str, int] = {}
        rows = []
        for o in self.ops:
            attrs = [pair for pair in o.attrs if pair[0] != "why"]  # words
            row = [o.kind, [place[i] for i in o.inputs], o.shape, attrs, o.bits]
            if o.weights:
                row.append(shared.setdefault(o.weights, len(shared)))
            if o.tied:
                row.append([(role, shared.setdefault(name, len(shared))) for role, name in o.tied])
            rows.append(row)
        return hashlib.sha256(json.dumps([rows, place[self.output]]).encode()).hexdigest()[:20]

    def to_json(self) -> str:
        """The graph as text; `Graph.from_json` reads it back."""
        rows = [
            [o.name, o.kind, o.inputs, o.shape, dict(o.attrs), o.weights, o.bits, *([o.tied] if o.tied else [])]
            for o in self.ops
        ]
        return json.dumps({"version": self.version, "output": self.output, "ops": rows})

    @classmethod
    def from_json(cls, text: str) -> Graph:
        """The graph that `to_json` wrote."""
        data = json.loads(text)

        def plain(value: Any) -> Attr:
            return tuple(value) if isinstance(value, list) else value

        ops = tuple(
            Op(n, k, tuple(i), tuple(s), tuple(sorted((a, plain(v)) for a, v in attrs.items())), w, b, _pairs(*tied))
            for n, k, i, s, attrs, w, b, *tied in data["ops"]
        )
        return cls(ops, data["output"])


def _pairs(tied: Iterable[Sequence[str]] = ()) -> tuple[tuple[str, str], ...]:
    return tuple((role, name) for role, name in tied)


def live(ops: tuple[Op, ...], output: str) -> Graph:
    """The graph of the operators that `output` needs, in their order (the input stays)."""
    by_name = {o.name: o for o in ops}
    needed, stack = {ops[0].name}, [output]
    while stack:
        name = stack.pop()
        if name not in needed:
            needed.add(name)
            stack.extend(by_name[name].inputs)
    return Graph(tuple(o for o in ops if o.name in needed), output)


@dataclass(frozen=True, slots=True)
class Network:
    """A graph and its weights: all that a trained network is."""

    graph: Graph
    weights: Weights

    def digest(self) -> str:
        """Hash of structure and weights (20 hex digits)."""
        h = hashlib.sha256(self.graph.key.encode())
        for name in sorted(self.weights):
            h.update(np.ascontiguousarray(self.weights[name]).tobytes())
        return h.hexdigest()[:20]
