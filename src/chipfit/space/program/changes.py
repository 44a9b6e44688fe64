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
    return values[int(rng.integers(len(values)))]


def new(before: int, opcodes: Sequence[str], rng: np.random.Generator) -> Instruction:
    """A random instruction on values up to number `before`; the last of them by half of the chance."""
    record = OPCODES[one(opcodes, rng)]
    recent = rng.random(record.arity) < 0.5
    operands = (before if late else int(rng.integers(before + 1)) for late in recent)
    return Instruction(record.name, tuple(operands), tuple(one(slot.values, rng) for slot in record.slots))


def inserted(rows: Rows, opcodes: Sequence[str], rng: np.random.Generator) -> Rows:
    """One instruction more, which later ones read instead of the value that it reads first."""
    at = int(rng.integers(len(rows) + 1))
    made = new(at, opcodes, rng)
    source = made.of[0]

    def number(i: int) -> int:
        return at + 1 if i == source else i + (i > at)

    return (*rows[:at], made, *(row.reading(number) for row in rows[at:]))


def left_out(rows: Rows, opcodes: Sequence[str], rng: np.random.Generator) -> Rows | None:
    """One instruction less; what read it reads what it read."""
    if len(rows) == 1:
        return None
    at = int(rng.integers(len(rows)))
    source = rows[at].of[0]

    def number(i: int) -> int:
        return source if i == at + 1 else i - (i > at + 1)

    behind = [row.reading(number) for row in rows[at + 1 :]]
    return (*rows[:at], *behind)


def exchanged(rows: Rows, opcodes: Sequence[str], rng: np.random.Generator) -> Rows | None:
    """Another opcode on the same values; it keeps the constants that it takes too."""
    at = int(rng.integers(len(rows)))
    row = rows[at]
    others = [name for name in opcodes if OPCODES[name].arity == len(row.of) and name != row.opcode]
    if not others:
        return None
    record = OPCODES[one(others, rng)]
    constants = list[Constant]()
    for slot in record.slots:
        fitting = [c for c in row.constants if slot.takes(c)]
        constants.append(fitting[0] if fitting else one(slot.values, rng))
    made = Instruction(record.name, row.of, tuple(constants))
    return (*rows[:at], made, *rows[at + 1 :])


def varied(rows: Rows, opcodes: Sequence[str], rng: np.random.Generator) -> Rows | None:
    """Another value of one constant."""
    with_constants = [at for at, row in enumerate(rows) if row.constants]
    if not with_constants:
        return None
    at = one(with_constants, rng)
    row = rows[at]
    constants = list(row.constants)
    k = int(rng.integers(len(constants)))
    constants[k] = one(row.record.slots[k].values, rng)
    return (*rows[:at], replace(row, constants=tuple(constants)), *rows[at + 1 :])


def turned(rows: Rows, opcodes: Sequence[str], rng: np.random.Generator) -> Rows | None:
    """One operand more to the front, or another value in its place."""
    at = int(rng.integers(len(rows)))
    operands = list(rows[at].of)
    if len(operands) > 1 and rng.random() < 0.5:
        operands.reverse()
    else:
        operands[int(rng.integers(len(operands)))] = int(rng.integers(at + 1))
    return (*rows[:at], replace(rows[at], of=tuple(operands)), *rows[at + 1 :])


def spliced(rows: Rows, other: Rows, rng: np.random.Generator) -> Rows:
    """Some neighbouring instructions of another program in place of one of its own.

    What they read outside of themselves is what that one read first.
    """
    at = int(rng.integers(len(rows)))
    start = int(rng.integers(len(other)))
    stop = int(rng.integers(start, len(other))) + 1
    source, more = rows[at].of[0], stop - start - 1

    def inside(i: int) -> int:
        return at + i - start if i > start else source

    def behind(i: int) -> int:
        return i + more if i > at else i

    part = [row.reading(inside) for row in other[start:stop]]
    rest = [row.reading(behind) for row in rows[at + 1 :]]
    return (*rows[:at], *part, *rest)


def joined(a: Rows, b: Rows, rng: np.random.Generator) -> Rows:
    """The first instructions of one and the last of another; values that are not there are the last that is."""
    end = int(rng.integers(len(a) + 1))
    start = int(rng.integers(len(b)))

    def number(i: int) -> int:
        return i - start + end if i > start else min(i, end)

    return (*a[:end], *(row.reading(number) for row in b[start:]))


CHANGES: tuple[Change, ...] = (inserted, left_out, exchanged, varied, turned)
"""Those of one program alone."""
