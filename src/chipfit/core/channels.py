"""Which axis of a layer's output is the one that its arrays are for, stated once.

The record of each kind says it: convolutions and batch norms have their channels on the first axis (after the batch),
dense layers theirs on the last, whatever stands on the first. The two are the same for a dense layer on vectors only: a
dense layer on (tokens, c) or on (C, H, W) has outputs that no channel statistics, folding or narrowing of the first
axis may be mistaken for.
"""

from __future__ import annotations

from chipfit.core.graph import LAYERS, Graph, Op
from chipfit.core.kinds import known, named

FOLDED = named(lambda kind: kind.cost == "inside")
"""Kinds that fold into the layer before them."""


def array_axis(o: Op) -> int:
    """The axis of an operator's output, without the batch, along which its arrays have a value each."""
    kind = known(o.kind)
    return kind.axis(o) if kind else 0


def on_channels(o: Op) -> bool:
    """True where the arrays of an operator are for the channel axis, which edits narrow."""
    return array_axis(o) == 0


def foldable(graph: Graph) -> dict[str, str]:
    """Batch norm or affine to the layer it folds into: its only producer, which nothing else reads."""
    found = {}
    for norm in graph:
        if norm.kind in FOLDED:
            layer = graph[norm.inputs[0]]
            alone = graph.users[layer.name] == (norm.name,) and graph.output != layer.name
            if alone and layer.kind in LAYERS and array_axis(layer) == array_axis(norm):
                found[norm.name] = layer.name
    return found
