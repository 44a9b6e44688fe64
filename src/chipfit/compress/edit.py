"""Edits on a network: the graph changes as `space.edits` says, and its arrays are made as it explains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chipfit.core.edits import Edit, Edited, Factor, Masked, Padded, Rounded, Same, Source, Take, innermost
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
    """The edited graph with the arrays that it explains."""
    weights: Weights = {name: _array(source, network.weights) for name, source in made.arrays.items()}
    return Network(made.graph, weights)


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
    return _rounded(source, inner, weights).astype(inner.dtype)


def _array(source: Source, weights: Weights) -> Array:
    begun = innermost(source)
    array = weights[begun.name]
    if isinstance(begun, Take):
        for axis, places in begun.axes.items():
            array = array.take(places, axis)
    return np.asarray(finished(source, array, weights), order="C")  # ascontiguousarray would give a number an axis


def _rounded(source: Rounded, values: Array, weights: Weights) -> Array:
    if source.factor is None:
        return on_grid(values, source.integer, source.fraction)
    return stored_as(values, _factor(source.factor, len(values), weights), source.integer, source.fraction)


def _factor(factor: Factor, rows: int, weights: Weights) -> NDArray[np.float64]:
    """(rows,) what each row is multiplied by when it is stored."""
    scale = _array(factor.scale, weights).astype(np.float64)
    if factor.variance is not None:
        scale = scale / np.sqrt(_array(factor.variance, weights).astype(np.float64) + factor.eps)
    return np.broadcast_to(scale, rows)
