"""The weights of a layer as an accelerator stores them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from chipfit.compress.forward import tensors
from chipfit.compress.quantise import folded_layer
from chipfit.core.channels import foldable
from chipfit.core.graph import Network


def stored_weights(network: Network, layer: str) -> NDArray[np.float32]:
    """(O, ...) weight of a layer with the batch norm or affine behind it folded in, where one can be."""
    norms = {layer: norm for norm, layer in foldable(network.graph).items()}
    norm = network.graph[norms[layer]] if layer in norms else None
    weight, _ = folded_layer(network.graph[layer], norm, tensors(network.weights))
    found: NDArray[np.float32] = weight.numpy()
    return found
