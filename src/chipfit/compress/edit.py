"""Edits on a network: the graph changes as `space.edits` says, and its arrays are made as it explains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chipfit.core.edits import Edit, Edited, Source, Take
from chipfit.core.graph import Network, Weights
from chipfit.space.edits import edited


def apply(network: Network, edits: Sequence[Edit]) -> Network:
    """The network after the edits; arrays that no edit touches are shared with the original.

    Law: tracing the result gives the graph that `space.edits.apply` gives.
    """
    return carried_out(network, edited(network.graph, edits))


def carried_out(network: Network, made: Edited) -> Network:
    """The edited graph with the arrays that it explains."""
    weights: Weights = {name: _array(source, network.weights) for name, source in made.arrays.items()}
    return Network(made.graph, weights)


def _array(source: Source, weights: Weights) -> NDArray[Any]:
    array = weights[source.name]
    if isinstance(source, Take):
        for axis, places in source.axes.items():
            array = array.take(places, axis)
    return np.ascontiguousarray(array)
