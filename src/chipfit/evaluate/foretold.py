"""Latencies of a menu on a device that is not here: whole networks are foretold, so the work of kernels is scaled.

No chain can be timed there. Each kernel's work, the values that it moves and its being there at all are parts of their
own, whose scales `FORETOLD` whole networks tell, which cost nothing.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from math import prod
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
    ) -> Pricing:
        """The offer's menu with `latency_ms` terms, fitted to the predictions of random `networks`."""
        (whole,) = self.timing.graphs([graph], "quick")
        raw = Pricing(offer.menu, (), (), tuple(shares_of(Variants(graph, offer.menu), whole.bound)))
        in_time = InTime(self.timing, deadline or Deadline.never())
        made = corrected(raw, graph, spread_out(offer.menu, max(networks, FORETOLD), rng), in_time)
        return replace(made, timed=in_time.reached / max(1, in_time.asked))


def shares_of(variants: Variants, whole_ms: float) -> list[Part]:
    """Latency terms of each kernel in each precision for its MACs, its values and its being there at all.

    Each is a part of its own, so that whole networks tell its scale; the first guess shares `whole_ms` out.
    """
    counts: list[tuple[str, float, list[Term]]] = []
    for c in variants.cells(fused_as_in(variants.graph)):
        parts = pieces(c)
        for bits in (32, 8):
            for name, share, count in (("work", WORK, _macs), ("traffic", TRAFFIC, _values), ("launch", LAUNCH, _one)):
                found = latency(variants.menu, parts, count, f"{c.op} {name} {bits}", bits)
                if any(t.table.any() for t in found):
                    counts.append((name, share, found))
    wholes: dict[str, float] = defaultdict(float)
    for name, _, found in counts:
        wholes[name] += sum(float(t.table.max()) for t in found)
    parts_ = [Part("call", (call(),), 1.0)]
    for name, share, found in counts:
        factor = share * whole_ms / wholes[name]
        parts_.append(Part(found[0].label, tuple(replace(t, table=t.table * factor) for t in found), 1.0))
    return parts_


def _macs(kernel: Kernel) -> float:
    return float(macs(kernel)) if kernel.kind in LAYERS else 0.0


def _values(kernel: Kernel) -> float:
    return float(kernel.cin * prod(kernel.size) + kernel.cout * prod(kernel.out_size)) * kernel.bits / 32


def _one(kernel: Kernel) -> float:
    return 1.0
