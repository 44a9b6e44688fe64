"""Operators that no other record knows, taken as they are (`core.opaque`).

opaque  program: what it computes, as text; macs: counted; why (optional): the reason, in words
"""

from __future__ import annotations

from chipfit.core.kinds.kind import Kind, Shape, Shapes
from chipfit.core.op import Op
from chipfit.core.opaque import KIND, program


def _arrays(o: Op, shapes: Shapes) -> dict[str, Shape]:
    return program(o).shapes()


def _learns(o: Op, role: str) -> bool:
    return any(a.role == role and a.learnt for a in program(o).arrays)


def _macs(o: Op, shapes: Shapes) -> int:
    return int(o["macs"])


OPAQUE = (Kind(KIND, "opaque", "mixes", ("program", "macs"), ("why",), arrays=_arrays, learns=_learns, macs=_macs),)
