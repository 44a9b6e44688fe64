"""What a term may depend on: the cost of a kernel over any number of decisions, as tables over a few of them.

A kernel costs f(channels in, channels out, its precision, ...) while its block is there, else 0. That is one table,
exact, over at most three decisions, or over four of which no two add up to one number: two widths, a precision and a
block that can be dropped; a width, two precisions and a block.

It is more where several groups make up the channels, behind a concatenation. There the sum is taken apart: a table for
each group, beside the other decisions. Counts are straight lines in the sum, so each group's own channels are counted
(`own`), in whole numbers. What a device takes is not: kernels start, and work on blocks of channels. With w_g between
least_g and most_g, and x(t) the channels in sum when every group has shrunk by the share t of what it can,

    f(Σ w_g)  ≈  Σ a_g f(x(t_g)),  t_g = (most_g - w_g) / (most_g - least_g),  a_g = (most_g - least_g) / (x(0) - x(1))

As Σ a_g x(t_g) = Σ w_g, this is a mean of f at points whose mean is the right one: exact where f is a straight line,
and for any f wherever the groups shrink alike, so for the widest and for the narrowest choice: no budget is called
impossible for it. Between, it errs by how far f bends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar, cast

import numpy as np

from chipfit.evaluate.cells import Cell, Cells, enough
from chipfit.space.menu import Menu, Term
from chipfit.space.offer import LEAST_STEP

R = TypeVar("R")
T = TypeVar("T")

Mix = tuple[tuple[float, R], ...]
"""Records by how much each counts; nothing where an operator is not there."""


@dataclass(frozen=True, slots=True)
class Piece(Generic[R]):
    """A part of an operator's cost: a mix of records for each option of the decisions `on`.

    `again` is true where its records' channels out are counted in another part already.
    """

    on: tuple[int, ...]
    cells: Mapping[Cell, Mix[R]]
    again: bool = False

    def numbers(self, value: Callable[[R], float], counts: Callable[[R], bool] = lambda _: True) -> dict[Cell, float]:
        """The cost of each cell that has records that count, by the value of a record."""
        found = {}
        for cell, mix in self.cells.items():
            counted = [(share, record) for share, record in mix if counts(record)]
            if counted:
                found[cell] = sum(share * value(record) for share, record in counted)
        return found

    def of(self, make: Callable[[R], T | None]) -> Piece[T]:
        """The same of what is made of each record, None where that costs nothing."""
        made = {record: make(record) for record in self.records}
        cells = {}
        for cell, mix in self.cells.items():
            cells[cell] = _mix(*((share, made[record]) for share, record in mix))
        return Piece(self.on, cells)

    @property
    def records(self) -> set[R]:
        """All records of its cells."""
        return set(self.ordered)

    @property
    def ordered(self) -> list[R]:
        """The same in the order of the cells."""
        found: dict[R, None] = {}
        for mix in self.cells.values():
            found |= dict.fromkeys(record for _, record in mix)
        return list(found)


def pieces(cells: Cells[R], *, own: bool = False) -> tuple[Piece[R], ...]:
    """The cost of an operator in parts: one if it can be, else one for each group of channels.

    With `own` each part holds its group's own channels, the first also those of no group: for what is counted.
    """
    if len(cells.on) <= 3 or not cells.shared:
        whole = {cell: _mix((1.0, record)) for cell, record in cells.records.items()}
        return (Piece(cells.on, whole),)
    sum_ = _Sum(cells)
    return tuple(sum_.piece(g, own=own) for g in sum_.groups)


def term(menu: Menu, metric: str, on: tuple[int, ...], cells: Mapping[Cell, float], label: str) -> Term:
    """A term whose table has these cells, and 0 elsewhere."""
    table = np.zeros([len(menu.decisions[d].options) for d in on])
    for cell, value in cells.items():
        table[cell] = value
    return Term(metric, on, table, label)


def _mix(*parts: tuple[float, R | None]) -> Mix[R]:
    return tuple((share, record) for share, record in parts if record is not None and share)


class _Sum(Generic[R]):
    """An operator whose channels several groups make up together.

    `room` is by how much each group at most makes each of the shared fields smaller.
    """

    def __init__(self, cells: Cells[R]) -> None:
        self.cells, self.fields = cells, cells.shared
        self.groups = [d for d in cells.on if cells.changes(d) & set(self.fields)]
        self.room = {g: self._room(g) for g in self.groups}
        self.whole = dict.fromkeys(self.fields, 0)
        for room in self.room.values():
            for field, channels in room.items():
                self.whole[field] += channels

    def _room(self, g: int) -> dict[str, int]:
        """By how much a group at most makes each field smaller."""
        there = [o for o, record in enumerate(self.cells.alone[g]) if record is not None]
        room = {}
        for field in self.fields:
            room[field] = max(self.gone(g, o, field) for o in there)
        return room

    def gone(self, g: int, o: int, field: str) -> int:
        """By how much an option of a group makes a field smaller."""
        return self.full(field) - int(getattr(self.cells.alone[g][o], field))

    def full(self, field: str) -> int:
        """A field as it is."""
        return int(getattr(self.cells.as_is, field))

    def piece(self, g: int, *, own: bool) -> Piece[R]:
        """A group's share of the cost."""
        on, rule = self.on(g), self.own if own else self.alike
        found: dict[Cell, Mix[R]] = {}
        heard, place = self.cells.heard(on)[g], on.index(g)
        for cell, record in self.cells.over(on):
            found[cell] = () if record is None else rule(g, heard[cell[place]], record)
        return Piece(on, found, again=g != self.groups[0] and "cout" not in self.fields)

    def on(self, g: int) -> tuple[int, ...]:
        """The decisions of a group's part: itself, what is no group, and what drops the operator."""
        wanted: set[int] = set()
        for d in self.cells.alone:
            in_part = d == g or d not in self.groups
            wanted |= self.cells.sets(d) if in_part else self.cells.drops(d)
        return enough({d: self.cells.sets(d) & wanted for d in self.cells.alone}, [g])

    def own(self, g: int, o: int, record: R) -> Mix[R]:
        """The record with a group's own channels; those that nothing changes are the first's."""
        kept = {}
        for field in self.fields:
            kept[field] = self.room[g][field] - self.gone(g, o, field)
            if g == self.groups[0]:
                kept[field] += self.full(field) - self.whole[field]
        return ((1.0, _with(record, kept)),)

    def alike(self, g: int, o: int, record: R) -> Mix[R]:
        """A group's share of what the operator costs where all groups have shrunk as far as this one."""
        first = self.fields[0]
        room, whole, full = self.room[g][first], self.whole[first], self.full(first)
        t = self.gone(g, o, first) / room
        mix = []
        # rounded, as a width that is whole but for the last digit would ask for a kernel that counts next to nothing
        for part, width in _between(round(full - t * whole, 12), full - whole, full):
            shrunk = (full - width) / whole
            values = {field: round(self.full(field) - shrunk * self.whole[field]) for field in self.fields}
            mix.append((room / whole * part, _with(record, values)))
        return _mix(*mix)


def _with(record: R, values: Mapping[str, int]) -> R:
    return cast(R, replace(cast(Any, record), **values))


def _between(x: float, low: float, high: float) -> tuple[tuple[float, int], ...]:
    """The two widths that kernels have next to x, within low..high, by how near each is."""
    down = max(low, np.floor(x / LEAST_STEP) * LEAST_STEP)
    up = min(high, down - down % LEAST_STEP + LEAST_STEP)
    r = (x - down) / (up - down) if up > down else 0.0
    return (1.0 - r, int(down)), (r, int(up))
