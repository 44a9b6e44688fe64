"""Networks over one axis as networks of maps of height 1.

A convolution over one axis is traced as one over two, between two views: (C, L) as (C, 1, L), and back. Whatever
follows is on (C, L) again, and so would stand apart from its layer: no norm would fold into it, no activation run
within it. Here the operators that compute alike on both forms are moved to maps, and the views between them go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from chipfit.core.channels import array_axis
from chipfit.core.graph import Graph, Network, Op, live, op
from chipfit.core.kinds import named
from chipfit.nets.names import Names

_ANY_FORM = named(lambda kind: kind.family in ("activation", "function", "join"))
_BY_CHANNEL = named(lambda kind: kind.channels == "carries")
_ALONG_AN_AXIS = frozenset({"concat", "slice", "softmax", "log_softmax"})


def on_maps(network: Network, names: Names) -> Network:
    """The network with runs of operators on (C, L) as operators on (C, 1, L); the same where there are none.

    Args:
        network: as traced.
        names: gives the new operators' names.
    """
    graph = network.graph
    if not any(_to_row(graph, o) for o in graph):
        return network
    job = _Lift(graph, names)
    for o in graph:
        job.visit(o)
    output = job.instead.get(graph.output, graph.output)
    return Network(live(tuple(job.ops), output), network.weights)


def _to_row(graph: Graph, o: Op) -> bool:
    return o.kind == "reshape" and len(o.shape) == 2 and _is_map_of(graph.in_shape(o), o.shape)


def _is_map_of(shape: tuple[int, ...], row: tuple[int, ...]) -> bool:
    return shape == (row[0], 1, row[1])


class _Lift:
    """The operators of the new graph in the making.

    `maps` has the map that each value (C, L) is there as, `instead` the operator that now holds a value.
    """

    def __init__(self, graph: Graph, names: Names) -> None:
        self.graph = graph
        self.names = names
        self.ops: list[Op] = []
        self.maps: dict[str, str] = {}
        self.instead: dict[str, str] = {}

    def visit(self, o: Op) -> None:
        """Takes over an operator: as it is, as one on maps, or not at all where it makes the map that is there."""
        graph = self.graph
        source = o.inputs[0] if o.inputs else ""
        lifted = _lifted(graph, o, self.maps)
        o = replace(o, inputs=tuple(self.instead.get(i, i) for i in o.inputs))
        if _to_row(graph, o):
            self.maps[o.name] = o.inputs[0]
            self.ops.append(o)
        elif o.kind == "reshape" and source in self.maps and _is_map_of(o.shape, graph[source].shape):
            self.instead[o.name] = self.maps[source]
        elif lifted is None:
            self.ops.append(o)
        elif len(o.shape) == 2 and len(lifted.shape) == 3:
            row = self.names.fresh(f"{o.name}.row")
            self.ops += [lifted, op(row, "reshape", (o.name,), o.shape, to=o.shape)]
            self.maps[o.name], self.instead[o.name] = o.name, row
        else:
            self.ops.append(lifted)


def _lifted(graph: Graph, o: Op, maps: Mapping[str, str]) -> Op | None:
    """The operator on the maps of what it reads; None where it has no such form, or not all of them are there."""
    if not o.inputs or any(i not in maps for i in o.inputs):
        return None
    inputs = tuple(maps[i] for i in o.inputs)
    if o.kind == "flatten":
        return replace(o, inputs=inputs)
    if o.kind == "reduce_mean" and o["axes"] == (1,):
        return _whole_pool(o, inputs)
    if len(o.shape) != 2:
        return None
    return _of_maps(replace(o, inputs=inputs, shape=(o.shape[0], 1, o.shape[1])))


def _of_maps(wide: Op) -> Op | None:
    """An operator whose inputs and shape are maps, with its attributes as they are there; None where it has no form."""
    by_channel = wide.kind in _BY_CHANNEL and array_axis(wide) == 0
    # a join of one channel or one place with many is the same on maps, whose height is 1 throughout
    if wide.kind in _ANY_FORM or by_channel:
        return wide
    if wide.kind in _ALONG_AN_AXIS:
        return wide.having(axis=wide["axis"] * 2)
    if wide.kind == "pad":
        before, after = wide["pads"][:2], wide["pads"][2:]
        return wide.having(pads=(*before, 0, 0, *after))
    return None


def _whole_pool(o: Op, inputs: tuple[str, ...]) -> Op:
    """A mean over all places: of (C, L) it is (C, 1) where the axis stays, which is another view of (C, 1, 1)."""
    if o["keep"]:
        return op(o.name, "global_pool", inputs, (o.shape[0], 1, 1), keep=1)
    return op(o.name, "global_pool", inputs, o.shape, keep=0)
