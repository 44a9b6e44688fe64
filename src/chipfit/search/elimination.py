"""The least sum of tables over all assignments, of many designs at once: decisions are eliminated one after the other.

To eliminate a decision, the tables that it is in are added up and the least over its options is taken; what is left is
a table over the others, which stands in for them. At the end the least of the whole is left: exact, and as quick as the
largest table met on the way is small (Bertele and Brioschi, 1972).

Where that table would be too large, the tables are parted into *buckets* and the least is taken in each by itself
(mini-buckets; Dechter and Rish, 2003). A sum of least values is at most the least value of the sum, so the result is
still a lower bound. Tables over the decision alone, as most damages are, are shared out evenly over its buckets:
otherwise one bucket alone would know of the damage, and the others would take what harms most.

A table that stands in for others also says what is at least still to come once the decisions that it is over are taken
(`Plan.ahead`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chipfit.search.design_costs import Table
from chipfit.search.order import walk
from chipfit.search.program import Scope

MOST_CELLS = 1 << 14
"""Cells of a joint table, for one design."""

Chosen = NDArray[np.int64]
Stacked = Mapping[Scope, Table]
"""A table (designs, *options) for each scope; its leading axis is 1 where all designs have the same."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Tables, by number, that are added up before the least over a decision is taken.

    `scope` are the decisions of the sum, the eliminated one last. `shares` are what the tables are multiplied with.
    """

    tables: tuple[int, ...]
    shares: tuple[float, ...]
    scope: Scope


@dataclass(frozen=True, slots=True)
class Plan:
    """How the decisions of a menu are eliminated, from the last of `order` to the first.

    `scopes`: of the given tables, then of those that stand in for others, each in this order. `buckets[d]` are those of
    decision d, and `made[d]` the numbers of the tables that they leave.
    """

    sizes: tuple[int, ...]
    order: tuple[int, ...]
    scopes: tuple[Scope, ...]
    given: int
    buckets: Mapping[int, tuple[Bucket, ...]]
    made: Mapping[int, tuple[int, ...]]

    @property
    def cells(self) -> int:
        """Cells of one design, of all tables and of the largest sum."""
        sums = [_cells(b.scope, self.sizes) for of in self.buckets.values() for b in of]
        return sum(_cells(s, self.sizes) for s in self.scopes) + max(sums, default=1)

    def ahead(self, taken: int) -> list[int]:
        """Numbers of the tables that stand in for all that is open once the first `taken` decisions are taken."""
        done = set(self.order[:taken])
        later = [n for d in self.order[taken:] for n in self.made[d]]
        return [n for n in later if done.issuperset(self.scopes[n])]

    def tables_of(self, d: int) -> list[int]:
        """Numbers of the tables that are added up to eliminate a decision, each once."""
        return sorted({n for bucket in self.buckets[d] for n in bucket.tables})

    @property
    def exact(self) -> bool:
        """True where every decision has one bucket: bounds are then reached."""
        return all(len(of) == 1 for of in self.buckets.values())


def planned(sizes: Sequence[int], scopes: Iterable[Scope], most_cells: int = MOST_CELLS) -> Plan:
    """The plan for tables over these decisions. Every decision is in one, be it a table of its own."""
    wanted = {tuple(s) for s in scopes} | {(d,) for d in range(len(sizes))}
    order = walk(sizes, wanted)
    place = {d: i for i, d in enumerate(order)}
    known = [tuple(sorted(s, key=place.__getitem__)) for s in sorted(wanted)]
    given = len(known)
    open_ = list(range(given))
    buckets: dict[int, tuple[Bucket, ...]] = {}
    made: dict[int, tuple[int, ...]] = {}
    for d in reversed(order):
        here = [n for n in open_ if d in known[n]]
        open_ = [n for n in open_ if d not in known[n]]
        buckets[d] = _parted(here, known, place, sizes, most_cells)
        made[d] = tuple(range(len(known), len(known) + len(buckets[d])))
        known += [b.scope[:-1] for b in buckets[d]]
        open_ += made[d]
    return Plan(tuple(sizes), order, tuple(known), given, buckets, made)


def _cells(scope: Scope, sizes: Sequence[int]) -> int:
    return math.prod(sizes[d] for d in scope)


@dataclass(slots=True)
class _Group:
    """Tables that are to be added up, and all decisions that they are over."""

    tables: list[int]
    decisions: set[int]

    def takes(self, scope: set[int], sizes: Sequence[int], most_cells: int) -> bool:
        """True where a table over these decisions makes the sum no larger, or not too large."""
        both = self.decisions | scope
        return both == self.decisions or _cells(tuple(both), sizes) <= most_cells


def _parted(
    here: Sequence[int], known: Sequence[Scope], place: Mapping[int, int], sizes: Sequence[int], most_cells: int
) -> tuple[Bucket, ...]:
    """The tables of a decision in as few buckets as the greedy rule finds, each of at most so many cells if it can."""
    alone = [n for n in here if len(known[n]) == 1]
    wide = [n for n in here if len(known[n]) > 1]
    groups: list[_Group] = []
    for n in sorted(wide, key=lambda n: (-_cells(known[n], sizes), n)):
        scope = set(known[n])
        group = next((g for g in groups if g.takes(scope, sizes, most_cells)), None)
        if group is None:
            groups.append(_Group([n], scope))
        else:
            group.tables.append(n)
            group.decisions |= scope
    groups = groups or [_Group([], set(known[alone[0]]))]
    share = 1.0 / len(groups)
    buckets = []
    for group in groups:
        shares = (1.0,) * len(group.tables) + (share,) * len(alone)
        scope_in_order = tuple(sorted(group.decisions, key=place.__getitem__))
        buckets.append(Bucket((*group.tables, *alone), shares, scope_in_order))
    return tuple(buckets)


def eliminated(plan: Plan, given: Sequence[Table]) -> tuple[Table, list[Table]]:
    """(designs,) a lower bound of the least sum, reached where the plan is exact; and every table, for `taken`.

    Args:
        plan: of the tables.
        given: (designs or 1, *options) for the first `plan.given` scopes; infinite cells are never taken.
    """
    tables = list(given)
    for d in reversed(plan.order):
        for bucket in plan.buckets[d]:
            tables.append(_added(plan, bucket, tables).min(axis=-1))
    rest = [tables[n] for n in range(len(tables)) if not plan.scopes[n]]
    return np.asarray(sum(rest), np.float64), tables


def _added(plan: Plan, bucket: Bucket, tables: Sequence[Table]) -> Table:
    """(designs, *options of the bucket's scope) the sum of a bucket's tables."""
    parts = []
    for n, share in zip(bucket.tables, bucket.shares, strict=True):
        shape = [plan.sizes[d] if d in plan.scopes[n] else 1 for d in bucket.scope]
        part = tables[n].reshape(-1, *shape)
        parts.append(part if share == 1.0 else share * part)
    whole = sum(parts[1:], parts[0])
    full = tuple(plan.sizes[d] for d in bucket.scope)
    # one table over all of the scope has all cells; several that together are over it only do when they are added up
    return np.broadcast_to(whole, (len(whole), *full))


def taken(plan: Plan, tables: Sequence[Table], count: int) -> Chosen:
    """(designs, decisions) the assignment that leads to the least sum of each of `count` designs; near it with parts.

    Args:
        plan: of the tables.
        tables: all of them, as `eliminated` returned them.
        count: designs.
    """
    chosen = np.zeros((count, len(plan.sizes)), np.int64)
    for d in plan.order:
        sums = np.zeros((count, plan.sizes[d]))
        for n in plan.tables_of(d):
            before = plan.scopes[n][:-1]
            sums += cells(tables[n], before, chosen)
        chosen[:, d] = sums.argmin(axis=1)
    return chosen


def cells(table: Table, scope: Scope, chosen: Chosen) -> Table:
    """(designs, *the rest) the part of a table over `scope` and the rest that each design's options choose."""
    count = len(chosen)
    designs = np.arange(count) if len(table) == count else np.zeros(count, np.int64)
    options = [chosen[:, d] for d in scope]
    return np.asarray(table[(designs, *options)], np.float64)
