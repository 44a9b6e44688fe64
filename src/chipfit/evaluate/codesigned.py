"""From a menu that is priced on every design of an accelerator to the network and the design that hold a budget.

The joint search is exact on the designs that it was given. The network that it finds is timed on every design of the
part, which can only be faster, but for a design that the network's own grid lacks: then the limit is drawn in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from chipfit.core.deadline import Deadline
from chipfit.core.edits import Edit
from chipfit.core.errors import Infeasible
from chipfit.core.graph import Graph
from chipfit.core.types import Limit
from chipfit.evaluate.design import Design, timed
from chipfit.evaluate.sizes import Sizes, sized
from chipfit.evaluate.timing import Latencies
from chipfit.search.codesign import Joint, codesign
from chipfit.search.design_costs import DesignCosts, tabled
from chipfit.space.edits.expand import Expand
from chipfit.space.menu import Assignment, Choice, Menu

LOOKS = 4
"""How often a limit is drawn in."""


@dataclass(frozen=True, slots=True)
class Codesigned:
    """A network that holds a budget, the menu as the design found with it prices it, and what was proven."""

    design: Design
    menu: Menu
    joint: Joint


@dataclass
class _Solver:
    """A solver of `evaluate.sizes` that remembers which design each assignment was found with."""

    menu: Menu
    costs: DesignCosts
    deadline: Deadline | None
    found: dict[Assignment, Joint] = field(default_factory=dict)

    def __call__(self, limits: Sequence[Limit]) -> Assignment:
        joint = codesign(self.menu, self.costs, limits, deadline=self.deadline)
        self.found[joint.assignment] = joint
        return joint.assignment


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

    Args:
        menu: with terms of damage.
        costs: its latency on each design.
        graph: the network that it is of.
        limits: absolute ones, of which one is on the latency.
        timing: the accelerator.
        sizes: of the files of its designs.
        deadline: of the search.

    Raises:
        Infeasible: no network of the menu holds them on any design; `nearest` has what can be reached.
        OutOfTime: the deadline came before one was found.
    """
    budget_ms = next(x.value for x in limits if x.metric == "latency_ms")
    solver = _Solver(menu, costs, deadline)
    solve = sized(solver, sizes, lambda a: menu.total("damage", a))
    aimed, least = list(limits), np.inf
    for _ in range(LOOKS):
        assignment = solve(aimed)
        joint = solver.found[assignment]
        on_design = tabled(costs, np.array([joint.design])).priced(menu, 0)
        design = timed(on_design, graph, assignment, timing)
        if design.measured_ms <= budget_ms:
            return Codesigned(design, on_design, joint)
        least = min(least, design.measured_ms)
        share = budget_ms / design.measured_ms
        aimed = [replace(x, value=x.value * share) if x.metric == "latency_ms" else x for x in aimed]
    raise Infeasible(f"no design within latency_ms <= {budget_ms:.4g} was found", {"latency_ms": float(least)})


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
