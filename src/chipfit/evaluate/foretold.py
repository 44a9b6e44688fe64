"""Latencies of a menu on a device that is not here: whole networks are foretold, so the work of kernels is scaled.

No chain can be timed there. Each kernel's work, the values that it moves and its being there at all are parts of their
own, whose scales `FORETOLD` whole networks tell, which cost nothing.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import ClassVar

import numpy as np

from chipfit.core.deadline import Deadline
from chipfit.core.graph import LAYERS, Graph
from chipfit.core.kernel import Kernel
from chipfit.evaluate.cells import Variants
from chipfit.evaluate.counts import macs
from chipfit.evaluate.drawn import spread_out
from chipfit.evaluate.in_time import InTime
from chipfit.evaluate.pieces import pieces
from chipfit.evaluate.pricing import Part, Pricing, corrected
from chipfit.evaluate.programs import in_place, programmed
from chipfit.evaluate.ticker import quiet
from chipfit.evaluate.timed import call, fused_as_in, latency
from chipfit.evaluate.timing import Timing
from chipfit.space.menu import Term
from chipfit.space.offer import Offer

FORETOLD = 400
"""Whole networks that the menu is fitted to at least."""

WORK, TRAFFIC, LAUNCH = 0.6, 0.25, 0.15
"""First guess of the shares of a latency that go with MACs, with values read and written, and with kernels."""


@dataclass(frozen=True, slots=True)
class Foretold:
    """Prices menus on a device whose latencies are predictions of whole networks.

    The menu has the upper ends of their intervals, which is what budgets are held against.
    """

    timing: Timing
    predicted: ClassVar[bool] = True
    tested: ClassVar[bool] = False

    def price(
        self,
        graph: Graph,
        offer: Offer,
        rng: np.random.Generator,
        *,
        networks: int = FORETOLD,
        deadline: Deadline | None = None,
        planned_s: float = math.inf,
        tell: Callable[[str], None] = quiet,
        variants: Variants | None = None,
    ) -> Pricing:
        """The offer's menu with `latency_ms` terms, fitted to the predictions of random `networks`."""
        (whole,) = self.timing.graphs([graph], "quick")
        parts = shares_of(variants or Variants(graph, offer.menu), whole.bound)
        in_time = InTime(self.timing, deadline or Deadline.never())
        drawn = spread_out(offer.menu, max(networks, FORETOLD), rng)
        found = corrected(Pricing(offer.menu, (), (), tuple(parts)), graph, drawn, in_time)
        return replace(found, timed=in_time.reached / max(1, in_time.asked))


def shares_of(variants: Variants, whole_ms: float) -> list[Part]:
    """Latency terms of each kernel in each precision for its MACs, its values and its being there at all.

    Each is a part of its own, so that whole networks tell its scale; the first guess shares `whole_ms` out.
    """
    counts: list[tuple[str, list[Term]]] = []
    for c in variants.cells(fused_as_in(variants.graph)):
        parts = programmed(pieces(c), variants.programs.get(c.op), in_place)
        for bits, name in product((32, 8), _SHARES):
            terms = latency(variants.menu, parts, _SHARES[name][1], f"{c.op} {name} {bits}", bits)
            if any(t.table.any() for t in terms):
                counts.append((name, terms))
    wholes: dict[str, float] = defaultdict(float)
    for name, terms in counts:
        wholes[name] += sum(float(t.table.max()) for t in terms)
    found = [Part("call", (call(),), 1.0)]
    for name, terms in counts:
        factor = _SHARES[name][0] * whole_ms / wholes[name]
        scaled = tuple(replace(t, table=t.table * factor) for t in terms)
        found.append(Part(terms[0].label, scaled, 1.0))
    return found


def _macs(kernel: Kernel) -> float:
    layer = kernel.kind in LAYERS and not kernel.in_place
    return float(macs(kernel) if layer else kernel.macs)


def _values(kernel: Kernel) -> float:
    return float(kernel.moved) * kernel.bits / 32


def _one(kernel: Kernel) -> float:
    return 1.0


_SHARES: Mapping[str, tuple[float, Callable[[Kernel], float]]] = {
    "work": (WORK, _macs),
    "traffic": (TRAFFIC, _values),
    "launch": (LAUNCH, _one),
}
"""What a latency goes with: the first guess of its share, and how much of it a kernel has."""
