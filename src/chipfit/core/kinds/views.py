"""Kinds that move values, and where values come from.

flatten    everything behind the batch axis in one row
reshape    to: the new shape without the batch axis
transpose  perm of the axes after the batch axis, 0-based
slice      axis (without batch), start, stop, step
pad        pads: (before, after) of each axis without batch, flattened; with zeros
"""

from __future__ import annotations

from chipfit.core.kinds.kind import Kind

SOURCES = (Kind("input", "source", "source", cost="free"),)

VIEWS = (
    Kind("flatten", "view", "moves", moves="view", int8=True, cost="free", in_place=True),
    Kind("reshape", "view", "moves", ("to",), moves="view", int8=True, cost="free"),
    Kind("transpose", "view", "moves", ("perm",), moves="all", int8=True, cost="free"),
    Kind("slice", "view", "moves", ("axis", "start", "stop", "step"), moves="some", int8=True, cost="free"),
    Kind("pad", "view", "moves", ("pads",), cost="free"),
)
