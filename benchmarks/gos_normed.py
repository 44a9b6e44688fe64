"""Programs with a norm between their factors: the same function at first, and once folded the same cost.

The norm starts as the identity whether it takes its statistics from the batch or from where they are kept, so that only
the road of training differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from chipfit.compress.forward import Walk, batch, tensors
from chipfit.core.graph import Graph, Network, Op, op
from chipfit.evaluate.start import SHIP_INPUTS, Start

EPS = 1e-5


def normed(start: Start, network: Network) -> Network:
    """The network with a norm behind each operator inside a program that has weights."""
    inside = [o for o in network.graph if "#" in o.name and o.weights and o.kind != "batch_norm"]
    graph = _with_norms(network.graph, {o.name: o for o in inside})
    inputs = start.inputs[start.parts.compensation][:SHIP_INPUTS]
    return Network(graph, {**network.weights, **_statistics(network, {o.name for o in inside}, inputs)})


def _norm(o: Op) -> Op:
    return op(f"{o.name}n", "batch_norm", (o.name,), o.shape, f"{o.weights}n", o.bits, eps=EPS)


def _with_norms(graph: Graph, inside: Mapping[str, Op]) -> Graph:
    made: list[Op] = []
    for o in graph:
        renamed = tuple(f"{name}n" if name in inside else name for name in o.inputs)
        made.append(replace(o, inputs=renamed))
        if o.name in inside:
            made.append(_norm(o))
    return Graph(tuple(made), graph.output)


@torch.inference_mode()
def _statistics(network: Network, inside: set[str], inputs: np.ndarray) -> Mapping[str, np.ndarray]:
    """Arrays of norms that change nothing: mean and variance as they are, taken off and put back."""
    walk = Walk(network.graph, tensors(network.weights), {network.graph.ops[0].name: batch(inputs)})
    found: dict[str, np.ndarray] = {}
    for o in network.graph.ops[1:]:
        value = walk.step(o)
        if o.name in inside:
            axes = [n for n in range(value.ndim) if n != 1]
            mean, variance = value.mean(axes), value.var(axes, unbiased=False)
            arrays = {"running_mean": mean, "running_var": variance, "bias": mean, "weight": (variance + EPS).sqrt()}
            found |= {_norm(o).array(role): a.numpy(force=True).copy() for role, a in arrays.items()}
    return found
