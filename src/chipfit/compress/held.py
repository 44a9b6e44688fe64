"""What repair leaves as edits made it: the zeros of pruned kernels, and weights that are fixed-point numbers.

A pruned layer is solved within the pattern that each of its kernels is in. One in fixed point is solved, and the
solution rounded in turn (`rounding`), with what is folded into it as it then is; its intercept makes good what that
moves on average.
"""

from __future__ import annotations

import torch
from torch import Tensor

from chipfit.compress.forward import Tensors
from chipfit.compress.hessian import flat
from chipfit.compress.moments import affine
from chipfit.compress.rounding import rounded_in_turn
from chipfit.core.channels import foldable
from chipfit.core.fixed_point import FAINTEST
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

    def settled(self, o: Op, w: Tensor, h: Tensor, free: Tensor | None, weights: Tensors) -> Tensor:
        """A solution w (O, d) of a layer rounded in turn to its grid, if it has one.

        `h` (d, d) has the second moments of what it reads, `weights` what is folded into it; see `rounded_in_turn`.
        """
        if o not in self:
            return w
        factor = self._factor(o, weights)
        scale = torch.ones(len(w), dtype=w.dtype, device=w.device) if factor is None else factor.to(w).expand(len(w))
        alive = scale.abs() > FAINTEST
        steps = torch.where(alive, scale, 1.0)[:, None] * 2.0 ** o["fraction_bits"]
        half = 2.0 ** (o["integer_bits"] + o["fraction_bits"] - 1)
        numbers = rounded_in_turn(w * steps, h, -half, half - 1, free)
        return torch.where(alive[:, None], numbers / steps, w)

    def settle(self, weights: Tensors) -> None:
        """Rounds the weights of all fixed-point layers in place, each to the nearest: those on the grid stay."""
        for o in self._layers.values():
            weight = weights[o.array("weight")]
            weight.copy_(rounded(weight, o["integer_bits"], o["fraction_bits"], self._factor(o, weights)))

    def _factor(self, o: Op, weights: Tensors) -> Tensor | None:
        """What is folded into a layer's weight, (O,) or (1,)."""
        norm = self._norms.get(o.name)
        return affine(weights, norm)[0] if norm is not None else None
