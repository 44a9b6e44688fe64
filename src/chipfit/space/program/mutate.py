"""How programs vary: an instruction more or less, another opcode, constant or operand, other widths, parts of others.

Every function takes the random generator and returns a program that is well-typed at the place, or None where chance
found none within its tries: a child that fits nothing is no child, and costs some 50 microseconds to find out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from chipfit.space.program.budget import filled
from chipfit.space.program.changes import CHANGES, Rows, exchanged, joined, new, one, spliced, varied
from chipfit.space.program.lower import fits
from chipfit.space.program.opcodes import EXTENDED, OPCODES
from chipfit.space.program.place import Place
from chipfit.space.program.program import MOST, Instruction, Program

_TRIES = 60
BUDGETS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
"""Shares of the layer's multiply-accumulates that free widths are solved for."""

_ON_CREDIT = 0.1
"""How often a random program goes on from where it could not end: a mean over a map has no size until it is joined."""


def mutated(
    program: Program,
    place: Place,
    rng: np.random.Generator,
    *,
    opcodes: Sequence[str] = EXTENDED,
    pool: Sequence[Program] = (),
) -> Program | None:
    """The program with one change by chance.

    Args:
        program: well-typed at the place.
        place: where the child has to fit too.
        rng: the only source of chance.
        opcodes: those that are inserted or put in place of others.
        pool: programs of this and other layers, parts of which may be spliced in.
    """
    for _ in range(_TRIES):
        child = _changed(program, place, rng, opcodes, pool)
        if child is not None and child != program and fits(child, place):
            return child
    return None


def _changed(
    program: Program, place: Place, rng: np.random.Generator, opcodes: Sequence[str], pool: Sequence[Program]
) -> Program | None:
    """One change of any kind, each as likely; it may be ill-typed."""
    ways = len(CHANGES) + 1 + bool(pool)
    n = int(rng.integers(ways))
    if n < len(CHANGES):
        return _program(CHANGES[n](program.instructions, opcodes, rng))
    if n == len(CHANGES):
        return filled(program, place, one(BUDGETS, rng))
    return _program(spliced(program.instructions, one(pool, rng).instructions, rng))


def crossed(a: Program, b: Program, place: Place, rng: np.random.Generator) -> Program | None:
    """The beginning of one program and the end of another, which may be of another layer (one-point cross-over)."""
    for _ in range(_TRIES):
        child = _program(joined(a.instructions, b.instructions, rng))
        if child is not None and child not in (a, b) and fits(child, place):
            return child
    return None


def changed_by_node(
    program: Program, place: Place, rate: float, rng: np.random.Generator, *, opcodes: Sequence[str]
) -> Program | None:
    """The published mutation: each instruction by this chance gets another opcode or another constant.

    The program itself where chance changed nothing; None where the child is ill-typed.
    """
    rows = list(program.instructions)
    for n, row in enumerate(rows):
        if rng.random() < rate:
            change = exchanged if rng.random() < 0.5 else varied
            made = change((replace(row, of=(0,) * len(row.of)),), opcodes, rng)
            rows[n] = replace(made[0], of=row.of) if made else row
    child = _program(tuple(rows))
    return child if child is not None and fits(child, place) else None


def drawn(place: Place, rng: np.random.Generator, *, opcodes: Sequence[str] = EXTENDED, most: int = MOST) -> Program:
    """A random program at a place: instructions by chance, then one that makes the layer's channels.

    Raises:
        RuntimeError: chance found none, as at a place that hardly anything fits.
    """
    for _ in range(200):
        rows: Rows = ()
        for _ in range(int(rng.integers(0, most))):
            rows = _longer(rows, place, opcodes, rng)
        child = _program(_closed(rows, place))
        if child is not None and fits(child, place):
            return child
    raise RuntimeError(f"no random program fits {place.name!r}")


def _longer(rows: Rows, place: Place, opcodes: Sequence[str], rng: np.random.Generator) -> Rows:
    """One instruction more, after which the program could end; now and then one after which it could not."""
    for _ in range(_TRIES):
        longer = (*rows, new(len(rows), opcodes, rng))
        child = _program(_closed(longer, place))
        if child is not None and (rng.random() < _ON_CREDIT or fits(child, place)):
            return longer
    return rows


def _closed(rows: Rows, place: Place) -> Rows:
    """The instructions, and one behind them that makes the layer's channels."""
    name = "pwconv" if place.kind == "conv" else "linear"
    return (*rows, Instruction(name, (len(rows),), (OPCODES[name].slots[0].values[0],)))


def _program(rows: Rows | None) -> Program | None:
    """The program of these instructions, if it is one."""
    try:
        return Program(rows or ())
    except ValueError:
        return None
