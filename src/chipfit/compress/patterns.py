"""Which few patterns a network's kernels are pruned to: those that together keep most of its weights.

An engine is built for a handful of patterns, so that all kernels of one size share them. A kernel keeps the squares in
the pattern that is best for it; a set of patterns is as good as the share of squares that all kernels keep,

    f(S) = mean over kernels of  max over p in S of  Σ w² on p,

where kernels count by how large they are within their layer, and each layer by how many it has: the scale of a layer
says nothing of what its zeros would cost. The set begins with the best single pattern and takes in the one that adds
most until it is full; f being submodular, that is within 1 - 1/e of the best (Nemhauser et al. 1978). Then patterns
are exchanged one for another for as long as that adds to it.

HotNAS (arXiv 2007.09087) makes sets a gene of its search. What differs: they are chosen by weights, once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from chipfit.compress.stored import stored_weights
from chipfit.core.graph import Graph, Network, Op
from chipfit.core.kernel_patterns import Pattern, as_masks
from chipfit.space.edits.layer import alone
from chipfit.space.edits.pattern import ZEROS, candidates, drawn_by_hand

TOGETHER = 4
"""Patterns of one set."""

SAMPLED = 20_000
"""Kernels of all layers together that are looked at, spread over each layer; more change no set."""

Set = tuple[Pattern, ...]


def pattern_sets(network: Network, layers: Collection[str] = ()) -> Mapping[int, tuple[Set, ...]]:
    """Size of square kernels to the sets that they may be pruned to, from the fewest zeros to the most.

    Only sizes that some layer has are there. `layers` are those that may be pruned, by default all that can be.
    """
    found: dict[int, tuple[Set, ...]] = {}
    open_layers = [o for o in network.graph if prunable(network.graph, o) and (not layers or o.name in layers)]
    for size in sorted({o["kernel"][0] for o in open_layers}):
        if size in ZEROS:
            kernels = _kernels(network, [o for o in open_layers if o["kernel"][0] == size])
            found[size] = tuple(best_set(kernels, candidates(size, zeros)) for zeros in ZEROS[size])
        else:
            found[size] = (drawn_by_hand(),)
    return found


def prunable(graph: Graph, o: Op) -> bool:
    """True for convolutions that have patterns: of square kernels of 3, 5 or 7, whose weight no other layer uses."""
    return o.kind == "conv" and o["kernel"] in {(3, 3), (5, 5), (7, 7)} and alone(graph, o)


def best_set(kernels: NDArray[np.float64], patterns: Sequence[Pattern], together: int = TOGETHER) -> Set:
    """So many of the patterns, in their order, that keep most of the kernels (n, taps)."""
    shares = as_masks(patterns, kernels.shape[1]).astype(np.float64) @ np.square(kernels).T  # (patterns, n)
    chosen = _greedy(shares, min(together, len(patterns)))
    while (better := _exchanged(shares, chosen)) is not None:
        chosen = better
    return tuple(patterns[p] for p in sorted(chosen))


def _greedy(shares: NDArray[np.float64], together: int) -> list[int]:
    chosen: list[int] = []
    for _ in range(together):
        chosen.append(_next(shares, chosen)[0])
    return chosen


def _exchanged(shares: NDArray[np.float64], chosen: Sequence[int]) -> list[int] | None:
    """The set with one pattern exchanged such that it keeps more; None where no exchange does."""
    now = float(shares[list(chosen)].max(0).sum())
    for gone in chosen:
        rest = [p for p in chosen if p != gone]
        best, total = _next(shares, rest)
        if total > now * (1 + 1e-9):
            return [*rest, best]
    return None


def _next(shares: NDArray[np.float64], chosen: Sequence[int]) -> tuple[int, float]:
    """The pattern that adds most to those chosen, and what the kernels keep of it all."""
    reached = shares[list(chosen)].max(0, initial=0.0)
    totals = np.array([float(np.maximum(reached, row).sum()) for row in shares])
    totals[list(chosen)] = -1.0
    best = int(totals.argmax())
    return best, float(totals[best])


def _kernels(network: Network, layers: Sequence[Op]) -> NDArray[np.float64]:
    """(n, taps) kernels of these layers, each layer's with a mean square of 1, as they are stored."""
    found, step = [], -(-sum(_count(network.graph, o) for o in layers) // SAMPLED)
    for o in layers:
        weight = stored_weights(network, o.name).astype(np.float64)
        rows = weight.reshape(-1, weight.shape[2] * weight.shape[3])
        rows = rows[::step]
        found.append(rows / max(float(np.sqrt(np.square(rows).mean())), 1e-30))
    return np.concatenate(found)


def _count(graph: Graph, o: Op) -> int:
    """2-D kernels of a convolution."""
    outputs, inputs, *_ = graph.roles(o)["weight"]
    return outputs * inputs
