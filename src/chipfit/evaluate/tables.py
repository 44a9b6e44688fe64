"""Whole networks foretold from tables of their kernels, corrected on a few networks that were measured.

The same tables price menus (`evaluate.price`); here each network stands for itself, and networks of a space share the
scales of their resolutions and precisions, and of what their weights cost where they do not stay in the cache.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from chipfit.core.graph import Graph
from chipfit.evaluate.cells import Variants
from chipfit.evaluate.pricing import scales
from chipfit.evaluate.timed import SPREAD, parts_of
from chipfit.evaluate.timing import Timing
from chipfit.space.menu import Menu

PartsMs = Mapping[str, float]
"""Milliseconds by part: the call, the kernels of each resolution and precision, weights from beyond the cache."""

CACHED_MB, MS_PER_MB = 1.5, 0.03
"""Weights that stay near from one run to the next, and a first guess of what more of them cost.

[measured] Sapphire Rapids, 2 MB of L2 a core, of which the canary takes its share: 24 mixed networks of up to 8 MB took
longer than their kernels by .05 ms for each MB over the first (correlation of the rest with the weights: .84), while a
kernel's own chain mostly fits. With this part the mean error fell from 5.7 to 4.0 %; with 1 or 2 MB it is the same.
"""


def parts_ms(graph: Graph, timing: Timing) -> PartsMs:
    """Each part of a network as its kernels were measured on the device, not corrected."""
    as_it_is = Variants(graph, Menu(graph.key, ()))
    made = {p.name: sum(float(t.table) for t in p.terms) for p in parts_of(as_it_is, timing)}
    weights_mb = sum(prod(s) * o.bits / 8e6 for o in graph for s in graph.weight_shapes(o).values())
    return {**made, _WEIGHTS: MS_PER_MB * max(0.0, weights_mb - CACHED_MB)}


_WEIGHTS = "weights"


def foretold(known: Sequence[PartsMs], measured_ms: Sequence[float], wanted: Sequence[PartsMs]) -> NDArray[np.float64]:
    """(wanted,) ms of whole networks from their parts, with the scales that fit the `known` ones (at least one)."""
    names = list(dict.fromkeys(name for parts in (*known, *wanted) for name in parts))
    sums, others = (np.array([[p.get(n, 0.0) for n in names] for p in parts]) for parts in (known, wanted))
    spread = np.array([1.0 if n in ("call", _WEIGHTS) else SPREAD for n in names])
    told: NDArray[np.float64] = others @ scales(sums, np.asarray(measured_ms, np.float64), spread)
    return told
