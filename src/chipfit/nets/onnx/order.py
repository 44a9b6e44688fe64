"""Nodes in running order. ONNX asks for it, converters forget it, and ONNX Runtime sorts what it loads."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush

from onnx import AttributeProto, GraphProto, NodeProto

from chipfit.core.errors import BadInput


def sort_nodes(file: str, graph: GraphProto) -> None:
    """Puts each node of a graph, and of the bodies in it, behind those that make what it reads.

    Of nodes that could come next, the first in the file does: a graph that is sorted stays as it is.

    Raises:
        BadInput: nodes that read each other's outputs in a circle; names one of them.
    """
    nodes = list(graph.node)
    for node in nodes:
        for body in _bodies(node):
            sort_nodes(file, body)
    order = _order(nodes)
    if len(order) < len(nodes):
        stuck = nodes[min(set(range(len(nodes))).difference(order))]
        label = stuck.name or next(iter(stuck.output), "")
        raise BadInput(f"{file}: node {label!r} ({stuck.op_type}) waits for its own output: its nodes run in a circle")
    if order != sorted(order):
        sorted_nodes = [_copy(nodes[n]) for n in order]
        del graph.node[:]
        graph.node.extend(sorted_nodes)


def _order(nodes: list[NodeProto]) -> list[int]:
    """Places of the nodes in running order (Kahn's algorithm); without those that wait for a circle."""
    makers: dict[str, int] = {}
    for n, node in enumerate(nodes):
        for name in node.output:
            makers.setdefault(name, n)
    makers.pop("", None)
    waits = [{makers[name] for name in _reads(node) if name in makers} for node in nodes]
    readers: list[list[int]] = [[] for _ in nodes]
    for n, before in enumerate(waits):
        for maker in before:
            readers[maker].append(n)
    missing = [len(before) for before in waits]
    ready = [n for n, count in enumerate(missing) if not count]
    heapify(ready)
    order = []
    while ready:
        order.append(n := heappop(ready))
        for reader in readers[n]:
            missing[reader] -= 1
            if not missing[reader]:
                heappush(ready, reader)
    return order


def _reads(node: NodeProto) -> Iterator[str]:
    """Names of values that a node reads, and its bodies from outside of them."""
    yield from node.input
    for body in _bodies(node):
        own = {v.name for v in (*body.input, *body.initializer)} | {name for n in body.node for name in n.output}
        inside = (name for n in body.node for name in _reads(n))
        yield from (name for name in (*inside, *(v.name for v in body.output)) if name not in own)


def _bodies(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _copy(node: NodeProto) -> NodeProto:
    made = NodeProto()
    made.CopyFrom(node)
    return made
