"""Opcodes without weights that look around in a map, or change its size."""

from __future__ import annotations

import math

from chipfit.core.graph import Op
from chipfit.space.program.convolutions import WINDOW
from chipfit.space.program.opcode import Opcode, Slot, Step
from chipfit.space.program.place import Pair


def _pool(step: Step) -> Op:
    how, kernel = step.constants
    window, after = step.window(kernel)
    padding: Pair = window["padding"]
    if window.pop("dilation") != (1, 1):
        step.refuse("pools have no dilation, as the layer has")
    rows, columns = kernel
    if 2 * padding[0] > rows or 2 * padding[1] > columns:  # torch has no window that is padding alone
        step.refuse(f"a pool of {rows}x{columns} cannot be padded by {padding}")
    shape = (step.channels, *after)
    if how == "max":
        return step.write("max_pool", step.reads, shape, ceil=0, **window)
    return step.write("avg_pool", step.reads, shape, ceil=0, count_include_pad=0, **window)


def _down(step: Step) -> Op:
    """Means over windows side by side, the last of which may be smaller."""
    (by,) = step.constants
    channels, rows, columns = step.map()
    if by < 2 or min(rows, columns) < by:
        step.refuse(f"a map of {rows}x{columns} cannot be {by} times smaller")
    smaller = (channels, math.ceil(rows / by), math.ceil(columns / by))
    window = {"kernel": (by, by), "stride": (by, by), "padding": (0, 0)}
    return step.write("avg_pool", step.reads, smaller, ceil=1, count_include_pad=0, **window)


def _up(step: Step) -> Op:
    """The nearest value, in the exact size that the layer makes."""
    channels, *_ = step.map()
    shape = (channels, *step.place.after[1:])
    return step.write("resize", step.reads, shape, mode="nearest", align=0)


def _mean_hw(step: Step) -> Op:
    channels, *_ = step.map()
    return step.write("global_pool", step.reads, (channels, 1, 1), keep=1)


HOW = Slot("how", ("avg", "max"))

SIZES = (
    Opcode(
        "pool", "mean or maximum around each place", 1, (HOW, WINDOW), _pool,
        linear=True, bends=frozenset({"max"}), space="window",
    ),
    Opcode("down", "means, on a smaller map", 1, (Slot("by", (2,)),), _down, linear=True),
    Opcode("up", "nearest, as large as the layer's map", 1, (), _up, linear=True, space="up"),
    Opcode("mean_hw", "mean over the map", 1, (), _mean_hw, linear=True, space="whole"),
)  # fmt: skip
