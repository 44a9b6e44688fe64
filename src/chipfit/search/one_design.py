"""The exact best assignment of a menu whose tables are over many decisions, by the joint search on a single design.

The program of HiGHS has a column for each cell of each table and rows for what tables share, and its relaxation is weak
where cells of four or five decisions may be mixed. Bounds by elimination and labels (`codesign`) take tables over any
number of decisions as they are: what only one layer sees, such as the program that computes it, is decided there and
then. What is asked for is a least goal within a limit on one summed metric; further limits are priced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from chipfit.core.deadline import Deadline
from chipfit.core.edits import Swap
from chipfit.core.types import METRICS, Limit
from chipfit.search.assign import PROOF_S, assign, reachable
from chipfit.search.codesign import codesign
from chipfit.search.design_costs import LATENCY, Tabled
from chipfit.search.program import coefficient, tabulate
from chipfit.space.menu import Assignment, Menu


def solved(
    menu: Menu,
    limits: Sequence[Limit],
    *,
    objective: str = "damage",
    scale: NDArray[np.float64] | None = None,
    deadline: Deadline | None = None,
    gap: float = 0.0,
) -> Assignment:
    """The assignment with the least total of `objective` within every limit, by the way that suits the menu.

    As `assign.assign`.
    """
    limited = any(x.metric == LATENCY for x in limits) and not any(x.at_least for x in limits)
    if not limited or not suits(menu) or METRICS.get(objective, ("", False))[1]:
        return assign(menu, limits, objective=objective, scale=scale, deadline=deadline, gap=gap)
    scaled = menu if scale is None else _scaled(menu, objective, scale)
    return codesign(scaled, latencies(menu), limits, objective=objective, deadline=deadline).assignment


def least(menu: Menu, metric: str) -> tuple[float, Assignment]:
    """The least value of a metric over all valid assignments, and one that has it, by the way that suits the menu.

    As `assign.reachable`.
    """
    if metric != LATENCY or not suits(menu):
        return reachable(menu, metric)
    found = codesign(menu, latencies(menu), (), objective=LATENCY, deadline=Deadline.after(PROOF_S))
    return found.value, found.assignment


def suits(menu: Menu) -> bool:
    """True for menus of programs on one device."""
    edits = (e for d in menu.decisions for option in d.options for e in option.edits)
    return len(menu.aspects(LATENCY)) == 1 and any(isinstance(e, Swap) for e in edits)


def latencies(menu: Menu) -> Tabled:
    """A menu's latency as that of one design."""
    tables = tabulate(menu, LATENCY)
    return Tabled(tuple(tables), tuple(table[None] for table in tables.values()))


def _scaled(menu: Menu, objective: str, scale: NDArray[np.float64]) -> Menu:
    """The menu with the objective's terms times the mean of their decisions' coefficients."""
    own = [t for t in menu.terms if t.metric == objective]
    return menu.priced(replace(t, table=coefficient(t, scale) * t.table) for t in own)
