"""Opcodes that change each value on its own, and that join two values, either of which may be broadcast."""

from __future__ import annotations

from collections.abc import Callable

from chipfit.core.graph import Op
from chipfit.core.kinds import Shape
from chipfit.space.program.opcode import Opcode, Slot, Step


def _bending(kind: str) -> Callable[[Step], Op]:
    """The rule of a function of one value that is a kind of its own."""
    return lambda step: step.write(kind, step.reads, step.shape)


def _clip(step: Step) -> Op:
    low, high = step.constants
    if low >= high:
        step.refuse(f"{low} is not below {high}")
    return step.write("clip", step.reads, step.shape, low=float(low), high=float(high))


def _power(step: Step) -> Op:
    (exponent,) = step.constants
    return step.write("pow", step.reads, step.shape, exponent=float(exponent))


def _tan(step: Step) -> Op:
    sine = step.write("sin", step.reads, step.shape)
    cosine = step.write("cos", step.reads, step.shape)
    return step.write("div", (sine, cosine), step.shape)


def joined(step: Step, kind: str) -> Op:
    """Two values one by one, broadcast where one of them has a single place along an axis."""
    return step.write(kind, step.reads, _broadcast(step, *(o.shape for o in step.reads)))


def _broadcast(step: Step, a: Shape, b: Shape) -> Shape:
    if len(a) != len(b) or any(m != n and 1 not in (m, n) for m, n in zip(a, b, strict=True)):
        step.refuse(f"values of {a} and {b} do not meet one by one")
    return tuple(max(m, n) for m, n in zip(a, b, strict=True))


def _joining(kind: str) -> Callable[[Step], Op]:
    return lambda step: joined(step, kind)


ALONE = {
    "relu": "relu", "hswish": "hard_swish", "gelu": "gelu_tanh", "sigmoid": "sigmoid",
    "abs": "abs", "sin": "sin", "cos": "cos", "log": "log", "exp": "exp", "sqrt": "sqrt",
}  # fmt: skip
"""Opcode -> kind of what changes each value on its own."""

POINTWISE = (
    *(Opcode(name, name, 1, (), _bending(kind)) for name, kind in ALONE.items()),
    Opcode("tan", "sine by cosine", 1, (), _tan),
    Opcode("clip", "cut off below and above", 1, (Slot("low", (0.0, -1.0)), Slot("high", (6.0, 1.0))), _clip),
    Opcode("power", "a power", 1, (Slot("exponent", (2.0, 0.5)),), _power),
    Opcode("add", "sum", 2, (), _joining("add"), linear=True, commutes=True),
    Opcode("sub", "difference", 2, (), _joining("sub"), linear=True),
    Opcode("mul", "product", 2, (), _joining("mul"), commutes=True),
    Opcode("div", "quotient", 2, (), _joining("div")),
)
