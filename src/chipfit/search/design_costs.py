"""What a menu costs on each of many designs of a chip: tables with a leading axis over designs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from chipfit.space.menu import Menu, Term

LATENCY = "latency_ms"
"""The metric that the tables of designs are of."""

Indices = NDArray[np.int64]
Table = NDArray[np.float64]


class DesignCosts(Protocol):
    """Latency of every choice of a menu on each of `count` designs.

    Tables are asked for some designs at a time, since those of all of them may not fit into memory.
    """

    @property
    def count(self) -> int:
        """Designs."""
        ...

    @property
    def scopes(self) -> Sequence[tuple[int, ...]]:
        """Decisions that each table is over, each decision once, in any order; () for what no choice changes."""
        ...

    def tables(self, designs: Indices) -> Sequence[Table]:
        """For each scope an array (designs, *options) of ms; infinite where the design cannot run the choice."""
        ...


@dataclass(frozen=True, slots=True)
class Tabled:
    """Costs that are held as arrays, `held[i]` (designs, *options) of ms over the decisions `scopes[i]`."""

    scopes: tuple[tuple[int, ...], ...]
    held: tuple[Table, ...]

    @property
    def count(self) -> int:
        """Designs."""
        return len(self.held[0])

    @property
    def cells(self) -> int:
        """Cells of all tables of a design."""
        return sum(table.size for table in self.held) // self.count

    def tables(self, designs: Indices) -> list[Table]:
        """The rows of these designs."""
        return [table[designs] for table in self.held]

    def flat(self, design: int) -> Table:
        """(cells,) every cell of a design, one behind the other."""
        return np.concatenate([table[design].ravel() for table in self.held])

    def priced(self, menu: Menu, design: int) -> Menu:
        """The menu with the latency terms of one design."""
        return menu.priced(Term(LATENCY, on, table[design]) for on, table in zip(self.scopes, self.held, strict=True))


@dataclass(frozen=True, slots=True)
class Some:
    """The costs of some designs of others: `designs[i]` is what is called i here."""

    costs: DesignCosts
    designs: Indices

    @property
    def count(self) -> int:
        """Designs."""
        return len(self.designs)

    @property
    def scopes(self) -> Sequence[tuple[int, ...]]:
        """Those of all designs."""
        return self.costs.scopes

    def tables(self, designs: Indices) -> Sequence[Table]:
        """Of these of the designs."""
        return self.costs.tables(self.designs[designs])


def tabled(costs: DesignCosts, designs: Indices) -> Tabled:
    """The costs of some designs as arrays; designs are then called by their places."""
    scopes = tuple(tuple(on) for on in costs.scopes)
    held = tuple(np.asarray(table, np.float64) for table in costs.tables(designs))
    return Tabled(((), *scopes), (np.zeros(len(designs)), *held))


def all_over(count: int, most: int) -> Indices:
    """At most so many of `count` designs, evenly over all of them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def portions(count: int, size: int, first: int) -> Iterator[Indices]:
    """All designs, `size` at a time; before them at most `first` from all over."""
    some = all_over(count, min(first, size))
    yield some
    rest = np.setdiff1d(np.arange(count), some, assume_unique=True)
    for start in range(0, len(rest), size):
        yield rest[start : start + size]
