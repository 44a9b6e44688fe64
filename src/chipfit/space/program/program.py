"""Programs as such: instructions on numbered values, and the one text in which they are kept and read.

Value 0 is what the replaced operator reads, value n what instruction n makes, the last value what comes out. In text
value 0 is `x`, the value just before `_`, and any other `v1`, `v2`, ...:

    pwconv(x, M/2); dwconv(_, 3x3); concat(v1, _)

Widths are relative to the replaced layer, so that one text fits every layer, also once it was made narrower.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

from chipfit.space.program.constants import Constant, constant_of, constant_text
from chipfit.space.program.opcode import Opcode
from chipfit.space.program.opcodes import OPCODES

MOST = 8
"""Instructions of a program, at most."""

_CALL = re.compile(r"(\w+)\((.*)\)")


@dataclass(frozen=True, slots=True)
class Instruction:
    """An opcode on earlier values, by their numbers, with its constants."""

    opcode: str
    of: tuple[int, ...]
    constants: tuple[Constant, ...] = ()

    @property
    def record(self) -> Opcode:
        """What its opcode is."""
        return OPCODES[self.opcode]

    @property
    def linear(self) -> bool:
        """True where it makes, up to a constant, weighted sums of what it reads."""
        return self.record.linear and not self.record.bends & set(self.constants)

    def reading(self, number: Callable[[int], int]) -> Instruction:
        """The same with other numbers for the values that it reads."""
        return replace(self, of=tuple(number(i) for i in self.of))


@dataclass(frozen=True)
class Program:
    """One to eight instructions, each on values before it; types of values are checked at a place (`lower`).

    >>> Program((Instruction("pwconv", (0,), (constant_of("M"),)),)).text
    'pwconv(x, M)'

    Raises:
        ValueError: no instruction or too many, an unknown opcode, operands or constants that it does not take.
    """

    instructions: tuple[Instruction, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.instructions) <= MOST:
            raise ValueError(f"a program has 1 to {MOST} instructions, not {len(self.instructions)}")
        for n, instruction in enumerate(self.instructions, 1):
            _check(n, instruction)

    @cached_property
    def text(self) -> str:
        """The program as it is kept and read; `parse` reads it back."""
        return "; ".join(written(n, i) for n, i in enumerate(self.instructions, 1))

    @cached_property
    def live(self) -> frozenset[int]:
        """The numbers of the values that what comes out depends on."""
        needed = {len(self.instructions)}
        for n in range(len(self.instructions), 0, -1):
            if n in needed:
                needed.update(self.instructions[n - 1].of)
        return frozenset(needed)

    @property
    def linear(self) -> bool:
        """True where what comes out is, up to a constant, a weighted sum of what goes in."""
        return all(self.instructions[n - 1].linear for n in self.live if n)

    def __str__(self) -> str:
        return self.text


def written(n: int, instruction: Instruction) -> str:
    """The n-th instruction (from 1 on) as text."""
    operands = [_value(i, n) for i in instruction.of]
    constants = [constant_text(c) for c in instruction.constants]
    return f"{instruction.opcode}({', '.join(operands + constants)})"


def parse(text: str) -> Program:
    """The program of a text.

    >>> parse("dwconv(x, 3x3); pwconv(_, M)").instructions[1].of
    (1,)

    Raises:
        ValueError: it is no program; the message says where.
    """
    return Program(tuple(_read(n, part.strip()) for n, part in enumerate(text.split(";"), 1)))


def _read(n: int, text: str) -> Instruction:
    call = _CALL.fullmatch(text)
    if call is None:
        raise ValueError(f"instruction {n}, {text!r}, is not of the form opcode(value, ..., constant, ...)")
    opcode, inside = call.groups()
    if opcode not in OPCODES:
        raise ValueError(f"instruction {n}, {text!r}: no opcode {opcode!r}; there are {', '.join(OPCODES)}")
    record, given = OPCODES[opcode], [word.strip() for word in inside.split(",")]
    try:
        operands = [_number(word, n) for word in given[: record.arity]]
        constants = [constant_of(word) for word in given[record.arity :]]
        if len(constants) == len(record.slots):
            constants = [slot.read(c) for slot, c in zip(record.slots, constants, strict=True)]
        return Instruction(opcode, tuple(operands), tuple(constants))
    except ValueError as e:
        raise ValueError(f"instruction {n}, {text!r}: {e}") from None


def _value(value: int, n: int) -> str:
    """The name of a value where the n-th instruction reads it."""
    if value == 0:
        return "x"
    return "_" if value == n - 1 else f"v{value}"


def _number(name: str, n: int) -> int:
    """The number of a value by its name where the n-th instruction reads it."""
    if name == "x":
        return 0
    if name == "_":
        return n - 1
    if name[:1] == "v" and name[1:].isdecimal():
        return int(name[1:])
    raise ValueError(f"{name!r} is no value; values are x, _ and v1, v2, ...")


def _check(n: int, instruction: Instruction) -> None:
    where = f"instruction {n}, {instruction.opcode!r}"
    record = OPCODES.get(instruction.opcode)
    if record is None:
        raise ValueError(f"{where}: no such opcode; there are {', '.join(OPCODES)}")
    if len(instruction.of) != record.arity:
        raise ValueError(f"{where}: reads {len(instruction.of)} values instead of {record.arity}")
    if bad := [i for i in instruction.of if not 0 <= i < n]:
        raise ValueError(f"{where}: value {bad[0]} is not before it")
    if len(instruction.constants) != len(record.slots):
        raise ValueError(f"{where}: has {len(instruction.constants)} constants instead of {len(record.slots)}")
    for slot, constant in zip(record.slots, instruction.constants, strict=True):
        if not slot.takes(constant):
            known = ", ".join(constant_text(v) for v in slot.values)
            raise ValueError(f"{where}: {constant_text(constant)} is no {slot.name}; such are {known}")
