"""From a menu that is priced on every design of an accelerator to the network and the design that hold a budget.

The joint search is exact on the designs that it was given. The network that it finds is timed on every design of the
part. Where that is faster by much, the limit is widened and there is another look; where it is slower, as the network's
own grid lacks the design, the limit is drawn in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from chipfit.core.deadline import Deadline
from chipfit.core.edits import Edit
from chipfit.core.errors import Infeasible, OutOfTime
from chipfit.core.graph import Graph
from chipfit.core.types import Limit
from chipfit.evaluate.design import SLACK, Design, timed
from chipfit.evaluate.sizes import Sizes, sized
from chipfit.evaluate.timing import Latencies
from chipfit.search.codesign import Joint, codesign, finite
from chipfit.search.design_costs import DesignCosts, tabled
from chipfit.space.edits.expand import Expand
from chipfit.space.menu import Assignment, Choice, Menu

LOOKS = 8
"""Searches at most for one budget: behind concatenations costs are near, not exact."""

FIRST_STEP = 2e-3
"""Share of a limit that it is drawn in by after a first miss, at least; twice as much after each further one."""


@dataclass(frozen=True, slots=True)
class Codesigned:
    """A network that holds a budget, the menu as the design found with it prices it, and what was proven."""

    design: Design
    menu: Menu
    joint: Joint

    def nothing_to_gain(self, budget_ms: float) -> bool:
        """True where the budget is used up, or the part has no design that is much faster than that of the search."""
        return self.design.measured_ms >= SLACK * min(budget_ms, self.joint.latency_ms)


@dataclass
class _Search:
    """The joint search of one network, and which pair of it each assignment is of."""

    menu: Menu
    costs: DesignCosts
    graph: Graph
    timing: Latencies
    deadline: Deadline | None
    known: dict[Assignment, Joint] = field(default_factory=dict)

    def solve(self, limits: Sequence[Limit]) -> Assignment:
        """The best assignment within limits on sums."""
        joint = codesign(self.menu, self.costs, limits, deadline=self.deadline)
        self.known[joint.assignment] = joint
        return joint.assignment

    def simulated(self, assignment: Assignment) -> Codesigned:
        """An assignment that was found, on every design of the part."""
        joint = self.known[assignment]
        on_design = finite(tabled(self.costs, np.array([joint.design])).priced(self.menu, 0))
        return Codesigned(timed(on_design, self.graph, assignment, self.timing), on_design, joint)


def codesigned(
    menu: Menu,
    costs: DesignCosts,
    graph: Graph,
    limits: Sequence[Limit],
    timing: Latencies,
    sizes: Sizes,
    deadline: Deadline | None = None,
) -> Codesigned:
    """The network with the least damage that holds the limits on the design that suits it best, as simulated.

    `costs` are the latency of the menu of `graph` on each design; of the limits, absolute ones, one is on the latency.

    Raises:
        Infeasible: no network of the menu holds them on any design; `nearest` has what can be reached.
        OutOfTime: the deadline came before one was found.
    """
    search = _Search(menu, costs, graph, timing, deadline)
    solve = sized(search.solve, sizes, lambda a: menu.total("damage", a))
    budget_ms = next(x.value for x in limits if x.metric == "latency_ms")
    aimed, best, least_ms = list(limits), None, np.inf
    for look in range(LOOKS):
        try:
            found = search.simulated(solve(aimed))
        except (Infeasible, OutOfTime):
            if best is None:
                raise
            break
        took_ms = found.design.measured_ms
        least_ms = min(least_ms, took_ms)
        if took_ms <= budget_ms:
            best = found if best is None else min(best, found, key=lambda c: c.joint.damage)
            if found.nothing_to_gain(budget_ms):
                break
        aimed = drawn_in(aimed, budget_ms / took_ms, look)
    if best is None:
        nearest = {"latency_ms": float(least_ms)}
        raise Infeasible(f"no design within latency_ms <= {budget_ms:.4g} was found", nearest)
    return best


def drawn_in(limits: Sequence[Limit], room: float, look: int) -> list[Limit]:
    """The limits for the look after this one (from 0), the latency multiplied.

    `room` is the budget over what the last network took: where that missed by a hair, the next may too.
    """
    share = room if room >= 1 else min(room, 1 - FIRST_STEP * 2**look)
    return [replace(x, value=x.value * share) if x.metric == "latency_ms" else x for x in limits]


def grown(menu: Menu, graph: Graph, design: Design, timing: Latencies, budget_ms: float) -> Design | None:
    """The design with larger kernels wherever it still holds its budget; None where no kernel can grow.

    They leave the function as it is, so that no search for the least harm takes them; training makes use of them.
    """
    assignment, found = design.assignment, None
    for decision, option in larger(menu, design.assignment):
        wider = (*assignment[:decision], option, *assignment[decision + 1 :])
        made = timed(menu, graph, wider, timing)
        if made.measured_ms <= budget_ms:
            assignment, found = wider, made
    return found


def larger(menu: Menu, assignment: Assignment) -> list[Choice]:
    """The options that differ from those chosen by a larger kernel alone."""
    found: list[Choice] = []
    for d, decision in enumerate(menu.decisions):
        chosen = set(decision.options[assignment[d]].edits)
        for o, option in enumerate(decision.options):
            more: set[Edit] = set(option.edits) - chosen
            if chosen < set(option.edits) and all(isinstance(e, Expand) for e in more):
                found.append((d, o))
    return found
