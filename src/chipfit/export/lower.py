"""The graph rewritten so that each operator becomes one of the file's, and int8 operators ones with int8 kernels.

Names of what is added are `<operator>/<part>`; the last part keeps the operator's name, so that its users stay.

    silu                          sigmoid, mul
    whole pools without keep      the pool, flatten
    int8 linear on several axes   reshape to rows, linear, reshape back     (the bias then fuses; MatMul has none; int8
                                                                             values come back where int8 reads them)
    int8 batch_norm (unfolded)    depth-wise 1x1 convolution                (its exact int8 form)
    int8 relu on an int8 tensor   leaky_relu of slope 0                     (a table of 256 entries; relu has no kernel)
    int8 relu6 there              leaky_relu of slope 0, then relu6, which fuses
    zero pad before convolutions  gone into their padding                   (it has no int8 kernel)
    relu after max_pool, ...      before it, where it fuses: on operators that only move values the order is free
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import replace
from typing import Final

import numpy as np

from chipfit.core.channels import foldable
from chipfit.core.graph import Graph, Network, Op, Weights, op
from chipfit.core.kinds import named
from chipfit.export.fold import fold, scale_and_shift

Range = tuple[float, float]

PRESERVING: Final = named(lambda kind: bool(kind.moves))
"""Kinds that move values and make none: their int8 output has the scale of their input."""

FUSING: Final = named(lambda kind: kind.hosts) - {"batch_norm"}
"""Kinds whose int8 kernels clamp their output for nothing, so that a relu after them vanishes.

Lowering leaves no int8 batch norm, which would be among them: one that is left is float, and keeps its relu apart.
"""

CLAMPS: Final = named(lambda kind: kind.clamp is not None)

INT8: Final = named(lambda kind: kind.int8)
"""Kinds that are written in int8 where their bits say so; the others compute in float whatever their bits."""


def prepared(
    network: Network,
    ranges: Mapping[str, Range] | None = None,
    whole: Set[str] = frozenset(),
    floats: Set[str] = frozenset(),
) -> tuple[Network, dict[str, Range]]:
    """The network as it is written, folded and lowered, and the ranges of its tensors.

    `ranges` are of the graph as given or folded: a folded layer takes that of its batch norm. `whole` and `floats` as
    for `lower`.
    """
    known = dict(ranges or {})
    known |= {layer: known[norm] for norm, layer in foldable(network.graph).items() if norm in known}
    return lower(fold(network), known, whole, floats)


def lower(
    network: Network,
    ranges: Mapping[str, Range],
    whole: Set[str] = frozenset(),
    floats: Set[str] = frozenset(),
) -> tuple[Network, dict[str, Range]]:
    """The network as it is written, with the bits of each operator as they will be, and the ranges of what was added.

    Kinds in `whole`, which a format has as they are, are not taken apart. Operators named in `floats` have no int8 form
    in the format: they are float whatever their bits say and whatever stands around them.

    A relu or relu6 that is alone in reading an operator it fuses with takes that operator's bits. A relu that reads a
    float tensor stays float, an operator that only moves values too, if it would be the only reason to quantise that
    tensor. An operator without int8 form is float. A float operator without weights is int8 where all it reads and all
    that reads it is: that saves conversions and rounds nothing more often.
    """
    parts: list[Op] = []
    weights, known = dict(network.weights), dict(ranges)
    for o in _merge_pads(network.graph):
        o = replace(o, bits=8 if o.bits == 8 and _has_form(o) and o.name not in floats else 32)
        rule = None if o.kind in whole else _RULES.get(o.kind)
        made = rule(o, network.graph, weights, known) if rule else (o,)
        floats = floats | {part.name for part in made if o.name in floats}
        parts += made
    graph = _join(_hoist(Graph(tuple(parts), network.graph.output)), floats)
    done: dict[str, Op] = {}
    for o in graph:
        if o.kind in PRESERVING and not any(graph[u].bits == 8 for u in graph.users[o.inputs[0]] if u != o.name):
            o = replace(o, bits=max(o.bits, done[o.inputs[0]].bits))
        for part in _clamp(o, graph, done[o.inputs[0]].bits) if o.kind in CLAMPS else (o,):
            done[part.name] = part
    return Network(Graph(tuple(done.values()), graph.output), weights), known


def fused(graph: Graph, o: Op) -> bool:
    """True for a relu or relu6 that vanishes into the operator it reads, which has no other reader."""
    if o.kind not in CLAMPS:
        return False
    before = graph[o.inputs[0]]
    return before.kind in FUSING and _alone(graph, before)


def ends(o: Op, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Padding after each spatial axis of a pool that reads `shape`, with what a last window that hangs over needs."""
    over = [
        (n - 1) * s + k - p - size
        for n, s, k, p, size in zip(o.shape[1:], o["stride"], o["kernel"], o["padding"], shape[1:], strict=True)
    ]
    return tuple(max(p, v) for p, v in zip(o["padding"], over, strict=True))


def _merge_pads(graph: Graph) -> Iterator[Op]:
    """The operators with zero padding of the spatial axes done by the convolutions that read it, where only such do.

    The `padding` of these has four values: top, left, bottom, right.
    """
    gone = {}
    for o in graph:
        zeros = o.kind == "pad" and not o.get("value") and not o.get("how")
        if zeros and len(o.shape) == 3 and o["pads"][:2] == (0, 0) and min(o["pads"]) >= 0:
            users = graph.users[o.name]
            if users and o.name != graph.output and all(graph[u].kind == "conv" for u in users):
                gone[o.name] = o
    for o in graph:
        if o.kind == "conv" and o.inputs[0] in gone:
            pad, own = gone[o.inputs[0]], o["padding"]
            top, bottom, left, right = pad["pads"][2:]
            padding = (own[0] + top, own[1] + left, own[0] + bottom, own[1] + right)
            o = replace(o.having(padding=padding), inputs=pad.inputs)
        if o.name not in gone:
            yield o


def _hoist(graph: Graph) -> Graph:
    """The graph with each relu before the operators that only move values, where it then fuses with what they move."""
    early, instead = {}, {}
    for o in graph:
        movers = _movers(graph, o) if o.kind in CLAMPS else []
        if movers:
            early[movers[-1].name] = replace(o, inputs=movers[-1].inputs, shape=graph.in_shape(movers[-1]))
            instead[o.name] = movers[0].name
    ops: list[Op] = []
    for o in graph:
        if o.name not in instead:
            o = replace(o, inputs=tuple(instead.get(i, i) for i in o.inputs))
            if o.name in early:
                ops.append(early[o.name])
                o = replace(o, inputs=(early[o.name].name,))
            ops.append(o)
    return Graph(tuple(ops), instead.get(graph.output, graph.output))


def _join(graph: Graph, floats: Set[str]) -> Graph:
    """The graph with bits 8 for what has no weights and is between int8 operators, or what only moves their values."""
    inner = {"add", "mul", "avg_pool", "global_pool", "leaky_relu", "sigmoid"} | CLAMPS | PRESERVING
    after: dict[str, bool] = {}
    for o in reversed(graph.ops):
        users = [graph[u] for u in graph.users[o.name]]
        read = all(u.bits == 8 or (u.kind in PRESERVING and after[u.name]) for u in users)
        after[o.name] = bool(users) and read and o.name != graph.output
    done: dict[str, Op] = {}
    for o in graph:
        whole = bool(o.inputs) and all(done[i].bits == 8 for i in o.inputs) and o.name not in floats
        if whole and (fused(graph, o) or (o.kind in inner and after[o.name])):
            o = replace(o, bits=8)
        done[o.name] = o
    return Graph(tuple(done.values()), graph.output)


def _movers(graph: Graph, relu: Op) -> list[Op]:
    """The operators that only move values between a relu and what it could fuse with, backwards; none if it cannot."""
    found, before = [], graph[relu.inputs[0]]
    while before.kind in PRESERVING and _alone(graph, before):
        found.append(before)
        before = graph[before.inputs[0]]
    return found if before.kind in FUSING and _alone(graph, before) else []


def _alone(graph: Graph, o: Op) -> bool:
    """True where one operator reads this one, and no user of the file does."""
    return len(graph.users[o.name]) == 1 and graph.output != o.name


def _has_form(o: Op) -> bool:
    return o.kind in INT8 and (o.kind != "batch_norm" or len(o.shape) == 3)


def _clamp(o: Op, graph: Graph, bits: int) -> tuple[Op, ...]:
    """A relu or relu6 that reads a tensor of these bits."""
    if fused(graph, o) or bits == 32 or o.bits == 32:
        return (replace(o, bits=bits if fused(graph, o) else 32),)
    if o.kind == "relu":
        return (op(o.name, "leaky_relu", o.inputs, o.shape, bits=8, slope=0.0),)
    low = op(f"{o.name}/low", "leaky_relu", o.inputs, o.shape, bits=8, slope=0.0)
    return low, replace(o, inputs=(low.name,))


def _silu(o: Op, graph: Graph, weights: Weights, known: dict[str, Range]) -> tuple[Op, ...]:
    gate = op(f"{o.name}/gate", "sigmoid", o.inputs, o.shape, bits=o.bits)
    known[gate.name] = (0.0, 1.0)
    return gate, op(o.name, "mul", (o.inputs[0], gate.name), o.shape, bits=o.bits)


def _global_pool(o: Op, graph: Graph, weights: Weights, known: dict[str, Range]) -> tuple[Op, ...]:
    if o["keep"]:
        return (o,)
    mean = op(f"{o.name}/mean", o.kind, o.inputs, (*o.shape, 1, 1), bits=o.bits, keep=1)
    _same_range(known, mean, o)
    return mean, op(o.name, "flatten", (mean.name,), o.shape, bits=o.bits)


def _linear(o: Op, graph: Graph, weights: Weights, known: dict[str, Range]) -> tuple[Op, ...]:
    shape = graph.in_shape(o)
    if len(shape) == 1 or o.bits == 32:
        return (o,)
    rows = op(f"{o.name}/rows", "reshape", o.inputs, shape[-1:], bits=8).having(to=shape[-1:])
    dense = replace(o, name=f"{o.name}/dense", inputs=(rows.name,), shape=o.shape[-1:])
    _same_range(known, rows, graph[o.inputs[0]])
    _same_range(known, dense, o)
    return rows, dense, op(o.name, "reshape", (dense.name,), o.shape).having(to=o.shape)


def _batch_norm(o: Op, graph: Graph, weights: Weights, known: dict[str, Range]) -> tuple[Op, ...]:
    if o.bits == 32:
        return (o,)
    factor, offset = scale_and_shift(o, weights)
    prefix = f"{o.name}/scale"
    weights[f"{prefix}.weight"] = factor.astype(np.float32).reshape(-1, 1, 1, 1)
    weights[f"{prefix}.bias"] = offset.astype(np.float32)
    window = {"kernel": (1, 1), "stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)}
    return (op(o.name, "conv", o.inputs, o.shape, prefix, 8, **window, groups=o.shape[0], bias=1),)


def _same_range(known: dict[str, Range], part: Op, o: Op) -> None:
    if o.name in known:
        known[part.name] = known[o.name]


_RULES: Final[Mapping[str, Callable[[Op, Graph, Weights, dict[str, Range]], tuple[Op, ...]]]] = {
    "silu": _silu,
    "global_pool": _global_pool,
    "global_max_pool": _global_pool,
    "linear": _linear,
    "batch_norm": _batch_norm,
}
