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
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Attr = int | float | str | tuple[int, ...]
Weights = dict[str, NDArray[np.float32]]
"""Arrays by name: `<op.weights>.weight`, `.bias`, and what else `Graph.weight_shapes` names."""

ACTIVATIONS = frozenset(
    {
        "relu",
        "relu6",
        "sigmoid",
        "hard_sigmoid",
        "silu",
        "hard_swish",
        "tanh",
        "gelu",
        "gelu_tanh",
        "leaky_relu",
        "clip",
    }
)
ELEMENTWISE = frozenset({"add", "sub", "mul"})
POOLS = frozenset({"max_pool", "avg_pool"})
GLOBAL_POOLS = frozenset({"global_pool", "global_max_pool"})
SOFTMAXES = frozenset({"softmax", "log_softmax"})
LAYERS = frozenset({"conv", "linear"})
"""Kinds that multiply by a matrix of weights."""
CHANNELWISE = frozenset({"batch_norm", "affine", "prelu"})
"""Kinds with arrays of one value a channel: their channels are those of what they read."""
KINDS = (
    frozenset({"input", "concat", "flatten", "reshape", "transpose", "slice", "pad"})
    | ACTIVATIONS
    | ELEMENTWISE
    | POOLS
    | GLOBAL_POOLS
    | SOFTMAXES
    | LAYERS
    | CHANNELWISE
)
"""Every kind of operator that has a rule in trace, build, edits and export. Attributes, by kind:

conv        kernel, stride, padding, dilation (pairs), groups (int), bias (0/1)
linear      bias (0/1); acts on the last axis
batch_norm  eps (float)
affine      scale, shift (0/1): which of the two there are in y = x · scale + shift; single (0/1): one value for all
            channels; learnt (0/1): trained and counted, else constants of the model
prelu       single (0/1): one slope for all channels
*_pool      kernel, stride, padding (pairs), ceil (0/1); avg_pool also count_include_pad (0/1)
global_*    keep (0/1): mean (or maximum) over the two spatial axes, which stay as 1 where keep is 1
concat      axis, counted without the batch axis (0 is channels)
reshape     to: the new shape without the batch axis
transpose   perm of the axes after the batch axis, 0-based
slice       axis (without batch), start, stop, step
pad         pads: (before, after) of each axis without batch, flattened
*softmax    axis, counted without the batch axis
leaky_relu  slope (float)
clip        low, high (floats)

conv and linear may also say how their weights are stored, which changes nothing of what is computed (`STORED`):
taps        (int) places of each kernel that may be other than zero, the most of any of its patterns
patterns    one number a pattern: the sum of 2^p over its flat places p; each 2-D kernel is within one of them
integer_bits, fraction_bits
            fixed point, the sign among the integer bits; on its grid are the weights with what is folded into them

A kind with a capital is an ONNX operator of a file that was not made here: it has macs (int), counted; a `Constant` is
an array that such operators read. A graph of these is counted and profiled, never edited or built.
"""

STORED = frozenset({"taps", "patterns", "integer_bits", "fraction_bits"})
"""Attributes about values of weights: accelerators are built for them, runtimes and modules know nothing of them."""


@dataclass(frozen=True, slots=True)
class Op:
    """One operator; its `name` also names its output, of `shape` without the batch axis.

    `weights` is the prefix of its arrays ("" for none): `<weights>.<role>`; two operators with one prefix share them
    all. `tied` lists (role, name) of those arrays that are another prefix's: layers may share a weight and have biases
    of their own. `bits` is 8 where the operator computes in int8 (QDQ in the file), else 32.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    attrs: tuple[tuple[str, Attr], ...] = ()
    weights: str = ""
    bits: int = 32
    tied: tuple[tuple[str, str], ...] = ()

    def array(self, role: str) -> str:
        """The name of its array of this role: "weight", "bias", ..."""
        for own, name in self.tied:
            if own == role:
                return name
        return f"{self.weights}.{role}"

    def __getitem__(self, key: str) -> Any:
        """The value of an attribute; KeyError names the operator."""
        for name, value in self.attrs:
            if name == key:
                return value
        raise KeyError(f"{self.kind} {self.name!r} has no attribute {key!r}")

    def get(self, key: str) -> Any:
        """The value of an attribute that it need not have; None where it has none."""
        return dict(self.attrs).get(key)

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
        if o.kind == "Constant":
            return {o.name: o.shape}
        return {o.array(role): shape for role, shape in self.roles(o).items()}

    def roles(self, o: Op) -> dict[str, tuple[int, ...]]:
        """Role ("weight", "bias", ...) to shape of an operator's arrays, in the order in which files take them."""
        if o.kind in CHANNELWISE:
            shape = (1,) if single(o) else (o.shape[0],)
            return dict.fromkeys(_channelwise_roles(o), shape)
        if o.kind not in LAYERS:
            return {}
        if o.kind == "conv":
            outputs, inputs = o.shape[0], (self.in_shape(o)[0] // o["groups"], *o["kernel"])
        else:
            outputs, inputs = o.shape[-1], self.in_shape(o)[-1:]
        weight = {"weight": (outputs, *inputs)}
        return weight | {"bias": (outputs,)} if o["bias"] else weight

    def learnt(self, o: Op) -> dict[str, tuple[int, ...]]:
        """Name to shape of those of an operator's arrays that are trained: no running statistics, no constants."""
        if o.kind == "affine" and not o["learnt"]:
            return {}
        fixed = {o.array(role) for role in self.roles(o) if role.startswith("running")}
        return {name: shape for name, shape in self.weight_shapes(o).items() if name not in fixed}

    @cached_property
    def sharing(self) -> frozenset[str]:
        """Operators that share an array with another."""
        readers: dict[str, list[str]] = {}
        for o in self.ops:
            for name in self.weight_shapes(o):
                readers.setdefault(name, []).append(o.name)
        return frozenset(name for names in readers.values() if len(names) > 1 for name in names)

    def macs(self, o: Op) -> int:
        """Multiply-accumulates of one operator for one input (convolutions and linear layers)."""
        if o.kind not in LAYERS:
            return int(o["macs"]) if o.kind[0].isupper() else 0
        return o.size * math.prod(self.roles(o)["weight"][1:])

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
            row = [o.kind, [place[i] for i in o.inputs], o.shape, o.attrs, o.bits]
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


def single(o: Op) -> bool:
    """True where an operator's arrays hold one value for all channels, so that narrowing leaves them as they are."""
    return o.kind in ("affine", "prelu") and bool(o["single"])


def _channelwise_roles(o: Op) -> tuple[str, ...]:
    if o.kind == "batch_norm":
        return ("weight", "bias", "running_mean", "running_var")
    return ("weight",) if o.kind == "prelu" else tuple(role for role in ("scale", "shift") if o[role])


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
