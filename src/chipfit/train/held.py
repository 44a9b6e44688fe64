"""What training leaves as edits made it: the zeros of pruned kernels, and weights that are fixed-point numbers.

Layers that the graph says are pruned (`patterns`) learn within the pattern that each of their kernels is in; gradients
elsewhere are zero, so that momentum, decay and averages leave the zeros alone. Layers in fixed point (`fraction_bits`)
compute with rounded weights and learn as if these were not rounded (the straight-through estimator, Bengio et al.
2013): the weights that learn stand aside while a batch is computed. In the end their averages are rounded.

The grid is that of the weights with the batch norm behind the layer folded in, with its running statistics (Jacob et
al. 2018). How these and its scale change the grid is not learnt through.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from chipfit.core.channels import foldable
from chipfit.core.fixed_point import FAINTEST, bounds
from chipfit.core.graph import Graph, Op
from chipfit.core.kernel_patterns import kept, patterns_of
from chipfit.nets.build import GraphModule


class Held:
    """The pruned and the fixed-point layers of a module that was built of a graph, where it is; of others none."""

    def __init__(self, net: nn.Module) -> None:
        self._pruned: list[_Pruned] = []
        self._grids: list[_Grid] = []
        if isinstance(net, GraphModule):
            self._pruned = _pruned(net, net.graph)
            self._grids = _grids(net, net.graph)

    @contextmanager
    def rounded(self) -> Iterator[None]:
        """Fixed-point layers have rounded weights within, whose gradients are left for those that learn."""
        learning = [grid.weight.detach().clone() for grid in self._grids]
        self.settle()
        yield
        with torch.no_grad():
            for grid, weight in zip(self._grids, learning, strict=True):
                grid.weight.copy_(weight)

    @torch.no_grad()
    def mask_gradients(self) -> None:
        """Zeroes the gradients of what is pruned."""
        for pruned in self._pruned:
            if pruned.weight.grad is not None:
                pruned.weight.grad.mul_(pruned.free)

    @torch.no_grad()
    def settle(self) -> None:
        """Rounds the weights of fixed-point layers."""
        for grid in self._grids:
            grid.weight.copy_(rounded(grid.weight, grid.integer, grid.fraction, grid.factor()))


@dataclass(frozen=True, slots=True)
class _Pruned:
    """A convolution's weight, and 1 where it may be other than zero."""

    weight: nn.Parameter
    free: Tensor


@dataclass(frozen=True, slots=True)
class _Grid:
    """A layer's weight, its fixed-point bits, and the batch norm or affine that is folded into it."""

    weight: nn.Parameter
    integer: int
    fraction: int
    norm: nn.Module | None

    def factor(self) -> Tensor | None:
        """(O,) what is folded into the weight of each output; None where nothing is."""
        if self.norm is None:
            return None
        if isinstance(self.norm, nn.modules.batchnorm._BatchNorm):
            assert self.norm.running_var is not None
            return self.norm.weight.double() / torch.sqrt(self.norm.running_var.double() + self.norm.eps)
        scale = getattr(self.norm, "scale", None)
        return None if scale is None else scale.double()


def rounded(weight: Tensor, integer: int, fraction: int, factor: Tensor | None = None) -> Tensor:
    """A layer's weight (O, ...) on its grid once it is multiplied by `factor` (O,), or (1,); see `core.fixed_point`."""
    steps, (low, high) = 2.0**fraction, bounds(integer, fraction)
    if factor is None:
        return (torch.floor(weight.double() * steps + 0.5) / steps).clamp(low, high).to(weight.dtype)
    by_row = factor.double().view(-1, *(1,) * (weight.ndim - 1))
    alive = by_row.abs() > FAINTEST
    safe = torch.where(alive, by_row, 1.0)
    number = (torch.floor(weight.double() * safe * steps + 0.5) / steps).clamp(low, high)
    return torch.where(alive, number / safe, weight.double()).to(weight.dtype)


def _pruned(net: GraphModule, graph: Graph) -> list[_Pruned]:
    found = []
    for o in graph:
        if patterns := patterns_of(o):
            weight = _weight(net, o)
            free = torch.from_numpy(kept(weight.detach().cpu().numpy(), patterns))
            found.append(_Pruned(weight, free.to(weight)))
    return found


def _grids(net: GraphModule, graph: Graph) -> list[_Grid]:
    norms = {layer: graph[norm] for norm, layer in foldable(graph).items()}
    found = []
    for o in graph:
        if (fraction := o.get("fraction_bits")) is not None:
            norm = net.layer(norms[o.name]) if o.name in norms else None
            found.append(_Grid(_weight(net, o), o["integer_bits"], fraction, norm))
    return found


def _weight(net: GraphModule, o: Op) -> nn.Parameter:
    weight = net.layer(o).weight
    assert isinstance(weight, nn.Parameter)
    return weight
