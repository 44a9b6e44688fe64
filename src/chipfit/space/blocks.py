"""Which parts of a network can be dropped: the bodies of residual blocks."""

from __future__ import annotations

from dataclasses import dataclass

from chipfit.core.graph import Graph


@dataclass(frozen=True, slots=True)
class Block:
    """A residual block: the add's name, the operators of its body, and the value that stays when the body goes."""

    name: str
    body: frozenset[str]
    shortcut: str


def residual_blocks(graph: Graph) -> tuple[Block, ...]:
    """Additions of a body (with an activation or several layers) and a linear shortcut; the body can be dropped."""
    before: dict[str, frozenset[str]] = {}
    for o in graph:
        before[o.name] = frozenset({o.name}).union(*(before[i] for i in o.inputs)) if o.inputs else frozenset({o.name})
    found = []
    for o in graph:
        if o.kind != "add" or len(set(o.inputs)) != 2:
            continue
        a, b = o.inputs
        if graph[a].shape != graph[b].shape:
            continue
        branches = [(a, before[a] - before[b]), (b, before[b] - before[a])]
        branches.sort(key=lambda branch: _weight(graph, branch[1]))
        (shortcut, light), (_, body) = branches
        closed = all(u in body or u == o.name for name in body for u in graph.users[name])
        apart = _weight(graph, light) == 0 < _weight(graph, body) and _acts(graph, body)
        if apart and closed and graph.output not in body:
            found.append(Block(o.name, body, shortcut))
    return tuple(found)


def _acts(graph: Graph, ops: frozenset[str]) -> bool:
    """True for a body that does something with what it reads: constants alone are no block."""
    return any(graph[name].inputs for name in ops)


def _weight(graph: Graph, ops: frozenset[str]) -> int:
    """0 for a shortcut (at most one 1x1 convolution, no activation), else the number of its operators."""
    kinds = [graph[name] for name in ops]
    convs = [o for o in kinds if o.kind == "conv"]
    linear = all(o.kind in ("conv", "batch_norm", "affine", "avg_pool") for o in kinds)
    small = len(convs) <= 1 and all(o["kernel"] == (1, 1) for o in convs)
    return 0 if linear and small else len(kinds)
