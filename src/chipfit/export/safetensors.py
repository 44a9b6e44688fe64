"""Graph and weights to a safetensors file: what torch needs to build the network again, and no code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from safetensors.numpy import save

from chipfit.core.graph import KINDS, Network
from chipfit.core.types import Artifact
from chipfit.export.fold import fold
from chipfit.export.formats import only_float
from chipfit.export.lower import Range

WRITES: Final = KINDS
"""Kinds that have a form here: every one, for the file holds the graph itself."""


def write(
    network: Network,
    *,
    ranges: Mapping[str, Range] | None = None,
    metadata: Mapping[str, str] = {},
    reduce_range: bool = False,
) -> Artifact:
    """The network with batch norm folded: its arrays by name, and its graph as JSON under "graph" in the metadata.

    `ranges` and `reduce_range` are for int8, which this format has none of.

    Raises:
        ValueError: an operator has 8 bits.
    """
    only_float(network.graph, "torch eager")
    folded = fold(network)
    arrays = {name: np.asarray(array, order="C") for name, array in folded.weights.items()}
    return Artifact("safetensors", save(arrays, {**metadata, "graph": folded.graph.to_json()}), network.graph)
