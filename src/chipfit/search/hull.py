"""A good assignment within limits in a few eliminations, without proof: for those who have no time for a search.

Every limited metric is weighed against the goal with one multiplier, as a share of the room that its limit leaves
(Everett, 1963; `search.joint_bounds` has the theory). For a multiplier the least sum is one elimination
(`search.least`); halving finds the smallest that leads within the limits. What it leads to lies on the lower convex
hull of costs and goals, so that some room is left over, which single changes may use.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chipfit.core.types import Limit
from chipfit.search.least import least
from chipfit.search.program import Row, Scope, Tables, spread, tabulate, total
from chipfit.space.menu import Assignment, Menu

STEPS = 24
"""Multipliers that are looked at."""


def within(menu: Menu, limits: Sequence[Limit], objective: str = "damage") -> Assignment | None:
    """A good assignment within absolute limits, of an objective of which less is better; None where none was found."""
    rows = []
    for x in limits:
        sign = -1.0 if x.at_least else 1.0
        rows += [Row(tabulate(menu, x.metric, sign, aspect=of), sign * x.value) for of in menu.aspects(x.metric)]
    found = on_hull(menu, tabulate(menu, objective), rows)
    held = found is not None and all(x.met(menu.total(x.metric, found)) for x in limits)
    return found if held else None


def on_hull(menu: Menu, goal: Tables, rows: Sequence[Row]) -> Assignment | None:
    """The best assignment on the hull within the rows, or None where none was found."""
    costs = _weighed([(1 / room, row.tables) for row in rows if (room := _room(menu, row)) > 0])
    multiplier, step = 0.0, spread(goal) / (spread(costs) or 1.0)
    low, high, best = 0.0, np.inf, None
    for _ in range(STEPS):
        found = least(menu, _weighed([(1.0, goal), (multiplier, costs)])).assignment
        if found is not None and all(total(row.tables, found) <= row.most for row in rows):
            best, high = found, multiplier
            if multiplier == 0.0:
                break
        else:
            low = multiplier
        multiplier = (low + high) / 2 if np.isfinite(high) else max(step, 2 * multiplier)
    return best


def _room(menu: Menu, row: Row) -> float:
    """What a limit leaves above the least that any assignment takes."""
    return row.most - least(menu, row.tables).bound


def _weighed(parts: Sequence[tuple[float, Tables]]) -> Tables:
    """The sum of some tables, each multiplied."""
    found: dict[Scope, NDArray[np.float64]] = {}
    for weight, tables in parts:
        for scope, table in tables.items():
            found[scope] = found.get(scope, np.zeros(table.shape)) + weight * table
    return found
