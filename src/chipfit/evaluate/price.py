"""Menu × device → latency terms, by whatever can price a menu there."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np

from chipfit.core.deadline import Deadline
from chipfit.core.graph import Graph
from chipfit.core.protocols import Foretelling
from chipfit.device.accelerator.port import designing
from chipfit.evaluate.cells import Variants
from chipfit.evaluate.foretold import Foretold
from chipfit.evaluate.modelled import Modelled
from chipfit.evaluate.pricing import Pricing
from chipfit.evaluate.ticker import quiet
from chipfit.evaluate.timed import Timed
from chipfit.evaluate.timing import Latencies, Timing
from chipfit.space.offer import Offer


class Pricer(Protocol):
    """Prices the latency of menus on one device.

    `predicted`: latencies there are predictions of whole networks, designs count with the upper ends of their
    intervals, and nobody knows what a single operator takes. `tested`: whole networks are measured beside what tables
    say of them, so that it is known how good those are; else the two are one and the same.
    """

    @property
    def predicted(self) -> bool: ...
    @property
    def tested(self) -> bool: ...
    def price(
        self,
        graph: Graph,
        offer: Offer,
        rng: np.random.Generator,
        *,
        networks: int = ...,
        deadline: Deadline | None = None,
        planned_s: float = math.inf,
        tell: Callable[[str], None] = quiet,
        variants: Variants | None = None,
    ) -> Pricing:
        """The offer's menu with `latency_ms` terms, corrected on so many random whole networks where that helps.

        At the deadline the rest is guessed; `Pricing.timed` tells how much was not. `planned_s` are the seconds that it
        should take: what would take longer is measured in another, quicker way from the start. `tell` is told now and
        then how far it has come. `variants` are the menu's, for callers that read more off them.
        """
        ...


def pricer(timing: Timing) -> Pricer:
    """What prices menus on a device."""
    if (device := designing(timing.device)) is not None:
        return Modelled(device)
    return Foretold(timing) if isinstance(timing.device, Foretelling) else Timed(timing)


def predicted(timing: Latencies) -> bool:
    """Whether latencies are predictions of whole networks (`Pricer.predicted`)."""
    return any(pricer(one).predicted for one, _ in timing.each)


def tested(timing: Latencies) -> bool:
    """Whether what tables say of whole networks is put to the test by measuring them (`Pricer.tested`)."""
    return any(pricer(one).tested for one, _ in timing.each)
