"""Edits on a network: the graph changes as `space.edits` says, and the weights are sliced to fit it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chipfit.core.edits import Edit
from chipfit.core.graph import Network, Weights, single
from chipfit.space import edits as on_graph
from chipfit.space.edits import Width
from chipfit.space.groups import Segment, channel_groups


def apply(network: Network, edits: Sequence[Edit]) -> Network:
    """The network after the edits; arrays that no edit touches are shared with the original.

    Law: tracing the result gives the graph that `space.edits.apply` gives.
    """
    before = network.graph
    coupling = channel_groups(before)
    graph = on_graph.apply(before, edits)
    keep = {e.group: np.array(e.keep) for e in edits if isinstance(e, Width)}
    weights: Weights = {}
    for o in graph:
        if not o.weights:
            continue
        old = before[o.name]
        outputs = kept(coupling.segments[o.name], keep)
        inputs = kept(coupling.segments[old.inputs[0]], keep)
        for name in graph.weight_shapes(o):
            array = network.weights[name]
            if outputs is not None and not single(o):
                array = array[outputs]
            if inputs is not None and array.ndim > 1 and not (o.kind == "conv" and old["groups"] > 1):
                array = array[:, inputs]
            weights[name] = np.ascontiguousarray(array)
    return Network(graph, weights)


def kept(segments: Sequence[Segment], keep: dict[str, NDArray[np.intp]]) -> NDArray[np.intp] | None:
    """Indices along a channel axis that stay, or None where all do."""
    if not any(s.group in keep for s in segments):
        return None
    parts, start = [], 0
    for s in segments:
        channels = keep.get(s.group, np.arange(s.size))
        parts.append((start + channels[:, None] * s.repeat + np.arange(s.repeat)).ravel())
        start += s.size * s.repeat
    return np.concatenate(parts)
