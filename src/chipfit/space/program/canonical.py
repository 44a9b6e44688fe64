"""One form for programs that differ in nothing but how they are written, and a hash of it.

In order: instructions that change nothing go, and folds that keep what the program can compute are made (`folds`);
parameter-free instructions that compute the same are one; what nothing depends on goes; operands of commutative
instructions and the instructions themselves stand in an order that follows from what they compute. What is left is
renumbered. Norms stay: they change nothing that is computed, but the road of training.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import replace

from chipfit.space.program.constants import Constant, Share, Window
from chipfit.space.program.folds import folded
from chipfit.space.program.place import Place
from chipfit.space.program.program import Instruction, Program, written

_HEX = 16


def canonical(program: Program) -> Program:
    """The canonical form of a program; its own canonical form is itself.

    >>> from chipfit.space.program.program import parse
    >>> canonical(parse("relu(x); pwconv(x, M); relu(_); add(_, v2); relu(v3)")).text
    'pwconv(x, M); relu(_)'
    """
    before = program
    while (after := ordered(merged(folded(before)))) != before:
        before = after
    return after


def canonical_at(program: Program, place: Place) -> Program:
    """The canonical form, in the words that tell other places the same: what equals the layer's own is called so.

    At a 3x3 layer of 16 channels `3x3` is `KxK`, and `C` or `3M/4`, which is 16 in steps of 8, is `M`. Programs that
    are the same operators there thereby are one text.

    >>> from chipfit.space.program.program import parse
    >>> place = Place("y", "conv", "x", "y", (16, 9, 9), (16, 9, 9), kernel=(3, 3), padding=(1, 1))
    >>> canonical_at(parse("relu(x); dwconv(x, 3x3); pwconv(_, 3M/4)"), place).text
    'dwconv(x, KxK); pwconv(_, M)'
    """
    rows = list[Instruction]()
    for row in program.instructions:
        constants = tuple(_own(constant, place) for constant in row.constants)
        rows.append(replace(row, constants=constants))
    return canonical(Program(tuple(rows)))


def _own(constant: Constant, place: Place) -> Constant:
    if isinstance(constant, Window):
        rows, columns = place.kernel
        return Window(_places(constant.rows, rows), _places(constant.columns, columns))
    if not isinstance(constant, Share):
        return constant
    read, made = place.channels
    channels = constant.among(read if constant.of == "C" else made)
    if channels == made:
        return Share("M")
    return Share("C") if channels == read else constant


def _places(size: int, own: int) -> int:
    """0, which is the layer's own, for a size that is the same; a size of one place stays."""
    return 0 if size == own > 1 else size


def structural_hash(program: Program) -> str:
    """Hash of the canonical form, in 16 hexadecimal digits."""
    return hashlib.sha256(canonical(program).text.encode()).hexdigest()[:_HEX]


def merged(program: Program) -> Program:
    """The program with one instruction for all those without arrays that compute the same of the same."""
    kept = list[Instruction]()
    first: dict[Instruction, int] = {}
    stands: dict[int, int] = {0: 0}
    for n, instruction in enumerate(program.instructions, 1):
        operands = [stands[i] for i in instruction.of]
        if instruction.record.commutes:
            operands.sort()
        made = Instruction(instruction.opcode, tuple(operands), instruction.constants)
        if made in first and not made.record.learns:
            stands[n] = first[made]
            continue
        kept.append(made)
        stands[n] = first[made] = len(kept)
    return Program(tuple(kept[: stands[len(program.instructions)]]))


def ordered(program: Program) -> Program:
    """The live instructions in the order in which a walk from the end meets them, operands before their users.

    Operands of a commutative instruction come in the order of what they compute; where that is the same, of the two
    orders the one with the lesser text.
    """
    keys = _keys(program)
    tied = [n for n in sorted(program.live - {0}) if _tied(program.instructions[n - 1], keys)]
    walks = [_walked(program, keys, turned) for turned in _subsets(tied)]
    return min(walks, key=lambda walk: walk.text)


def _tied(instruction: Instruction, keys: Sequence[str]) -> bool:
    first, *others = instruction.of
    return instruction.record.commutes and first != others[0] and keys[first] == keys[others[0]]


def _subsets(numbers: Sequence[int]) -> list[frozenset[int]]:
    sizes = range(len(numbers) + 1)
    return [frozenset(c) for size in sizes for c in itertools.combinations(numbers, size)]


def _keys(program: Program) -> list[str]:
    """For each value, from x on, a hash of what it computes, in which it does not matter what else reads its parts."""
    keys = ["x"]
    for instruction in program.instructions:
        operands = [keys[i] for i in instruction.of]
        if instruction.record.commutes:
            operands.sort()
        text = repr((instruction.opcode, instruction.constants, operands))
        keys.append(hashlib.sha256(text.encode()).hexdigest())
    return keys


def _walked(program: Program, keys: Sequence[str], turned: frozenset[int]) -> Program:
    """The instructions in post-order; at those that are `turned`, operands that compute the same change places."""
    made = list[Instruction]()
    stands = {0: 0}

    def visit(n: int) -> int:
        if n not in stands:
            instruction = program.instructions[n - 1]
            operands = instruction.of
            if instruction.record.commutes:
                operands = tuple(sorted(operands, key=keys.__getitem__))
                operands = operands[::-1] if n in turned else operands
            numbers = tuple(visit(i) for i in operands)
            made.append(Instruction(instruction.opcode, numbers, instruction.constants))
            stands[n] = len(made)
        return stands[n]

    visit(len(program.instructions))
    return Program(tuple(made))


def explained(program: Program) -> tuple[str, ...]:
    """The instructions one by one, each as text with what it computes."""
    lines = enumerate(program.instructions, 1)
    return tuple(f"{written(n, i)}  {i.record.about}" for n, i in lines)
