"""Kinds that put values together.

add, sub, mul  of two values of one rank, one of which may be broadcast
concat         axis, counted without the batch axis (0 is channels)
"""

from __future__ import annotations

from chipfit.core.kinds.kind import Kind

ELEMENTWISE = (
    Kind("add", "join", "joins", hosts=True, int8=True),
    Kind("sub", "join", "joins"),
    Kind("mul", "join", "joins", hosts=True, int8=True),
)

CONCATENATIONS = (Kind("concat", "view", "stacks", ("axis",), int8=True, cost="free"),)
