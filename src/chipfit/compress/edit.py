"""Edits on a network: the graph changes as `space.edits` says, and its arrays are made as it explains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chipfit.compress.factors import closed_form
from chipfit.core.edits import Edit, Edited, Factor, Fitted, Masked, Padded, Rounded, Same, Source, Take, innermost
from chipfit.core.fixed_point import on_grid, stored_as
from chipfit.core.graph import Network, Weights
from chipfit.core.kernel_patterns import kept
from chipfit.space.edits import edited

Array = NDArray[Any]


def apply(network: Network, edits: Sequence[Edit]) -> Network:
    """The network after the edits; arrays that no edit touches are shared with the original.

    Law: tracing the result gives the graph that `space.edits.apply` gives.
    """
    return carried_out(network, edited(network.graph, edits))


def carried_out(network: Network, made: Edited) -> Network:
    """The edited graph with the arrays that it explains; programs are fitted in closed form."""
    return made_with(network, made, {}, closed_form)


Fit = Callable[[Fitted, Array], Mapping[str, Array]]
"""From an array of a program, and the weight that the program is fitted to, to the arrays of its operators by name."""


def made_with(network: Network, made: Edited, begun: Mapping[str, Array], fit: Fit) -> Network:
    """The edited graph with its arrays; `fit` fits programs to weights.

    Arrays of the original that are in `begun` are taken from there, where they have lost their places already.
    """
    weights: Weights = {}
    for name, source in made.arrays.items():
        if not isinstance(source, Fitted):
            weights[name] = _array(source, network.weights, begun)
        elif name not in weights:
            parts = fit(source, _array(source.of, network.weights, begun))
            weights |= {part: a for part, a in parts.items() if isinstance(made.arrays[part], Fitted)}
    return Network(made.graph, {name: weights[name] for name in made.arrays})


def finished(source: Source, begun: Array, weights: Weights) -> Array:
    """What the sources around the innermost one make of `begun`, which stands for its array.

    `weights` are the original's; a factor is made of them.
    """
    if isinstance(source, Same | Take):
        return begun
    inner = finished(source.of, begun, weights)
    if isinstance(source, Padded):
        return np.pad(inner, [source.around.get(axis, (0, 0)) for axis in range(inner.ndim)])
    if isinstance(source, Masked):
        return np.where(kept(inner, source.patterns), inner, np.zeros((), inner.dtype))
    if isinstance(source, Fitted):
        return closed_form(source, inner)[source.array]
    return _rounded(source, inner, weights).astype(inner.dtype)


def _array(source: Source, weights: Weights, begun: Mapping[str, Array]) -> Array:
    within = innermost(source)
    array = begun.get(within.name, weights[within.name])
    if isinstance(within, Take) and within.name not in begun:
        for axis, places in within.axes.items():
            array = array.take(places, axis)
    return np.asarray(finished(source, array, weights), order="C")  # ascontiguousarray would give a number an axis


def _rounded(source: Rounded, values: Array, weights: Weights) -> Array:
    if source.factor is None:
        return on_grid(values, source.integer, source.fraction)
    return stored_as(values, _factor(source.factor, len(values), weights), source.integer, source.fraction)


def _factor(factor: Factor, rows: int, weights: Weights) -> NDArray[np.float64]:
    """(rows,) what each row is multiplied by when it is stored."""
    scale = _array(factor.scale, weights, {}).astype(np.float64)
    if factor.variance is not None:
        scale = scale / np.sqrt(_array(factor.variance, weights, {}).astype(np.float64) + factor.eps)
    return np.broadcast_to(scale, rows)
