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
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from chipfit.compress.hessian import output_scale
from chipfit.core.graph import Network
from chipfit.space.groups import ChannelGroup

Array = NDArray[np.float64]


@dataclass(slots=True)
class Reader:
    """One layer that reads a group, while channels go: scaled weight (O, d), inverse of H, columns of each channel."""

    weight: Array
    inverse: Array
    columns: NDArray[np.intp]

    def scores(self, alive: NDArray[np.intp]) -> Array:
        """(channels,) squared error after batch norm of giving up each of the channels that are left."""
        s = self.columns[alive]
        inside = np.linalg.inv(self.inverse[s[:, :, None], s[:, None, :]])
        w = self.weight[:, s].transpose(1, 0, 2)
        return np.asarray(np.sum((w @ inside) * w, axis=(1, 2)))

    def remove(self, channel: int) -> None:
        """Gives up a channel and re-solves the others."""
        s = self.columns[channel]
        rows = self.inverse[s]
        step = np.linalg.solve(rows[:, s], rows)
        self.weight -= self.weight[:, s] @ step
        self.inverse -= rows.T @ step


def columns_of(network: Network, group: ChannelGroup, prefix: str) -> NDArray[np.intp]:
    """(channels, s) columns of the flattened weight `prefix` that belong to each channel of the group."""
    of = {c.op for c in group.consumers if network.graph[c.op].weights == prefix}
    first = min(of)  # users of one weight read the same channels
    weight = network.weights[f"{prefix}.weight"]
    taps = int(np.prod(weight.shape[2:]))
    channel = np.arange(group.size)[:, None]
    parts = []
    for c in group.consumers:
        if c.op == first:
            inputs = c.start + channel * c.repeat + np.arange(c.repeat)
            parts.append((inputs[:, :, None] * taps + np.arange(taps)).reshape(group.size, -1))
    return np.concatenate(parts, 1)


def removal_order(network: Network, group: ChannelGroup, hessians: Mapping[str, Array]) -> tuple[int, ...]:
    """Channels in the order in which they are given up; any width keeps a tail of it."""
    readers = []
    for prefix in dict.fromkeys(network.graph[c.op].weights for c in group.consumers):
        o = next(o for o in network.graph if o.weights == prefix)
        weight = network.weights[f"{prefix}.weight"].astype(np.float64)
        scaled = weight.reshape(len(weight), -1) * output_scale(network, o)[:, None]
        readers.append(Reader(scaled, inverse(hessians[prefix]), columns_of(network, group, prefix)))
    return order_of(readers, group.size)


def order_of(readers: Sequence[Reader], size: int) -> tuple[int, ...]:
    """The greedy order over all readers of a group."""
    alive, order = np.arange(size), []
    while len(alive) > 1:
        worst = int(np.argmin(sum(r.scores(alive) for r in readers)))
        order.append(int(alive[worst]))
        for r in readers:
            r.remove(order[-1])
        alive = np.delete(alive, worst)
    return (*order, int(alive[0]))


def inverse(hessian: Array) -> Array:
    """H⁻¹ of a symmetric positive definite H."""
    factor = scipy.linalg.cho_factor(hessian, lower=True)
    return np.asarray(scipy.linalg.cho_solve(factor, np.eye(len(hessian))))


def compensated(weight: Array, hessian: Array, keep: NDArray[np.intp]) -> Array:
    """(O, len(keep)) weight on the columns `keep` with the least error for what a (O, d) weight computes."""
    inside = hessian[np.ix_(keep, keep)]
    factor = scipy.linalg.cho_factor(inside, lower=True)
    return np.asarray(scipy.linalg.cho_solve(factor, hessian[keep] @ weight.T).T)
