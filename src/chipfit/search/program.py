"""A menu under limits as the columns and rows of a mixed-integer linear program.

A choice is a binary x[d, o] for option o of decision d. A table over several decisions is linearised with a
continuous y >= 0 for each of its cells, whose marginals are the x: once x is integer, y is 1 in the chosen cell and 0
elsewhere. Cells are shared by all metrics on the same decisions, and two tables that share a pair of decisions also
agree on the marginals of that pair (one level of Sherali and Adams' hierarchy), which tightens the relaxation.

    minimise   goal(x, y)            sum_o x[d, o] = 1,   x[a, i] = x[b, j] for each tie
    subject to cost(x, y) <= most    sum of the cells of S that agree with t = y[T, t]   for T within S

Cells that cannot be within a limit, because they cost more above the least of their table than the limit leaves above
the least of all tables, get no column. That is more than speed: what is left of a row is never large beside its right
side, and HiGHS has taken rows with a tiny right side for infeasible, or crashed on them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import LinearConstraint
from scipy.sparse import coo_array

from chipfit.space.menu import Assignment, Menu, Term

Scope = tuple[int, ...]
"""Decisions in ascending order."""
Tables = Mapping[Scope, NDArray[np.float64]]
"""A metric: one table for each set of decisions that it depends on; constants are under ()."""

_DUST = 1e-9
"""Share of a metric's spread below which a difference may be rounding: left to the exact check of the answer."""


@dataclass(frozen=True, slots=True)
class Row:
    """The sum of the tables is at most `most`."""

    tables: Tables
    most: float


@dataclass(frozen=True, slots=True)
class Program:
    """Columns of the cells that can be chosen (-1 for the others), and what they must keep.

    `cells[scope]` has the shape of the scope's tables. The first `binaries` columns are those of single decisions.
    """

    cells: Mapping[Scope, NDArray[np.intp]]
    count: int
    binaries: int
    equal: LinearConstraint

    def row(self, tables: Tables, to: float) -> tuple[NDArray[np.float64], float, float]:
        """Coefficients (columns,) of the tables with their spread brought to `to`.

        Also that factor (0 where the tables make no difference), and the least total, which the coefficients leave out.
        """
        live = [(self.cells[s], t) for s, t in tables.items() if s]
        columns = [c[c >= 0] for c, _ in live]
        values = [t[c >= 0] for c, t in live]
        least = math.fsum([float(v.min()) for v in values] + [float(tables[()]) if () in tables else 0.0])
        whole = math.fsum(float(np.ptp(v)) for v in values)
        row = np.zeros(self.count)
        if whole > _DUST * spread(tables):
            for c, v in zip(columns, values, strict=True):
                row[c] += to * ((v - v.min()) / whole)
        return row, to / whole if row.any() else 0.0, least

    def assignment(self, x: NDArray[np.float64]) -> Assignment:
        """The option of each decision with the largest value among the columns (columns,)."""
        single = (self.cells[(d,)] for d in range(sum(len(s) == 1 for s in self.cells)))
        return tuple(int(np.argmax(np.where(c >= 0, x[c], -1.0))) for c in single)

    def cut(self, assignment: Assignment) -> NDArray[np.float64]:
        """(columns,) 1 for the options of an assignment: their sum is the number of decisions for it alone."""
        row = np.zeros(self.count)
        row[[self.cells[(d,)][o] for d, o in enumerate(assignment)]] = 1.0
        return row


def tabulate(
    menu: Menu, metric: str, sign: float = 1.0, scale: NDArray[np.float64] | None = None, aspect: str | None = None
) -> Tables:
    """The metric's terms (of one aspect, or of all) times `sign`, summed to one table for each set of decisions.

    With `scale` (decisions,) a term is multiplied by the mean of its decisions' coefficients.
    """
    tables: dict[Scope, NDArray[np.float64]] = {}
    for term in menu.terms:
        if term.metric == metric and aspect in (None, term.aspect):
            scope, table = _merged(term)
            weight = sign * coefficient(term, scale)
            tables[scope] = tables.get(scope, np.zeros(table.shape)) + weight * table
    return tables


def coefficient(term: Term, scale: NDArray[np.float64] | None) -> float:
    """What a term is multiplied by: the mean of its decisions' coefficients; 1 where there are none."""
    return 1.0 if scale is None or not term.on else float(np.mean(scale[sorted(set(term.on))]))


def total(tables: Tables, assignment: Assignment) -> float:
    """The sum of the cells that an assignment chooses."""
    return math.fsum(float(t[tuple(assignment[d] for d in scope)]) for scope, t in tables.items())


def spread(tables: Tables) -> float:
    """The largest difference that the tables could make."""
    return math.fsum(float(np.ptp(t)) for t in tables.values())


def linearise(menu: Menu, goal: Tables, rows: Sequence[Row]) -> Program | None:
    """The program of a menu, or None where a bound shows that no assignment is within the rows."""
    scopes = _scopes(menu, [goal, *(r.tables for r in rows)])
    parts = {s: _parts(s, scopes) for s in scopes if len(s) > 1}
    alive = _alive(menu, scopes, parts, rows)
    if alive is None:
        return None
    cells: dict[Scope, NDArray[np.intp]] = {}
    count = binaries = 0
    for scope in scopes:
        cells[scope] = np.full(alive[scope].shape, -1)
        n = int(alive[scope].sum())
        cells[scope][alive[scope]] = np.arange(count, count + n)
        count += n
        binaries += n if len(scope) == 1 else 0
    return Program(cells, count, binaries, _equalities(menu, cells, parts, count))


def _merged(term: Term) -> tuple[Scope, NDArray[np.float64]]:
    """The term over its decisions in ascending order, each once, without those that make no difference."""
    scope = tuple(sorted(set(term.on)))
    letters = "".join("abcde"[scope.index(d)] for d in term.on)
    table = np.einsum(f"{letters}->{'abcde'[: len(scope)]}", term.table)
    for axis in reversed(range(len(scope))):
        if np.all(table == table.take([0], axis)):
            table, scope = table.take(0, axis), scope[:axis] + scope[axis + 1 :]
    return scope, np.asarray(table, np.float64)


def _scopes(menu: Menu, metrics: Sequence[Tables]) -> list[Scope]:
    """Single decisions, then every wider scope of a table, and the pairs that two of them share."""
    wide = {scope for tables in metrics for scope in tables if len(scope) > 1}
    shared = {tuple(sorted(set(a) & set(b))) for a, b in combinations(sorted(wide), 2)}
    wide |= {scope for scope in shared if len(scope) == 2}
    return [(d,) for d in range(len(menu.decisions))] + sorted(wide)


def _parts(scope: Scope, scopes: Sequence[Scope]) -> list[Scope]:
    return [t for t in scopes if set(t) < set(scope)]


def _alive(
    menu: Menu, scopes: Sequence[Scope], parts: Mapping[Scope, Sequence[Scope]], rows: Sequence[Row]
) -> dict[Scope, NDArray[np.bool_]] | None:
    """Which cells can be part of an assignment within the rows, by bounds; None where a scope has none left."""
    alive = {s: np.ones(tuple(int(menu.sizes[d]) for d in s), np.bool_) for s in scopes}
    left, before = sum(m.size for m in alive.values()), -1
    while left != before:
        for scope, inside in parts.items():
            for part in inside:
                _meet(alive, scope, part)
        for (a, i), (b, j) in menu.ties:
            both = alive[(a,)][i] and alive[(b,)][j]
            alive[(a,)][i] = alive[(b,)][j] = both
        if not all(m.any() for m in alive.values()) or not all(_trim(alive, row) for row in rows):
            return None
        left, before = sum(int(m.sum()) for m in alive.values()), left
    return alive


def _meet(alive: dict[Scope, NDArray[np.bool_]], scope: Scope, part: Scope) -> None:
    """Drops the cells of a scope whose place in a part of it is gone, and places of the part without a cell."""
    rest = tuple(range(len(part), len(scope)))
    by_part = np.moveaxis(alive[scope], [scope.index(d) for d in part], range(len(part)))
    by_part &= np.expand_dims(alive[part], rest)
    alive[part] &= by_part.any(axis=rest)


def _trim(alive: dict[Scope, NDArray[np.bool_]], row: Row) -> bool:
    """Drops the cells that break the row even beside the least of all other tables; False where all do."""
    least = {s: float(t[alive[s]].min()) if s else float(t) for s, t in row.tables.items()}
    room = row.most - math.fsum(least.values()) + _DUST * spread(row.tables) + 1e-12 * abs(row.most)
    for scope, table in row.tables.items():
        if scope:
            alive[scope] &= table - least[scope] <= room
    return room >= 0


def _equalities(
    menu: Menu, cells: Mapping[Scope, NDArray[np.intp]], parts: Mapping[Scope, Sequence[Scope]], count: int
) -> LinearConstraint:
    """One option for each decision, agreeing marginals, and the ties; without rows that follow from others."""
    plus: list[NDArray[np.intp]] = []
    minus: list[int] = []  # -1: the sum is 1
    first = {d: int(np.argmax(cells[(d,)] >= 0)) for d in range(len(menu.decisions))}
    for scope, columns in cells.items():
        plus.append(columns[columns >= 0])
        minus.append(-1)
        for part in parts.get(scope, ()):
            by_part = np.moveaxis(columns, [scope.index(d) for d in part], range(len(part)))
            for options in np.argwhere(cells[part] >= 0):
                # the marginal of an option that is some decision's first is what the others leave
                if all(o != first[d] for d, o in zip(part, options, strict=True)):
                    sums = by_part[tuple(options)].ravel()
                    plus.append(sums[sums >= 0])
                    minus.append(int(cells[part][tuple(options)]))
    for (a, i), (b, j) in menu.ties:
        if cells[(a,)][i] >= 0:
            plus.append(cells[(a,)][[i]])
            minus.append(int(cells[(b,)][j]))
    values = np.r_[np.ones(sum(len(p) for p in plus)), -np.ones(sum(m >= 0 for m in minus))]
    rows = [r for r, p in enumerate(plus) for _ in p] + [r for r, m in enumerate(minus) if m >= 0]
    columns_ = [*np.concatenate(plus), *(m for m in minus if m >= 0)]
    matrix = coo_array((values, (rows, columns_)), (len(plus), count)).tocsr()
    right = [float(m < 0) for m in minus]
    return LinearConstraint(matrix, right, right)
