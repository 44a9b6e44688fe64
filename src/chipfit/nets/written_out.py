"""Root-mean-square norms that are written out become the operator that they are.

    x · (mean(x²) + ε)^-½ · g    along the last axis

Models of language write theirs so, and exporters write PyTorch's own apart. As one operator a norm keeps the width of
its stream free (`space.streams`), and a runtime fuses it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from chipfit.core.graph import Graph, Network, Op, live, op


def norms(network: Network) -> Network:
    """The network with its written-out norms as one operator each, under the names of what ended them."""
    graph = network.graph
    instead: dict[str, Op] = {}
    for o in graph:
        for x, root in _divided(graph, o):
            eps = _below_root(network, root, x)
            if eps is not None:
                norm = op(o.name, "rms_norm", (x,), o.shape, axes=1, eps=eps, weight=0, bias=0)
                instead |= _scaled(graph, norm)
    return Network(live(tuple(instead.get(o.name, o) for o in graph), graph.output), network.weights)


def _divided(graph: Graph, o: Op) -> Iterator[tuple[str, Op]]:
    """What a product, or a quotient, may divide by a root: both operands' names and operators, in either order."""
    if o.kind == "div":
        yield o.inputs[0], graph[o.inputs[1]]
    elif o.kind == "mul":
        for x, other in (o.inputs, o.inputs[::-1]):
            if graph[other].kind == "reciprocal":
                yield x, graph[graph[other].inputs[0]]


def _below_root(network: Network, root: Op, x: str) -> float | None:
    """The ε of √(mean(x²) + ε) along the last axis of `x`; None where it is something else."""
    graph = network.graph
    chain = [root]
    for kind in ("sqrt", "affine", "reduce_mean", "mul"):
        if chain[-1].kind != kind:
            return None
        chain.append(graph[chain[-1].inputs[0]])
    _, shifted, mean, square, _ = chain
    alone = shifted["single"] and shifted["shift"] and not (shifted["scale"] or shifted["learnt"])
    along = mean["axes"] == (len(graph[x].shape) - 1,) and mean["keep"]
    if not alone or not along or square.inputs != (x, x):
        return None
    return float(network.weights[shifted.array("shift")][0])


def _scaled(graph: Graph, norm: Op) -> dict[str, Op]:
    """The norm in the place of what ended it: of the learnt scale behind it, where there is one of its own."""
    users = [graph[name] for name in graph.users[norm.name]]
    if len(users) == 1 and norm.name != graph.output and _scales_channels(users[0]):
        (scale,) = users
        if scale.name not in graph.sharing:
            whole = replace(norm, name=scale.name, weights=scale.weights, tied=(("weight", scale.array("scale")),))
            return {scale.name: whole.having(weight=1)}
    return {norm.name: norm}


def _scales_channels(o: Op) -> bool:
    last = o.kind == "affine" and not o["single"] and (o.get("axis") or 0) == len(o.shape) - 1
    return bool(last and o["learnt"] and o["scale"] and not o["shift"])
