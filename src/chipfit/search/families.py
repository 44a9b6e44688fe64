"""Designs that are alike: what none of a family can beat is asked once for all of them.

The least of each cell over a family is what a design would cost that is nowhere slower than any of them. An assignment
that is out of reach on that one is so on each. The closer the members, the less is lost by it, so that families are
halves of halves: parted at the median of the cell that varies most, as the nodes of a k-d tree are.
"""

from __future__ import annotations

import numpy as np

from chipfit.search.design_costs import Indices, Table, Tabled

MOST = 16
"""Designs of a family."""
_CELLS = 512
"""Cells that tell how much alike designs are, from all over their tables."""


def marks(held: Tabled) -> Table:
    """(designs, cells) by which designs are told apart; a choice that one cannot run counts for nothing there."""
    flat = [table.reshape(held.count, -1) for table in held.held]
    stride = max(1, sum(table.shape[1] for table in flat) // _CELLS)
    found = np.concatenate([table[:, ::stride] for table in flat], axis=1)
    return np.where(np.isfinite(found), found, 0.0)


def halves(marked: Table, rows: Indices) -> tuple[Indices, Indices]:
    """Two or more designs in two halves that are more alike than the whole."""
    mine = marked[rows]
    order = np.argsort(mine[:, mine.var(axis=0).argmax()], kind="stable")
    half = len(rows) // 2
    return rows[order[:half]], rows[order[half:]]


def least_of(held: Tabled, rows: Indices) -> Tabled:
    """The design that is nowhere slower than any of these."""
    return Tabled(held.scopes, tuple(table[rows].min(axis=0, keepdims=True) for table in held.held))
