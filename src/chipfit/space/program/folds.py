"""Folds: instructions that go without changing what a program can compute.

    part 1 of 1, shuffle of 1 group, both halves side by side again    the value itself
    relu of relu, relu of shares, up of up, ...                        once
    conv of 1x1; gconv of 1 group                                      pwconv; conv
    pwconv before or behind a convolution, with no rank below both     one convolution
    scale before or behind weights that it can be taken into           the weights alone
    sum of two alike on the same value                                 one of them

Two factors with fewer channels between them than at both ends stay: their width is a bound on the rank.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from chipfit.space.program.constants import Share, Window
from chipfit.space.program.program import Instruction, Program
from chipfit.space.program.shares import at_least, widths

_POSITIVE = frozenset({"relu", "sigmoid", "softmax", "relu_norm"})
_ONCE = frozenset({"relu", "up", "mean_hw", "abs"})
_FULL = frozenset({"conv", "pwconv", "linear"})
"""Opcodes whose weights join every channel that they read with every one that they make."""
_SCALED = _FULL | {"gconv", "dwconv", "dilated", "scale"}
"""Opcodes whose weights take a factor for each channel into them, on either side."""


def folded(program: Program) -> Program:
    """The program with every fold made, one after the other, until none is left."""
    while (simpler := _one_fold(program)) is not None:
        program = simpler
    return program


def _one_fold(program: Program) -> Program | None:
    """The program after the first fold that there is; None where there is none."""
    view = _View(program)
    for n in sorted(program.live - {0}):
        if (value := _identity(view, n)) is not None and n != value:
            if value == 0 and n == len(program.instructions):
                continue  # a program has at least one instruction
            return _dropped(program, n, value)
        if (instruction := _renamed(view.at(n))) is not None:
            return _replaced(program, n, instruction)
        for fold in _FOLDS:
            if (instruction := fold(view, n)) is not None:
                return _replaced(program, n, instruction)
    return None


class _View:
    """A program with what folds ask of it."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.widths: Mapping[int, Share] = widths(program)
        self.users = _users(program)

    def at(self, n: int) -> Instruction:
        """The instruction that makes value n."""
        return self.program.instructions[n - 1]

    def inner(self, n: int) -> int | None:
        """The value that the instruction of value n reads first, where it is no input and nothing else reads it."""
        first = self.at(n).of[0]
        return first if first and self.users[first] == 1 else None


def _users(program: Program) -> Sequence[int]:
    counts = [0] * (len(program.instructions) + 1)
    for n in program.live - {0}:
        for i in program.instructions[n - 1].of:
            counts[i] += 1
    return counts


def _identity(view: _View, n: int) -> int | None:
    """The value that value n is equal to; None where there is none."""
    instruction = view.at(n)
    first = instruction.of[0]
    if instruction.opcode == "part" and instruction.constants == (1, 1):
        return first
    if instruction.opcode == "shuffle" and instruction.constants == (1,):
        return first
    if instruction.opcode == "concat":
        return _whole_again(view, instruction)
    if first == 0:
        return None
    before = view.at(first).opcode
    if instruction.opcode in _ONCE and before == instruction.opcode:
        return first
    return first if instruction.opcode in ("relu", "abs") and before in _POSITIVE else None


def _whole_again(view: _View, instruction: Instruction) -> int | None:
    """The value whose two halves a concatenation puts side by side again."""
    if 0 in instruction.of:
        return None
    left, right = (view.at(i) for i in instruction.of)
    halves = (left.opcode, left.constants, right.opcode, right.constants) == ("part", (1, 2), "part", (2, 2))
    return left.of[0] if halves and left.of == right.of else None


def _renamed(instruction: Instruction) -> Instruction | None:
    """The same under its shorter name."""
    constants = instruction.constants
    if instruction.opcode == "conv" and constants[0] == Window(1, 1):
        return Instruction("pwconv", instruction.of, constants[1:])
    if instruction.opcode == "gconv" and constants[2] == 1:
        return Instruction("conv", instruction.of, constants[:2])
    return None


def _point_behind(view: _View, n: int) -> Instruction | None:
    """A pwconv of a full convolution with no fewer channels than it makes: the convolution to its channels."""
    inner = view.inner(n)
    if inner is None or view.at(n).opcode not in ("pwconv", "linear") or view.at(inner).opcode not in _FULL:
        return None
    if not at_least(view.widths.get(inner), view.widths.get(n)):
        return None
    before = view.at(inner)
    constants = tuple(view.widths[n] if isinstance(c, Share) else c for c in before.constants)
    return replace(before, constants=constants)


def _point_before(view: _View, n: int) -> Instruction | None:
    """A full convolution of a pwconv with no fewer channels than that reads: the convolution alone."""
    inner = view.inner(n)
    if inner is None or view.at(n).opcode not in _FULL or view.at(inner).opcode not in ("pwconv", "linear"):
        return None
    source = view.at(inner).of[0]
    if not at_least(view.widths.get(inner), view.widths.get(source)):
        return None
    return replace(view.at(n), of=(source,))


def _scale_behind(view: _View, n: int) -> Instruction | None:
    inner = view.inner(n)
    if inner is None or view.at(n).opcode != "scale" or view.at(inner).opcode not in _SCALED:
        return None
    return view.at(inner)


def _scale_before(view: _View, n: int) -> Instruction | None:
    inner = view.inner(n)
    if inner is None or view.at(n).opcode not in _SCALED or view.at(inner).opcode != "scale":
        return None
    return replace(view.at(n), of=view.at(inner).of)


def _sum_of_alike(view: _View, n: int) -> Instruction | None:
    """The sum of two instructions with weights that are alike and read the same: one of them."""
    instruction = view.at(n)
    if instruction.opcode != "add" or 0 in instruction.of or instruction.of[0] == instruction.of[1]:
        return None
    left, right = (view.at(i) for i in instruction.of)
    alone = all(view.users[i] == 1 for i in instruction.of)
    return left if alone and left == right and left.opcode in _SCALED else None


_FOLDS: tuple[Callable[[_View, int], Instruction | None], ...] = (
    _point_behind,
    _point_before,
    _scale_behind,
    _scale_before,
    _sum_of_alike,
)
"""Each gives the instruction that makes value n in a simpler way."""


def _replaced(program: Program, n: int, instruction: Instruction) -> Program:
    ops = program.instructions
    return Program((*ops[: n - 1], instruction, *ops[n:]))


def _dropped(program: Program, n: int, value: int) -> Program:
    """The program without the instruction of value n, which is equal to an earlier value."""
    kept = list[Instruction]()
    for number, instruction in enumerate(program.instructions, 1):
        if number == n:
            continue
        operands = (value if i == n else i for i in instruction.of)
        kept.append(replace(instruction, of=tuple(i - (i > n) for i in operands)))
    end = value if n == len(program.instructions) else len(kept)
    return Program(tuple(kept[:end]))
