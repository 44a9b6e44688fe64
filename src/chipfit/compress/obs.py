"""Which channels of a group to give up, and what the layers that read it should do without them.

Structured optimal brain surgeon (Hassibi & Stork 1993; ZipLM, Kurtic et al. 2023, eq. 3-5). For a layer with weight
W and second moments H, giving up the columns S of one channel costs, with the others re-solved,

    score(S) = tr( W_S [ (H⁻¹)_SS ]⁻¹ W_Sᵀ ),      W ← W − W_S [(H⁻¹)_SS]⁻¹ (H⁻¹)_S,:

and H⁻¹ is downdated alike. A group is read by one or more layers: scores are added, each layer is compensated with its
own H. What differs from the papers: (i) scores count errors after the batch norm that follows, so that layers of
different scale can be added; (ii) no weights are stored. Each step being exact, the compensated weight of any set
of surviving columns K is one least-squares solution,

    W_K = W H_{:,K} (H_KK)⁻¹,

so that the order of removal and H give every width, and every combination of widths of several groups that feed one
layer, exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chipfit.compress.forward import tensors
from chipfit.compress.hessian import columns_of, consumers, flat, output_scale, owner
from chipfit.core.graph import Network
from chipfit.space.groups import ChannelGroup


class Reader:
    """One layer that reads a group, while channels go.

    Args:
        weight: (O, d), flat, scaled by what the batch norm behind it does.
        hessian: (d, d), or its diagonal (d,): then nothing is compensated.
        columns: (channels, s) columns of each channel.
    """

    def __init__(self, weight: Tensor, hessian: Tensor, columns: NDArray[np.intp]) -> None:
        self.weight = weight.clone()
        self.diagonal = hessian if hessian.ndim == 1 else None
        self.inverse = hessian if hessian.ndim == 1 else torch.cholesky_inverse(torch.linalg.cholesky(hessian))
        self.columns = torch.from_numpy(columns)

    def scores(self, alive: Tensor) -> Tensor:
        """(channels,) squared error after batch norm of giving up each of the channels that are left."""
        s = self.columns[alive]
        w = self.weight[:, s].transpose(0, 1)  # (channels, O, s)
        if self.diagonal is not None:
            return (w.square().sum(1) * self.diagonal[s]).sum(1)
        inside = torch.linalg.inv(self.inverse[s[:, :, None], s[:, None, :]])
        scores: Tensor = ((w @ inside) * w).sum((1, 2))
        return scores

    def remove(self, channel: int) -> None:
        """Gives up a channel and solves for the others."""
        if self.diagonal is None:
            s = self.columns[channel]
            rows = self.inverse[s]
            step = torch.linalg.solve(rows[:, s], rows)
            self.weight -= self.weight[:, s] @ step
            self.inverse -= rows.T @ step


def removal_order(network: Network, group: ChannelGroup, hessians: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Channels in the order in which they are given up; any width keeps a tail of it."""
    graph, weights = network.graph, tensors(network.weights)
    readers = []
    for prefix in dict.fromkeys(owner(graph[c.op]) for c in group.consumers):
        weight = weights[f"{prefix}.weight"]
        o = next(o for o in consumers(graph) if owner(o) == prefix)  # users of one weight read the same channels
        channel = np.arange(group.size)[:, None]
        inputs = np.concatenate(
            [c.start + channel * c.repeat + np.arange(c.repeat) for c in group.consumers if c.op == o.name], 1
        )
        columns = columns_of(inputs, weight).transpose(1, 0, 2).reshape(group.size, -1)
        readers.append(Reader(flat(weight).double() * output_scale(network, o)[:, None], hessians[prefix], columns))
    return order_of(readers, group.size)


def order_of(readers: Sequence[Reader], size: int) -> tuple[int, ...]:
    """The greedy order over all readers of a group."""
    alive, order = list(range(size)), []
    while len(alive) > 1:
        rows = torch.tensor(alive)
        scores = torch.stack([r.scores(rows) for r in readers]).sum(0)
        order.append(alive.pop(int(scores.argmin())))
        for r in readers:
            r.remove(order[-1])
    return (*order, alive[0])


def compensated(weight: Tensor, hessian: Tensor, keep: Tensor) -> Tensor:
    """(O, len(keep)) weight on the columns `keep` with the least error for what a (O, d) weight computes."""
    if hessian.ndim == 1:
        return weight[:, keep]
    factor = torch.linalg.cholesky(hessian[keep][:, keep])
    return torch.cholesky_solve(hessian[keep] @ weight.T, factor).T
