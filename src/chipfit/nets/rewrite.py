"""Exact rewrites of traced networks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from chipfit.core.graph import Graph, Network, Op, Weights, live, op
from chipfit.nets.names import Names


def select_convolutions(network: Network, prefixes: Names) -> Network:
    """Strided spatial slices (and zero channels padded around them) become 1x1 convolutions with 0/1 weights.

    The shortcut of a narrow ResNet keeps every second row and column and adds zero channels. As a slice and a pad it
    forces the blocked memory layout back and forth and ties the channels of two stages together; as a selection
    convolution it is exact, 8 % faster on a whole ResNet-20, and can be narrowed like any other.

    Args:
        network: as traced.
        prefixes: gives the new arrays' prefixes.
    """
    graph, arrays = network.graph, dict(network.weights)
    made: dict[str, Op] = {}
    for o in graph:
        first = graph[o.inputs[0]] if o.kind == "slice" else None
        if first is None or not _keeps_every_kth(graph, first, o):
            continue
        last, pads = _padded(graph, o)
        channels = o.shape[0]
        weight = np.zeros((last.shape[0], channels, 1, 1), np.float32)
        weight[pads[0] + np.arange(channels), np.arange(channels)] = 1.0
        prefix = prefixes.fresh(f"{last.name}.select")
        arrays[f"{prefix}.weight"] = weight
        made[last.name] = op(
            last.name, "conv", first.inputs, last.shape, prefix, kernel=(1, 1), stride=(o["step"], o["step"]),
            padding=(0, 0), dilation=(1, 1), groups=1, bias=0,
        )  # fmt: skip
    ops = tuple(made.get(o.name, o) for o in graph)
    return Network(live(ops, graph.output), arrays)


def _keeps_every_kth(graph: Graph, first: Op, second: Op) -> bool:
    """True when two slices, one behind the other alone, keep every k-th row and column as a stride of k does."""
    if first.kind != "slice" or graph.users[first.name] != (second.name,) or graph.output == first.name:
        return False
    if len(second.shape) != 3 or {first["axis"], second["axis"]} != {1, 2}:
        return False
    step = first["step"]
    if not (step == second["step"] > 1 and first["start"] == second["start"] == 0):
        return False
    # a slice that stops before the end leaves out what a stride would keep
    return second.shape[1:] == tuple(-(-n // step) for n in graph.in_shape(first)[1:])


def _padded(graph: Graph, o: Op) -> tuple[Op, tuple[int, ...]]:
    """What ends the selection, and the channels of zeros before and behind: a pad that alone reads it, or itself."""
    users = graph.users[o.name]
    if len(users) != 1 or graph.output == o.name:
        return o, (0, 0)
    after = graph[users[0]]
    if (
        after.kind != "pad"
        or after.get("value")
        or after.get("how")
        or any(after["pads"][2:])
        or min(after["pads"]) < 0
    ):
        return o, (0, 0)
    return after, after["pads"][:2]


def merged_affines(network: Network) -> Network:
    """Each scale and shift that alone reads another becomes one with it.

    Constants are multiplied out, in double precision: (x - mean) / std is one operator. Of learnt ones a scale and a
    shift behind it are put together as they are.
    """
    graph, weights = network.graph, dict(network.weights)
    done: dict[str, Op] = {}
    instead: dict[str, str] = {}
    for o in graph:
        read = o.inputs
        o = replace(o, inputs=tuple(instead.get(i, i) for i in read))
        if o.kind == "affine" and _mergeable(graph, read[0], done[o.inputs[0]], o):
            before = done[o.inputs[0]]
            one = _together(before, o, weights)
            if one is not None:
                del done[before.name]
                instead[o.name] = one.name
                o = one
        done[o.name] = o
    return Network(Graph(tuple(done.values()), instead.get(graph.output, graph.output)), weights)


def _mergeable(graph: Graph, read: str, before: Op, o: Op) -> bool:
    """True for an affine that alone reads another, both with arrays of their own; `read` is that one's last name."""
    if before.kind != "affine" or graph.users[read] != (o.name,) or graph.output == read:
        return False
    own = graph.sharing.isdisjoint({before.name, o.name})
    along_one = before["single"] or o["single"] or before.get("axis") == o.get("axis")
    return own and bool(along_one and before["learnt"] == o["learnt"])


def _together(first: Op, second: Op, weights: Weights) -> Op | None:
    """One operator, under the first one's names, for two; None where learnt arrays would have to be computed."""
    computed = first["shift"] or second["scale"] or first["single"] != second["single"]
    if first["learnt"] and computed:
        return None
    scale_1, shift_1 = _scale_and_shift(first, weights)
    scale_2, shift_2 = _scale_and_shift(second, weights)
    # (x s1 + t1) s2 + t2  =  x (s1 s2) + (t1 s2 + t2)
    scale, shift = np.broadcast_arrays(scale_1 * scale_2, shift_1 * scale_2 + shift_2)
    weights[first.array("scale")] = scale.astype(np.float32)
    weights[first.array("shift")] = shift.astype(np.float32)
    has_scale, has_shift = (int(first[role] or second[role]) for role in ("scale", "shift"))
    single = int(first["single"] and second["single"])
    axis = {"axis": axis} if (axis := (second if first["single"] else first).get("axis")) else {}
    return first.having(scale=has_scale, shift=has_shift, single=single, **axis)


Floats = NDArray[np.float64]


def _scale_and_shift(o: Op, weights: Weights) -> tuple[Floats, Floats]:
    """Both arrays of an affine, in double precision; of one that it does not have, what does nothing."""
    scale = weights[o.array("scale")].astype(np.float64) if o["scale"] else np.ones(1)
    shift = weights[o.array("shift")].astype(np.float64) if o["shift"] else np.zeros(1)
    return scale, shift
