"""A program at a place, as operators of known kinds.

What is inside is named after the layer, `LAYER#0`, `LAYER#1`, ...; the last operator keeps the layer's name and the
prefix of its arrays, so that whatever stands around it (a batch norm, a residual sum, a coupling) stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from chipfit.core.graph import Graph, Op, op
from chipfit.core.kinds import KINDS, Shape
from chipfit.space.program.constants import Constant, Share, Window
from chipfit.space.program.geometry import takers
from chipfit.space.program.opcode import Step
from chipfit.space.program.place import Place
from chipfit.space.program.program import Program, written


@dataclass(frozen=True, slots=True)
class Lowered:
    """The operators of a program at a place.

    Attributes:
        ops: in order; the first of them read what the layer reads, the last is named like the layer.
        arrays: name -> shape of every array of theirs.
        instructions: operator -> number of the instruction (from 1 on) that it is of.
    """

    ops: tuple[Op, ...]
    arrays: Mapping[str, Shape]
    instructions: Mapping[str, int]

    @property
    def floats(self) -> tuple[str, ...]:
        """Operators that have no int8 form, where they compute: between them values are converted."""
        return tuple(o.name for o in self.ops if not (KINDS[o.kind].int8 or KINDS[o.kind].moves == "view"))


def fits(program: Program, place: Place) -> bool:
    """True where the program is well-typed at a place."""
    try:
        lowered(program, place)
    except ValueError:
        return False
    return True


def alone(program: Program, place: Place) -> Graph:
    """The program as a graph of its own, on an input named like what the layer reads.

    Raises:
        ValueError: as `lowered`.
    """
    ops = lowered(program, place).ops
    return Graph((_source(place), *ops), ops[-1].name)


def lowered(program: Program, place: Place) -> Lowered:
    """The operators that the program is at a place; instructions that nothing depends on are left out.

    Raises:
        ValueError: the program is ill-typed there; the message says which instruction, and why.
    """
    source = _source(place)
    ops = list[Op]()
    values: dict[int, Op] = {0: source}
    numbers = list[int]()
    taking = takers(program, place)
    biased = _biased(program, place)
    for n in sorted(program.live - {0}):
        instruction = program.instructions[n - 1]
        constants = tuple(_resolved(c, place) for c in instruction.constants)
        takes = (n in taking[0], n in taking[1])
        where = f"instruction {n}, {written(n, instruction)},"
        step = Step(place, where, tuple(values[i] for i in instruction.of), constants, takes, n in biased, ops)
        values[n] = instruction.record.lower(step)
        numbers += [n] * (len(ops) - len(numbers))
    return _ended(ops, source, numbers, program, place)


def _ended(ops: list[Op], source: Op, numbers: list[int], program: Program, place: Place) -> Lowered:
    """What was written, with the layer's name and prefix on the last operator."""
    last = replace(ops[-1], name=place.name, weights=place.weights if ops[-1].weights else "")
    if last.shape != place.after:
        raise ValueError(f"{program.text!r} makes {last.shape} at {place.name!r}, which makes {place.after}")
    written_ops = (*ops[:-1], last)
    graph = Graph((source, *written_ops), last.name)
    arrays = dict[str, Shape]()
    for o in written_ops:
        arrays |= graph.weight_shapes(o)
    names = (o.name for o in written_ops)
    return Lowered(written_ops, arrays, dict(zip(names, numbers, strict=True)))


def _source(place: Place) -> Op:
    return op(place.reads, "input", (), place.before)


def _resolved(constant: Constant, place: Place) -> Any:
    """A constant in numbers: channels of a share, (rows, columns) of a window."""
    if isinstance(constant, Share):
        return constant.among(place.channels["CM".index(constant.of)])
    if isinstance(constant, Window):
        return constant.rows or place.kernel[0], constant.columns or place.kernel[1]
    return constant


def _biased(program: Program, place: Place) -> frozenset[int]:
    """Numbers of the values whose layers have a bias.

    The last instruction has the layer's; where it has no arrays, all before it have one each. So has each layer
    that something other than a weighted sum reads, whose bias no later one could stand for.
    """
    last = len(program.instructions)
    bent = {i for n in program.live - {0} for i in _bent(program, n)}
    own = program.live if not program.instructions[last - 1].record.learns else {last}
    return frozenset(bent | (set(own) if place.bias else set()))


def _bent(program: Program, n: int) -> tuple[int, ...]:
    """The values that an instruction reads, where it does not make a weighted sum of them."""
    instruction = program.instructions[n - 1]
    return () if instruction.linear else instruction.of
