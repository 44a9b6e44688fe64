"""The waist: a network as a list of operators that everything on the hardware side reads, and nothing there sees torch.

A `Graph` is written (JSON, version 1), executable (`nets.build` makes a torch module of it, `export.onnx` a file) and
knows its own costs, so that estimate, training and deployment cannot disagree. Weights live beside it in a flat dict
of arrays, `{"<op.weights>.weight": ...}`, so that one graph can be priced without them.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Attr = int | float | str | tuple[int, ...]
Weights = dict[str, NDArray[np.float32]]
"""Arrays by name: `<op.weights>.weight`, `.bias`, and for batch norm `.running_mean`, `.running_var`."""

ACTIVATIONS = frozenset(
    {"relu", "relu6", "sigmoid", "hard_sigmoid", "silu", "hard_swish", "tanh", "gelu", "leaky_relu"}
)
ELEMENTWISE = frozenset({"add", "sub", "mul"})
POOLS = frozenset({"max_pool", "avg_pool"})
KINDS = (
    frozenset({"input", "conv", "linear", "batch_norm", "global_pool", "concat", "flatten"})
    | frozenset({"reshape", "transpose", "slice", "pad", "softmax"})
    | ACTIVATIONS
    | ELEMENTWISE
    | POOLS
)
"""Every kind of operator that has a rule in trace, build, edits and export. Attributes, by kind:

conv        kernel, stride, padding, dilation (pairs), groups (int), bias (0/1)
linear      bias (0/1); acts on the last axis
batch_norm  eps (float)
*_pool      kernel, stride, padding (pairs), ceil (0/1); avg_pool also count_include_pad (0/1)
global_pool keep (0/1): mean over the two spatial axes, which stay as 1 where keep is 1
concat      axis, counted without the batch axis (0 is channels)
reshape     to: the new shape without the batch axis
transpose   perm of the axes after the batch axis, 0-based
slice       axis (without batch), start, stop, step
pad         pads: (before, after) of each axis without batch, flattened
softmax     axis, counted without the batch axis
leaky_relu  slope (float)

A kind with a capital is an ONNX operator of a file that was not made here: it has macs (int), counted; a `Constant` is
an array that such operators read. A graph of these is counted and profiled, never edited or built.
"""


@dataclass(frozen=True, slots=True)
class Op:
    """One operator; its `name` also names its output, of `shape` without the batch axis.

    `weights` is the prefix of its arrays ("" for none); two operators with one prefix share them. `bits` is 8 where
    the operator computes in int8 (QDQ in the file), else 32.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    attrs: tuple[tuple[str, Attr], ...] = ()
    weights: str = ""
    bits: int = 32

    def __getitem__(self, key: str) -> Any:
        """The value of an attribute; KeyError names the operator."""
        for name, value in self.attrs:
            if name == key:
                return value
        raise KeyError(f"{self.kind} {self.name!r} has no attribute {key!r}")

    def having(self, **attrs: Attr) -> Op:
        """The same operator with these attributes replaced or added."""
        return replace(self, attrs=tuple(sorted((dict(self.attrs) | attrs).items())))

    @property
    def size(self) -> int:
        """Values in one output."""
        return math.prod(self.shape)


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

    def weight_shapes(self, o: Op) -> dict[str, tuple[int, ...]]:
        """Name to shape of an operator's arrays."""
        if o.kind == "conv":
            inputs = self.in_shape(o)[0] // o["groups"]
            shapes = {"weight": (o.shape[0], inputs, *o["kernel"])}
        elif o.kind == "linear":
            shapes = {"weight": (o.shape[-1], self.in_shape(o)[-1])}
        elif o.kind == "batch_norm":
            return {f"{o.weights}.{n}": (o.shape[0],) for n in ("weight", "bias", "running_mean", "running_var")}
        elif o.kind == "Constant":
            return {o.name: o.shape}
        else:
            return {}
        if o["bias"]:
            shapes["bias"] = (o.shape[0] if o.kind == "conv" else o.shape[-1],)
        return {f"{o.weights}.{n}": s for n, s in shapes.items()}

    def macs(self, o: Op) -> int:
        """Multiply-accumulates of one operator for one input (convolutions and linear layers)."""
        if o.kind not in ("conv", "linear"):
            return int(o["macs"]) if o.kind[0].isupper() else 0
        weight = self.weight_shapes(o)[f"{o.weights}.weight"]
        return o.size * math.prod(weight[1:])

    @property
    def total_macs(self) -> int:
        """Multiply-accumulates for one input."""
        return sum(self.macs(o) for o in self.ops)

    @property
    def total_params(self) -> int:
        """Learnt values (running statistics not counted); shared ones count once."""
        shapes = {n: s for o in self.ops for n, s in self.weight_shapes(o).items() if "running" not in n}
        return sum(math.prod(s) for s in shapes.values())

    @cached_property
    def key(self) -> str:
        """Hash of the structure: equal for graphs that differ in names only."""
        place = {o.name: n for n, o in enumerate(self.ops)}
        shared: dict[str, int] = {}
        rows = [
            [o.kind, [place[i] for i in o.inputs], o.shape, o.attrs, o.bits]
            + ([shared.setdefault(o.weights, len(shared))] if o.weights else [])
            for o in self.ops
        ]
        return hashlib.sha256(json.dumps([rows, place[self.output]]).encode()).hexdigest()[:20]

    def to_json(self) -> str:
        """The graph as text; `Graph.from_json` reads it back."""
        rows = [[o.name, o.kind, o.inputs, o.shape, dict(o.attrs), o.weights, o.bits] for o in self.ops]
        return json.dumps({"version": self.version, "output": self.output, "ops": rows})

    @classmethod
    def from_json(cls, text: str) -> Graph:
        """The graph that `to_json` wrote."""
        data = json.loads(text)

        def plain(value: Any) -> Attr:
            return tuple(value) if isinstance(value, list) else value

        ops = tuple(
            Op(n, k, tuple(i), tuple(s), tuple(sorted((a, plain(v)) for a, v in attrs.items())), w, b)
            for n, k, i, s, attrs, w, b in data["ops"]
        )
        return cls(ops, data["output"])


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
