"""The order in which a solver takes decisions, so that few of those that it has taken matter to what is still open.

Two decisions that share a table are neighbours. Decisions are eliminated one by one, always the one whose neighbours
need the smallest joint table, and its neighbours become each other's (the greedy rule of dynamic programming on graphs;
Bertele and Brioschi, 1972). The parent of a decision is the neighbour that is eliminated next after it: below a parent
hang parts of the menu that no longer see each other. The order walks that tree from its root, one part after the other,
the deepest part last: a walk along a chain of layers then has the last one or two of them in hand, and no more.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from chipfit.search.program import Scope


def walk(sizes: Sequence[int], scopes: Collection[Scope]) -> tuple[int, ...]:
    """Every decision once, in the order in which they are to be taken.

    Args:
        sizes: options of each decision.
        scopes: decisions of each table.
    """
    parents = _parents(sizes, scopes)
    children: dict[int, list[int]] = {d: [] for d in range(-1, len(sizes))}
    depths = [1] * len(sizes)
    for d in parents:  # in the order of elimination: children come before their parents
        parent = parents[d]
        children[parent].append(d)
        if parent >= 0:
            depths[parent] = max(depths[parent], depths[d] + 1)
    found: list[int] = []
    open_ = [-1]
    while open_:
        d = open_.pop()
        if d >= 0:
            found.append(d)
        open_ += sorted(children[d], key=lambda c: (-depths[c], -c))  # the last of these is taken first
    return tuple(found)


def _parents(sizes: Sequence[int], scopes: Collection[Scope]) -> dict[int, int]:
    """Each decision's parent, -1 for the root of its part, in the order in which they are eliminated."""
    neighbours: dict[int, set[int]] = {d: set() for d in range(len(sizes))}
    for scope in scopes:
        for d in scope:
            neighbours[d] |= set(scope) - {d}

    def cells(d: int) -> tuple[float, int]:
        return math.log(sizes[d]) + sum(math.log(sizes[n]) for n in neighbours[d]), -d

    around: dict[int, set[int]] = {}
    while neighbours:
        d = min(neighbours, key=cells)
        around[d] = neighbours.pop(d)
        for n in around[d]:
            neighbours[n] |= around[d] - {n}
            neighbours[n].discard(d)
    place = {d: i for i, d in enumerate(around)}
    return {d: min(near, key=place.__getitem__, default=-1) for d, near in around.items()}
