"""The rule of `einsum` of two operands: transposed and viewed as matrices, multiplied, and turned back.

Letters that both operands and the result have count products; letters of both that the result has not are summed over;
the others are rows of the first operand and columns of the second.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from torch import fx

from chipfit.nets.program import BATCH
from chipfit.nets.rules.call import Call, part_name
from chipfit.nets.rules.constants import Constant, once
from chipfit.nets.rules.sources import changed, source
from chipfit.nets.rules.tracer import Rule, Tracer


@dataclass(frozen=True, slots=True)
class _Letters:
    """The letters of the two operands and of the result, without that of the batch alone, in groups."""

    left: str
    right: str
    result: str

    @property
    def both(self) -> str:
        return "".join(c for c in self.left if c in self.right and c in self.result)

    @property
    def summed(self) -> str:
        return "".join(c for c in self.left if c in self.right and c not in self.result)

    @property
    def rows(self) -> str:
        return "".join(c for c in self.left if c not in self.right)

    @property
    def columns(self) -> str:
        return "".join(c for c in self.right if c not in self.left)


def einsum(t: Tracer, call: Call) -> None:
    """A sum of products of two values, or of a value and a constant."""
    call.ignore("path")
    operands = [node for node in call.take("tensors") if isinstance(node, fx.Node)]
    left, right, result = _parsed(call, str(call.take("equation")), len(operands))
    if isinstance(t.known[operands[0].name], Constant):
        operands, left, right = operands[::-1], right, left
    batch = left[0]
    constant = t.known[operands[1].name]
    of_both = left[0] == right[0] if not isinstance(constant, Constant) else batch not in right
    if call.layout.axis != 0 or result[0] != batch or not of_both:
        call.refuse("with the batch at another axis than the first, which")
    if call.layout.merged == 1:  # else its letter also counts what it is merged with
        left, right, result = (part.removeprefix(batch) for part in (left, right, result))
    letters = _Letters(left, right, result)
    x = t.stands_for(call, operands[0])
    sizes = dict(zip(letters.left, t.shapes[x], strict=True))
    first = _arranged(t, call, x, letters.left, (letters.both, letters.rows, letters.summed), sizes)
    if isinstance(constant, Constant):
        second = _held(t, call, constant, letters, sizes)
    else:
        y = t.stands_for(call, operands[1])
        sizes |= dict(zip(letters.right, t.shapes[y], strict=True))
        second = _arranged(t, call, y, letters.right, (letters.both, letters.summed, letters.columns), sizes)
    _multiplied(t, call, first, second, letters, sizes)


def _parsed(call: Call, equation: str, operands: int) -> tuple[str, str, str]:
    plain = equation.replace(" ", "")
    given, arrow, result = plain.partition("->")
    parts = given.split(",")
    if operands != 2 or len(parts) != 2 or not arrow or "." in plain or not result:
        call.refuse(f"of {equation!r}")
    alone = set(parts[0]) ^ set(parts[1])
    if any(len(set(part)) < len(part) for part in (*parts, result)) or not alone <= set(result):
        call.refuse(f"of {equation!r}")
    return parts[0], parts[1], result


def _arranged(t: Tracer, call: Call, x: str, letters: str, order: tuple[str, str, str], sizes: dict[str, int]) -> str:
    """A value as matrices: the letters of `order` in turn, those of the two last groups as one axis each."""
    wanted = "".join(order)
    if wanted != letters:
        perm = tuple(letters.index(c) for c in wanted)
        x = t.add(part_name(call, "turned"), "transpose", (x,), tuple(sizes[c] for c in wanted), perm=perm)
    shape = _matrices(order, sizes)
    if shape == t.shapes[x]:
        return x
    return t.add(part_name(call, "matrices"), "reshape", (x,), shape, to=shape)


def _matrices(order: tuple[str, str, str], sizes: dict[str, int]) -> tuple[int, ...]:
    counted, rows, columns = order
    return (*(sizes[c] for c in counted), prod(sizes[c] for c in rows), prod(sizes[c] for c in columns))


def _held(t: Tracer, call: Call, constant: Constant, letters: _Letters, sizes: dict[str, int]) -> str:
    kept, _ = once(constant, BATCH)
    if kept is None:
        call.refuse(f"with '{constant.name}', which differs from input to input by its place in the batch,")
    sizes |= dict(zip(letters.right, kept.value.shape, strict=True))
    order = (letters.both, letters.summed, letters.columns)
    wanted = "".join(order)
    value = kept.value.permute([letters.right.index(c) for c in wanted]).reshape(_matrices(order, sizes))
    return source(t, call, changed(kept, value.contiguous(), f"matrices {letters.right}"), tuple(value.shape))


def _multiplied(t: Tracer, call: Call, first: str, second: str, letters: _Letters, sizes: dict[str, int]) -> None:
    order = (letters.both, letters.rows, letters.columns)
    product = t.add(part_name(call, "product"), "matmul", (first, second), _matrices(order, sizes))
    wanted = "".join(order)
    shape = tuple(sizes[c] for c in wanted)
    if shape != t.shapes[product]:
        product = t.add(part_name(call, "apart"), "reshape", (product,), shape, to=shape)
    if wanted != letters.result:
        perm = tuple(wanted.index(c) for c in letters.result)
        product = t.add(t.wish(call, "einsum"), "transpose", (product,), t.sample_shape(call.node), perm=perm)
    t.known[call.node.name] = product


TABLE: dict[str, Rule] = {"einsum": einsum}
