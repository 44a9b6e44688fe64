"""What repair leaves as edits made it: the zeros of pruned kernels, and weights that are fixed-point numbers.

A pruned layer is solved within the pattern that each of its kernels is in. One in fixed point is solved, and the
solution rounded, with what is folded into it as it then is; its intercept makes good what that moves on average.
"""

from __future__ import annotations

import torch
from torch import Tensor

from chipfit.compress.forward import Tensors
from chipfit.compress.hessian import flat
from chipfit.compress.moments import affine
from chipfit.core.channels import foldable
from chipfit.core.graph import Graph, Op
from chipfit.core.kernel_patterns import kept, patterns_of
from chipfit.train.held import rounded


def free_places(o: Op, weight: Tensor) -> Tensor | None:
    """(O, d) True where the weight of a layer, flat, may be other than zero; None for everywhere."""
    patterns = patterns_of(o)
    if not patterns:
        return None
    return flat(torch.from_numpy(kept(weight.numpy(force=True), patterns)).to(weight.device))


class Grids:
    """The fixed-point layers of a graph, and what is folded into each."""

    def __init__(self, graph: Graph) -> None:
        self._layers = {o.name: o for o in graph if o.get("fraction_bits") is not None}
        norms = foldable(graph) if self._layers else {}
        self._norms = {layer: graph[norm] for norm, layer in norms.items()}

    def __contains__(self, o: Op) -> bool:
        return o.name in self._layers

    def settled(self, o: Op, weight: Tensor, weights: Tensors) -> Tensor:
        """The weight (O, ...) of a layer rounded to its grid, if it has one; `weights` has what is folded into it."""
        if o not in self:
            return weight
        norm = self._norms.get(o.name)
        factor = affine(weights, norm)[0] if norm is not None else None
        return rounded(weight, o["integer_bits"], o["fraction_bits"], factor)

    def settle(self, weights: Tensors) -> None:
        """Rounds the weights of all fixed-point layers in place."""
        for o in self._layers.values():
            weight = weights[o.array("weight")]
            weight.copy_(self.settled(o, weight, weights))
