"""Kinds that move values, and where values come from.

input      integer (0/1): whole numbers, as of words; read as float32 that holds such, or as integers
           ports: text of the inputs that stand side by side in it (`core.ports`)
constant   an array "value" of the operator's shape, the same for every input: its batch axis is 1 and is broadcast;
           learnt (0/1). It reads nothing; additions, products and concatenations read it
flatten    everything behind the batch axis in one row
reshape    to: the new shape without the batch axis
transpose  perm of the axes after the batch axis, 0-based
slice      axis (without batch), start, stop, step
pad        pads: (before, after) of each axis without batch, flattened; with zeros, or with `value` (float), or
           as `how` says: "reflect" (mirrored at the edge) or "edge" (its values repeated), of the axes behind channels
"""

from __future__ import annotations

from chipfit.core.kinds.kind import Kind, Shape, Shapes
from chipfit.core.op import Op


def _value(o: Op, shapes: Shapes) -> dict[str, Shape]:
    return {"value": o.shape}


SOURCES = (
    Kind("input", "source", "source", (), ("integer", "ports"), cost="free"),
    Kind("constant", "source", "source", ("learnt",), arrays=_value, cost="free"),
)

VIEWS = (
    Kind("flatten", "view", "moves", moves="view", int8=True, cost="free", in_place=True),
    Kind("reshape", "view", "moves", ("to",), moves="view", int8=True, cost="free"),
    Kind("transpose", "view", "moves", ("perm",), moves="all", int8=True, cost="free"),
    Kind("slice", "view", "moves", ("axis", "start", "stop", "step"), moves="some", int8=True, cost="free"),
    Kind("pad", "view", "moves", ("pads",), ("value", "how"), cost="free"),
)
