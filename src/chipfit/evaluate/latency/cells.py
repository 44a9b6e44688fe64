"""Graphs of the two spaces that latency tables are published for: NAS-Bench-201 cells and chains of FBNet layers.

Both give `tokens` (n, V), the kind of operator at each node, and `edges` (n, V, V), true at [i, a, b] where node b
reads node a, as `base.Networks` keeps them. Token 0 is the output, 1 the input, 2 + g the operator of gene g.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from chipfit.evaluate.latency.base import Ints

OUTPUT, INPUT, FIRST = 0, 1, 2
_NONE, _SKIP = 0, 1

_CELL = ((0, 1), (0, 2), (0, 4), (1, 3), (1, 5), (2, 6), (3, 6), (4, 7), (5, 7), (6, 7))
"""Who reads whom among the input 0, the operators 1 to 6 on a cell's edges, and the output 7."""


def nb201(genes: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """Tokens (n, 8) and edges (n, 8, 8) of NAS-Bench-201 cells.

    `genes` (n, 6) are operators (none, skip, conv 1x1, conv 3x3, pool) on the edges 0-1, 0-2, 1-2, 0-3, 1-3, 2-3. A
    `none` loses its edges; a `skip` hands its readers on to what it reads; then a node that the input does not reach,
    or that does not reach the output, loses its edges. Their tokens stay: dead operators are computed, and cost time.
    """
    n = len(genes)
    edges = np.zeros((n, 8, 8), bool)
    for a, b in _CELL:
        edges[:, a, b] = True
    for node in range(1, 7):
        gene = genes[:, node - 1]
        skip = gene == _SKIP
        edges[skip] |= edges[skip, :, node, None] & edges[skip, None, node, :]
        gone = skip | (gene == _NONE)
        edges[gone, :, node] = edges[gone, node, :] = False
    reach = edges | np.eye(8, dtype=bool)
    for _ in range(3):  # squared three times: paths of up to 8 steps
        reach = reach @ reach
    live = reach[:, 0, :] & reach[:, :, 7]
    return _bounded(genes), edges & live[:, :, None] & live[:, None, :]


def chain(genes: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """Tokens (n, L + 2) and edges (n, L + 2, L + 2) of networks of L layers (n, L), each reading the one before it."""
    n, layers = genes.shape
    return _bounded(genes), np.broadcast_to(np.eye(layers + 2, k=1, dtype=bool), (n, layers + 2, layers + 2))


def _bounded(genes: Ints) -> Ints:
    return np.pad(np.asarray(genes, np.int64) + FIRST, ((0, 0), (1, 1)), constant_values=((0, 0), (INPUT, OUTPUT)))
