"""Widths of a program's values as shares of the layer's channels, as far as they are known without a place."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from chipfit.space.program.constants import Share
from chipfit.space.program.program import Instruction, Program

KEEPING = frozenset({
    "dwconv", "dilated", "scale", "norm", "shuffle", "shift", "pool", "down", "up", "relu", "hswish", "gelu",
    "sigmoid", "clip", "softmax", "relu_norm",
})  # fmt: skip
"""Opcodes that make as many channels as they read."""


def widths(program: Program) -> Mapping[int, Share]:
    """Number of a value -> its channels, where that follows from the program alone."""
    known = {0: Share("C")}
    for n, instruction in enumerate(program.instructions, 1):
        width = _width(instruction, known)
        if width is not None:
            known[n] = width
    return known


def _width(instruction: Instruction, known: Mapping[int, Share]) -> Share | None:
    for constant in instruction.constants:
        if isinstance(constant, Share):
            return constant
    return known.get(instruction.of[0]) if instruction.opcode in KEEPING else None


def at_least(a: Share | None, b: Share | None) -> bool:
    """True where `a` is known to be no fewer channels than `b`, whatever the layer."""
    if a is None or b is None or a.of != b.of:
        return False
    return Fraction(a.times, a.by) >= Fraction(b.times, b.by)
