"""Kinds that put values together.

add, sub, mul, div, maximum, minimum
        of two values of one rank, either of which may be broadcast
concat  axis, counted without the batch axis (0 is channels); constants are repeated over the batch
matmul  of two values (..., n, k) and (..., k, m) of one rank, whose leading axes may be broadcast
"""

from __future__ import annotations

from chipfit.core.kinds.kind import Kind, Shapes, last
from chipfit.core.op import Op


def _matmul_macs(o: Op, shapes: Shapes) -> int:
    return o.size * shapes[0][-1]


ELEMENTWISE = (
    Kind("add", "join", "joins", hosts=True, int8=True),
    Kind("sub", "join", "joins"),
    Kind("mul", "join", "joins", hosts=True, int8=True),
    Kind("div", "join", "joins"),
    Kind("maximum", "join", "joins"),
    Kind("minimum", "join", "joins"),
)

CONCATENATIONS = (Kind("concat", "view", "stacks", ("axis",), int8=True, cost="free"),)

PRODUCTS = (Kind("matmul", "product", "contracts", axis=last, macs=_matmul_macs),)
