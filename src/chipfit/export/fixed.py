"""ONNX files whose weights are fixed-point numbers, for accelerators that compute in such.

Batch norm is folded first. Then the weights of each convolution and dense layer that is not int8 are put on the grid of
the layer's format: the one that the network says (attributes `integer_bits` and `fraction_bits`), or 16 bits with as
many in front of the point as its largest weight needs. They stand in the file as float32, which holds such numbers
exactly; biases, which an accelerator adds up in wide registers, stay as they are. int8 layers are written as QDQ.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from chipfit.core.channels import foldable
from chipfit.core.fixed_point import WIDEST, integer_bits, on_grid
from chipfit.core.graph import LAYERS, Network
from chipfit.core.types import Artifact
from chipfit.export import onnx
from chipfit.export.fold import fold
from chipfit.export.lower import Range

WRITES = onnx.WRITES
"""Kinds that have a form here."""

Bits = tuple[int, int]
"""(integer, fraction) bits; the sign is an integer bit."""


def write(
    network: Network,
    *,
    ranges: Mapping[str, Range] | None = None,
    metadata: Mapping[str, str] = {},
    reduce_range: bool = False,
) -> Artifact:
    """The file; see `export.formats.Writer`."""
    known = dict(ranges or {})
    # a folded layer answers with what its batch norm did
    known |= {layer: known[norm] for norm, layer in foldable(network.graph).items() if norm in known}
    made = onnx.write(rounded(network), ranges=known, metadata=metadata, reduce_range=reduce_range)
    return Artifact("onnx-fixed", made.data, network.graph)


def rounded(network: Network) -> Network:
    """The network with batch norm folded and the weights of layers in fixed point on their grids."""
    folded = fold(network)
    weights = dict(folded.weights)
    for name, bits in formats(folded).items():
        array = folded.graph[name].array("weight")
        weights[array] = on_grid(folded.weights[array], *bits).astype(np.float32)
    return Network(folded.graph, weights)


def formats(network: Network) -> dict[str, Bits]:
    """Layer to the format of its weights once batch norm is folded, of all layers that are not int8.

    Layers that share an array share the format of the first of them.
    """
    folded = fold(network)
    by_array: dict[str, Bits] = {}
    found: dict[str, Bits] = {}
    for o in folded.graph:
        if o.kind in LAYERS and o.bits != 8:
            array, attrs = o.array("weight"), dict(o.attrs)
            given = attrs.get("integer_bits"), attrs.get("fraction_bits")
            own = given if isinstance(given[0], int) and isinstance(given[1], int) else widest(folded.weights[array])
            found[o.name] = by_array.setdefault(array, own)  # type: ignore[arg-type]
    return found


def widest(weights: NDArray[np.float32]) -> Bits:
    """The 16-bit format of these weights: a sign, the bits in front of the point that the largest needs, fractions.

    >>> widest(np.array([0.7, -3.0], np.float32))
    (3, 13)
    """
    integer = integer_bits(weights)
    return integer, WIDEST - integer
