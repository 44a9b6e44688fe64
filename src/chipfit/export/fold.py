"""Batch norm, or a scale and shift, folded into the convolution or dense layer before it, as runtimes do on loading.

With gamma, beta the learnt scale and shift, mu and v the running statistics of an output channel:

    gamma (W x + b - mu) / sqrt(v + eps) + beta  =  (f W) x + f (b - mu) + beta,      f = gamma / sqrt(v + eps)

A scale and shift of its own (`affine`) has f and the offset as they are.

Where the layer is in fixed point its grid is that of the folded weights, which are rounded to it: weights that were
made for this (`space.edits.fixed`) are off it by what single precision cannot say.

It is done here, in double precision, and not left to the runtime, because int8 needs the folded weights' scales.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from chipfit.core.channels import array_axis, foldable
from chipfit.core.fixed_point import on_grid
from chipfit.core.graph import LAYERS, Graph, Network, Op, Weights


def fold(network: Network) -> Network:
    """The same function with every batch norm (or affine) that can be folded gone.

    A folded operator keeps the name of its convolution or dense layer, and has a bias. Layers that share an array but
    not all that is folded into it get arrays of their own.
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
            if o.name in prefixes:
                small = replace(small, weights=prefixes[o.name], tied=())
            small = small.having(bias=1)
            weights |= _arrays(o, small, norms[o.name], network.weights)
        ops.append(small)
    made = Graph(tuple(ops), into.get(graph.output, graph.output))
    wanted = {n for o in made for n in made.weight_shapes(o)}
    return Network(made, {n: a for n, a in weights.items() if n in wanted})


def scale_and_shift(norm: Op, weights: Weights) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(channels,) factor and offset of a batch norm in evaluation, or an affine: y = factor x + offset."""
    arrays = {role: weights[norm.array(role)].astype(np.float64) for role in _ROLES if norm.array(role) in weights}
    if norm.kind == "affine":
        factor = arrays["scale"] if norm["scale"] else np.ones(1)
        offset = arrays["shift"] if norm["shift"] else np.zeros(1)
        channels = np.ones(norm.shape[array_axis(norm)])
        return factor * channels, offset * channels
    factor = arrays["weight"] / np.sqrt(arrays["running_var"] + norm["eps"])
    return factor, arrays["bias"] - factor * arrays["running_mean"]


_ROLES = ("weight", "bias", "running_mean", "running_var", "scale", "shift")


def _prefixes(graph: Graph, norms: Mapping[str, Op]) -> dict[str, str]:
    """Folded layer to a new prefix, where it shares an array with a layer that has something else folded into it.

    Layers with the same arrays, the same folded into them, share the new ones too.
    """
    recipes = {o.name: _recipe(o, norms.get(o.name)) for o in graph if o.kind in LAYERS}
    using: dict[str, set[Recipe]] = defaultdict(set)
    first: dict[Recipe, str] = {}
    for name, recipe in recipes.items():
        first.setdefault(recipe, name)
        for array in graph.weight_shapes(graph[name]):
            using[array].add(recipe)
    apart = {r for found in using.values() if len(found) > 1 for r in found}
    return {name: f"{first[recipe]}/folded" for name, recipe in recipes.items() if recipe in apart and name in norms}


Recipe = tuple[str, ...]
"""The arrays a folded layer is made of, and what else sets its values: equal for layers with equal folded arrays."""


def _recipe(layer: Op, norm: Op | None) -> Recipe:
    own = (layer.array("weight"), layer.array("bias") if layer["bias"] else "")
    if norm is None:
        return own
    return (*own, str(norm.attrs), *(norm.array(role) for role in _ROLES))


def _arrays(layer: Op, folded: Op, norm: Op, weights: Weights) -> Weights:
    """Weight and bias of the folded layer: those of the layer with the batch norm in them."""
    factor, offset = scale_and_shift(norm, weights)
    weight = weights[layer.array("weight")]
    scaled = weight * factor.reshape(-1, *(1,) * (weight.ndim - 1))
    if layer.get("fraction_bits") is not None:
        scaled = on_grid(scaled, layer["integer_bits"], layer["fraction_bits"])
    bias = offset + factor * weights[layer.array("bias")] if layer["bias"] else offset
    return {folded.array("weight"): scaled.astype(np.float32), folded.array("bias"): bias.astype(np.float32)}
