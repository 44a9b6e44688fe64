"""Batch norm folded into the convolution or dense layer before it, as every runtime would do on loading.

With gamma, beta the learnt scale and shift, mu and v the running statistics of an output channel:

    gamma (W x + b - mu) / sqrt(v + eps) + beta  =  (f W) x + f (b - mu) + beta,      f = gamma / sqrt(v + eps)

It is done here, in double precision, and not left to the runtime, because int8 needs the folded weights' scales.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from chipfit.core.channels import foldable
from chipfit.core.graph import Graph, Network, Op, Weights


def fold(network: Network) -> Network:
    """The same function with every batch norm that can be folded gone.

    A folded operator keeps the name of its convolution or dense layer, and has a bias. Layers that share their weights
    but not their batch norm get arrays of their own.
    """
    graph = network.graph
    into = foldable(graph)
    if not into:
        return network
    norms = {layer: graph[norm] for norm, layer in into.items()}
    prefixes = _prefixes(graph, norms)
    ops, weights = [], dict(network.weights)
    for o in graph:
        if o.name in into:
            continue
        small = replace(o, inputs=tuple(into.get(i, i) for i in o.inputs))
        if o.name in norms:
            weights |= _arrays(o, norms[o.name], network.weights, prefixes[o.name])
            small = replace(small.having(bias=1), weights=prefixes[o.name])
        ops.append(small)
    made = Graph(tuple(ops), into.get(graph.output, graph.output))
    wanted = {n for o in made for n in made.weight_shapes(o)}
    return Network(made, {n: a for n, a in weights.items() if n in wanted})


def scale_and_shift(norm: Op, weights: Weights) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(channels,) factor and offset of a batch norm in evaluation: y = factor x + offset."""
    gamma, beta, mean, var = (
        weights[f"{norm.weights}.{n}"].astype(np.float64) for n in ("weight", "bias", "running_mean", "running_var")
    )
    factor = gamma / np.sqrt(var + norm["eps"])
    return factor, beta - factor * mean


def _prefixes(graph: Graph, norms: Mapping[str, Op]) -> dict[str, str]:
    """Folded layer to the prefix of its new arrays: the old one where all who share it fold the same batch norm."""
    sharing: dict[str, dict[str, Op | None]] = defaultdict(dict)
    for o in graph:
        if o.kind in ("conv", "linear"):
            sharing[o.weights][o.name] = norms.get(o.name)
    prefixes: dict[str, str] = {}
    for prefix, layers in sharing.items():
        apart = len({n and (n.weights, n["eps"]) for n in layers.values()}) > 1
        prefixes |= {layer: f"{layer}.folded" if apart else prefix for layer in layers}
    return prefixes


def _arrays(layer: Op, norm: Op, weights: Weights, prefix: str) -> Weights:
    """Weight and bias of the layer with the batch norm in them."""
    factor, offset = scale_and_shift(norm, weights)
    weight = weights[f"{layer.weights}.weight"]
    folded = weight * factor.reshape(-1, *(1,) * (weight.ndim - 1))
    bias = offset + factor * weights[f"{layer.weights}.bias"] if layer["bias"] else offset
    return {f"{prefix}.weight": folded.astype(np.float32), f"{prefix}.bias": bias.astype(np.float32)}
