"""The single changes of programs: each makes a list of instructions of another, which may or may not be a program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from chipfit.space.program.constants import Constant
from chipfit.space.program.opcodes import OPCODES
from chipfit.space.program.program import Instruction

T = TypeVar("T")

Rows = tuple[Instruction, ...]

Change = Callable[[Rows, Sequence[str], np.random.Generator], Rows | None]
"""Of instructions and the opcodes that may come in; None where there is nothing to change."""


def one(values: Sequence[T], rng: np.random.Generator) -> T:
    """One of them by chance."""
    return values[below(len(values), rng)]


def below(n: int, rng: np.random.Generator) -> int:
    """A whole number from 0 to n - 1 by chance."""
    return int(rng.integers(n))


def with_row(rows: Rows, at: int, row: Instruction) -> Rows:
    """The instructions with another one at that place."""
    return (*rows[:at], row, *rows[at + 1 :])


def new(before: int, opcodes: Sequence[str], rng: np.random.Generator) -> Instruction:
    """A random instruction on values up to number `before`; the last of them by half of the chance."""
    record = OPCODES[one(opcodes, rng)]
    operands = [_recent(before, rng) for _ in range(record.arity)]
    constants = [one(slot.values, rng) for slot in record.slots]
    return Instruction(record.name, tuple(operands), tuple(constants))


def _recent(last: int, rng: np.random.Generator) -> int:
    # half of the chance for the last value: programs are chains more often than not
    return last if rng.random() < 0.5 else below(last + 1, rng)


def inserted(rows: Rows, opcodes: Sequence[str], rng: np.random.Generator) -> Rows:
    """One instruction more, which later ones read instead of the value that it reads first."""
    at = below(len(rows) + 1, rng)
    made = new(at, opcodes, rng)
    source = made.of[0]

    def number(i: int) -> int:
        if i == source:
            return at + 1
        return i + 1 if i > at else i

    behind = [row.reading(number) for row in rows[at:]]
    return (*rows[:at], made, *behind)


def left_out(rows: Rows, opcodes: Sequence[str], rng: np.random.Generator) -> Rows | None:
    """One instruction less; what read it reads what it read."""
    if len(rows) == 1:
        return None
    at = below(len(rows), rng)
    source = rows[at].of[0]

    def number(i: int) -> int:
        if i == at + 1:
            return source
        return i - 1 if i > at else i

    behind = [row.reading(number) for row in rows[at + 1 :]]
    return (*rows[:at], *behind)


def exchanged(rows: Rows, opcodes: Sequence[str], rng: np.random.Generator) -> Rows | None:
    """Another opcode on the same values; it keeps the constants that it takes too."""
    at = below(len(rows), rng)
    row = rows[at]
    alike = [name for name in opcodes if OPCODES[name].arity == len(row.of)]
    others = [name for name in alike if name != row.opcode]
    if not others:
        return None
    record = OPCODES[one(others, rng)]
    constants = list[Constant]()
    for slot in record.slots:
        fitting = [c for c in row.constants if slot.takes(c)]
        constants.append(fitting[0] if fitting else one(slot.values, rng))
    return with_row(rows, at, Instruction(record.name, row.of, tuple(constants)))


def varied(rows: Rows, opcodes: Sequence[str], rng: np.random.Generator) -> Rows | None:
    """Another value of one constant."""
    with_constants = [at for at, row in enumerate(rows) if row.constants]
    if not with_constants:
        return None
    at = one(with_constants, rng)
    row = rows[at]
    constants = list(row.constants)
    k = below(len(constants), rng)
    slot = row.record.slots[k]
    constants[k] = one(slot.values, rng)
    return with_row(rows, at, replace(row, constants=tuple(constants)))


def turned(rows: Rows, opcodes: Sequence[str], rng: np.random.Generator) -> Rows | None:
    """One operand more to the front, or another value in its place."""
    at = below(len(rows), rng)
    operands = list(rows[at].of)
    if len(operands) > 1 and rng.random() < 0.5:
        operands.reverse()
    else:
        k = below(len(operands), rng)
        operands[k] = below(at + 1, rng)
    return with_row(rows, at, replace(rows[at], of=tuple(operands)))


def spliced(rows: Rows, other: Rows, rng: np.random.Generator) -> Rows:
    """Some neighbouring instructions of another program in place of one of its own.

    What they read outside of themselves is what that one read first.
    """
    at = below(len(rows), rng)
    start = below(len(other), rng)
    stop = start + 1 + below(len(other) - start, rng)
    source = rows[at].of[0]
    more = stop - start - 1

    def inside(i: int) -> int:
        return at + i - start if i > start else source

    def behind(i: int) -> int:
        return i + more if i > at else i

    part = [row.reading(inside) for row in other[start:stop]]
    rest = [row.reading(behind) for row in rows[at + 1 :]]
    return (*rows[:at], *part, *rest)


def joined(a: Rows, b: Rows, rng: np.random.Generator) -> Rows:
    """The first instructions of one and the last of another; values that are not there are the last that is."""
    end = below(len(a) + 1, rng)
    start = below(len(b), rng)

    def number(i: int) -> int:
        return i - start + end if i > start else min(i, end)

    behind = [row.reading(number) for row in b[start:]]
    return (*a[:end], *behind)


CHANGES: tuple[Change, ...] = (inserted, left_out, exchanged, varied, turned)
"""Those of one program alone."""
