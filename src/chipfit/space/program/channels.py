"""Opcodes that move channels: parts of them, side by side, shuffled, shifted to neighbouring places."""

from __future__ import annotations

import math

from chipfit.core.graph import Op
from chipfit.core.kinds import Shape
from chipfit.space.program.opcode import Opcode, Slot, Step

SHIFTS = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))
"""Rows and columns by which the five groups of channels of a shift move; the last takes what is left over."""


def resized(shape: Shape, axis: int, size: int) -> Shape:
    """A shape with so many places along an axis."""
    return (*shape[:axis], size, *shape[axis + 1 :])


def _concat(step: Step) -> Op:
    left, right = (o.shape for o in step.reads)
    axis = step.axis
    if resized(left, axis, 0) != resized(right, axis, 0):
        step.refuse(f"values of {left} and {right} do not fit side by side")
    shape = resized(left, axis, left[axis] + right[axis])
    return step.write("concat", step.reads, shape, axis=axis)


def _cut(step: Step, of: Op, axis: int, start: int, stop: int) -> Op:
    """The places from `start` to before `stop` along an axis."""
    shape = resized(of.shape, axis, stop - start)
    return step.write("slice", (of,), shape, axis=axis, start=start, stop=stop, step=1)


def _part(step: Step) -> Op:
    which, parts = step.constants
    channels = step.channels
    if not 1 <= which <= parts <= channels:
        step.refuse(f"there is no part {which} of {parts} of {channels} channels")
    start = channels * (which - 1) // parts
    stop = channels * which // parts
    return _cut(step, step.reads[0], step.axis, start, stop)


def _shuffle(step: Step) -> Op:
    """Channels of the first group apart, each with its like of the other groups behind it."""
    channels, *sizes = step.map()
    groups = math.gcd(*step.constants, channels)
    apart = (groups, channels // groups, *sizes)
    mixed = (channels // groups, groups, *sizes)
    made = step.write("reshape", step.reads, apart, to=apart)
    made = step.write("transpose", (made,), mixed, perm=(1, 0, 2, 3))
    return step.write("reshape", (made,), step.shape, to=step.shape)


def _shift(step: Step) -> Op:
    """One zero all around, and a window of the old size on it for each group: no product, and no weight."""
    channels, rows, columns = step.map()
    each = channels // len(SHIFTS)
    if not each:
        step.refuse(f"{channels} channels are too few for {len(SHIFTS)} groups")
    larger = (channels, rows + 2, columns + 2)
    padded = step.write("pad", step.reads, larger, pads=(0, 0, 1, 1, 1, 1))
    ends = [n * each for n in range(len(SHIFTS))] + [channels]
    groups = list[Op]()
    for n, (down, right) in enumerate(SHIFTS):
        group = _cut(step, padded, 0, ends[n], ends[n + 1])
        group = _cut(step, group, 1, 1 - down, 1 - down + rows)
        groups.append(_cut(step, group, 2, 1 - right, 1 - right + columns))
    return step.write("concat", groups, step.shape, axis=0)


PART = Slot("part", (1, 2))
PARTS = Slot("parts", (2, 4))

GROUPS = Slot("groups", (2, 4, 8))

CHANNELS = (
    Opcode("concat", "both, side by side", 2, (), _concat, linear=True),
    Opcode("part", "one part of the channels", 1, (PART, PARTS), _part, linear=True),
    Opcode("shuffle", "channels of each group in turn", 1, (GROUPS,), _shuffle, linear=True),
    Opcode("shift", "groups of channels moved by one place", 1, (), _shift, linear=True),
)
