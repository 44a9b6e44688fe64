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

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chipfit.compress.forward import tensors
from chipfit.compress.hessian import columns_of, consumers, diagonal, errors, flat, output_scale, owner
from chipfit.core.graph import Network
from chipfit.core.kinds import KINDS
from chipfit.space.axes import Axis, places_of
from chipfit.space.groups import ChannelGroup, Consumer


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

    def remove(self, *channels: int) -> None:
        """Gives up channels together, and solves for the others."""
        if self.diagonal is None:
            s = self.columns[list(channels)].flatten()
            rows = self.inverse[s]
            step = torch.linalg.solve(rows[:, s], rows)
            self.weight -= self.weight[:, s] @ step
            self.inverse -= rows.T @ step

    @property
    def work(self) -> float:
        """Multiplications of giving up one channel."""
        return float(self.inverse.numel()) if self.diagonal is None else 0.0


class ChannelReader:
    """The same with one column for each channel: H is taken to be equal at all taps, and zero across them.

    All that scores need of the weight is G = Σ WᵀW over taps, (channels, channels): with K = [(H⁻¹)_SS]⁻¹ (H⁻¹)_S,: it
    becomes (I - I_:,S K)ᵀ G (I - I_:,S K). A score is G_cc / (H⁻¹)_cc.
    """

    def __init__(self, weight: Tensor, hessian: Tensor, columns: NDArray[np.intp]) -> None:
        at = torch.from_numpy(columns)
        taps = [at[:, t] for t in range(at.shape[1])]
        self.gram = torch.stack([weight[:, s].T @ weight[:, s] for s in taps]).sum(0)
        if len(hessian) < weight.shape[1]:  # it has the form for channels
            taps = [at[:, 0] % len(hessian)]
        mean = torch.stack([hessian[s] if hessian.ndim == 1 else hessian[s][:, s] for s in taps]).mean(0)
        full = torch.diag(mean) if mean.ndim == 1 else mean
        self.inverse = torch.cholesky_inverse(torch.linalg.cholesky(full))

    def scores(self, alive: Tensor) -> Tensor:
        """(channels,) squared error after batch norm of giving up each of the channels that are left."""
        scores: Tensor = (self.gram.diagonal() / self.inverse.diagonal())[alive]
        return scores

    def remove(self, *channels: int) -> None:
        """Gives up channels together, and solves for the others."""
        s = torch.tensor(channels)
        rows = self.inverse[s]
        step = torch.linalg.solve(rows[:, s], rows)
        moved = self.gram[s]
        crossed = step.T @ (moved - moved[:, s] @ step / 2)
        self.gram -= crossed + crossed.T
        self.inverse -= rows.T @ step

    @property
    def work(self) -> float:
        """Multiplications of giving up one channel."""
        return float(self.inverse.numel())


Reading = Reader | ChannelReader
"""A layer that reads a group, while channels go."""


def removal_order(
    network: Network, group: ChannelGroup, hessians: Mapping[str, Tensor], *, coarse: bool = False
) -> tuple[int, ...]:
    """Channels in the order in which they are given up; any width keeps a tail of it.

    Where no layer that can be solved for reads the group, the order is that of what its channels amount to. A `coarse`
    order takes H to be equal at all taps of a kernel and zero across them, which leaves a matrix of channels by
    channels: of layers with thousands of columns each exact step passes over a matrix of a hundred megabytes.
    """
    if group.norms:
        return tuple(reversed(range(group.size)))  # of a stream that was turned the last ones count least
    readers = _readers(network, group, hessians, ChannelReader if coarse else Reader)
    if group.products or not readers:
        return _by_amount(network, group, hessians, readers)
    return order_of(readers, group.size, COARSE_STEPS if coarse else group.size)


def _readers(
    network: Network,
    group: ChannelGroup,
    hessians: Mapping[str, Tensor],
    made: Callable[[Tensor, Tensor, NDArray[np.intp]], Reading],
) -> list[Reading]:
    """The layers that read a group and can be solved for, those of one weight once."""
    graph, weights = network.graph, tensors(network.weights)
    solved = {o.name for o in consumers(graph)}
    first: dict[str, Consumer] = {}
    for c in group.consumers:
        if c.op in solved:
            first.setdefault(owner(graph[c.op]), c)  # users of one weight read the same channels
    found = []
    for prefix, c in first.items():
        weight = weights[f"{prefix}.weight"]
        columns = columns_of(c.places(group), weight).transpose(1, 0, 2).reshape(group.size, -1)
        scaled = flat(weight).double() * output_scale(network, graph[c.op])[:, None]
        h = hessians[prefix]
        # with nothing known of other channels there is nothing to be solved
        found.append(made(scaled, h, columns) if h.ndim == 2 else Reader(scaled, diagonal(h, scaled.shape[1]), columns))
    return found


def _by_amount(
    network: Network, group: ChannelGroup, hessians: Mapping[str, Tensor], readers: Sequence[Reading]
) -> tuple[int, ...]:
    """Channels by their share of what is lost with each of them alone, the least first.

    Values that are multiplied with one another (an attention's queries and keys) have no closed form of what others
    can make good. A channel counts as the share it has of the squares of what each layer makes of the group, and of the
    errors that each reader would make without it.
    """
    every = torch.arange(group.size)
    made = zip(group.producers, group.made, strict=True)
    shares = [r.scores(every) for r in readers] + [_made(network, group, p, axis, hessians) for p, axis in made]
    total = torch.zeros(group.size).double()
    for scores in shares:
        total += scores / scores.sum().clamp_min(1e-30)
    return tuple(total.argsort(stable=True).tolist())


def _made(network: Network, group: ChannelGroup, producer: str, axis: Axis, hessians: Mapping[str, Tensor]) -> Tensor:
    """(channels,) mean square of what a layer makes of a group, its bias apart: w H wᵀ of its rows, summed up.

    Of a layer without second moments it is the sum of squares of its weights.
    """
    o = network.graph[producer]
    weight = torch.from_numpy(network.weights[o.array("weight")])
    h = hessians.get(owner(o)) if o in consumers(network.graph) else None
    if h is None:
        squares = weight.movedim(KINDS[o.kind].rows, 0).double().flatten(1).square().sum(1)
    else:
        squares = errors(flat(weight).double(), h)
    return squares[torch.from_numpy(places_of(axis, group.name, group.size))].sum(1)


ENOUGH_WORK = 7e8
"""Multiplications of a whole elimination from which channels are given up several at a time."""


COARSE_STEPS = 32
"""In which a coarse order gives up all channels."""


def order_of(readers: Sequence[Reading], size: int, steps: int | None = None) -> tuple[int, ...]:
    """The greedy order over all readers of a group, in about so many steps at most.

    Each channel is given up for what the others can make good by then; of a wide group read by a wide layer a few are
    given up together, as every step goes through d² values.
    """
    together = 1 + int(size * sum(r.work for r in readers) / ENOUGH_WORK)
    together = max(together, -(-size // (steps or size)))
    alive, order = list(range(size)), list[int]()
    while len(alive) > 1:
        scores = torch.stack([r.scores(torch.tensor(alive)) for r in readers]).sum(0)
        least = scores.argsort(stable=True)[: min(together, len(alive) - 1)].tolist()
        gone = [alive[n] for n in least]
        alive = [c for c in alive if c not in gone]
        order += gone
        for r in readers:
            r.remove(*gone)
    return (*order, alive[0])


def compensated(weight: Tensor, hessian: Tensor, keep: Tensor) -> Tensor:
    """(O, len(keep)) weight on the columns `keep` with the least error for what a (O, d) weight computes.

    With H in the form for channels, `keep` has the same channels of each tap.
    """
    if hessian.ndim == 1:
        return weight[:, keep]
    taps = weight.shape[1] // len(hessian)
    channels = keep[: len(keep) // taps]
    by_tap = weight.reshape(-1, len(hessian))
    factor = torch.linalg.cholesky(hessian[channels][:, channels])
    return torch.cholesky_solve(hessian[channels] @ by_tap.T, factor).T.reshape(len(weight), -1)
