"""A hard split of known devices into sources and targets: how well would a predictor do on a device unlike all others?

Akhauri and Abdelfattah 2024: bisect the graph of devices whose edges weigh their rank correlation (Kernighan and Lin
1970), then drop from the larger sides the devices that are most like the other side. Here the bisection is the one
that cuts least correlation, found by exchanging pairs, best of several starts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import spearmanr

from chipfit.core.errors import BadInput
from chipfit.evaluate.latency.base import Floats, Ints, Tables

STARTS = 20
"""Random bisections that are improved; the best stays."""


def hard_split(
    tables: Tables, sources: int, targets: int, rng: np.random.Generator
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of so many source and target devices that correlate little across.

    Raises:
        BadInput: more devices are asked for than there are, or a pair of devices without a correlation.
    """
    n = len(tables.devices)
    if sources < 1 or targets < 1 or sources + targets > n:
        raise BadInput(f"{sources} sources and {targets} targets cannot be had of {n} devices; ask for fewer")
    rho = correlations(tables)
    size = min(max(n // 2, sources), n - targets)
    a, b = min((_exchanged(rho, rng.permutation(n), size) for _ in range(STARTS)), key=lambda s: _cut(rho, *s))
    while len(a) > sources or len(b) > targets:
        if len(a) > sources:
            a = np.delete(a, rho[np.ix_(a, b)].sum(1).argmax())
        if len(b) > targets:
            b = np.delete(b, rho[np.ix_(a, b)].sum(0).argmax())
    return _names(tables, a), _names(tables, b)


def correlations(tables: Tables) -> Floats:
    """(devices, devices) Spearman correlation over the networks that both measured.

    Raises:
        BadInput: two devices share fewer than three networks, or one of them is constant on those.
    """
    n = len(tables.devices)
    rho = np.eye(n)
    for i in range(n):
        for j in range(i):
            pair = tables.values[:, [i, j]]
            pair = pair[np.isfinite(pair).all(1)]
            if len(pair) < 3 or not np.ptp(pair, axis=0).all():
                names = f"{tables.devices[j]!r} and {tables.devices[i]!r}"
                raise BadInput(f"devices {names} share {len(pair)} networks, too few different ones to correlate")
            rho[i, j] = rho[j, i] = spearmanr(*pair.T).statistic
    return rho


def _names(tables: Tables, rows: Sequence[int] | Ints) -> tuple[str, ...]:
    return tuple(tables.devices[i] for i in sorted(rows))


def _cut(rho: Floats, a: Ints, b: Ints) -> float:
    return float(rho[np.ix_(a, b)].sum())


def _exchanged(rho: Floats, order: Ints, size: int) -> tuple[Ints, Ints]:
    """The first `size` devices of an order and the rest, after every exchange of a pair that lowers the cut."""
    a, b = order[:size].copy(), order[size:].copy()
    while True:
        # Of each device the correlation to its own side less that to the other: what moving it would add to the cut.
        # A pair that changes places still crosses, which both moves left out.
        own_a = rho[np.ix_(a, a)].sum(1) - 1 - rho[np.ix_(a, b)].sum(1)
        own_b = rho[np.ix_(b, b)].sum(1) - 1 - rho[np.ix_(b, a)].sum(1)
        change = own_a[:, None] + own_b + 2 * rho[np.ix_(a, b)]
        i, j = np.unravel_index(change.argmin(), change.shape)
        if change[i, j] >= -1e-12:
            return a, b
        a[i], b[j] = b[j], a[i]
