"""The instructions of the published search (Benmeziane et al., arXiv 2309.11246), which its code has on whole tensors.

What differs, and why: the batch axis is not among the axes of any of them, so that an answer does not depend on what
else is in the batch; reductions and softmax are over all other axes, concatenation is along channels. A reshape has no
shape of its own to go to: it goes to that of the layer's output.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

from chipfit.core.graph import Op
from chipfit.space.program.channels import resized
from chipfit.space.program.opcode import Opcode, Slot, Step
from chipfit.space.program.pointwise import joined


def _whole(kind: str) -> Callable[[Step], Op]:
    """The rule of a reduction over all axes, which stay as 1."""

    def rule(step: Step) -> Op:
        axes = tuple(range(len(step.shape)))
        return step.write(kind, step.reads, (1,) * len(axes), axes=axes, keep=1)

    return rule


def _softmax_all(step: Step) -> Op:
    flat = step.write("flatten", step.reads, (math.prod(step.shape),))
    shares = step.write("softmax", (flat,), flat.shape, axis=0)
    return step.write("reshape", (shares,), step.shape, to=step.shape)


def _dot(step: Step) -> Op:
    """Inner products along the last axis, which stays as 1."""
    product = joined(step, "mul")
    shape = (*product.shape[:-1], 1)
    return step.write("reduce_sum", (product,), shape, axes=(len(shape) - 1,), keep=1)


def _transpose(step: Step) -> Op:
    if len(step.shape) < 2:
        step.refuse(f"{step.shape} has no two axes to swap")
    rank = len(step.shape)
    *before, rows, columns = step.shape
    perm = (*range(rank - 2), rank - 1, rank - 2)
    return step.write("transpose", step.reads, (*before, columns, rows), perm=perm)


def _reshape(step: Step) -> Op:
    after = step.place.after
    if math.prod(step.shape) != math.prod(after):
        step.refuse(f"{step.shape} has not as many values as {after}")
    return step.write("reshape", step.reads, after, to=after)


def _flatten(step: Step) -> Op:
    return step.write("flatten", step.reads, (math.prod(step.shape),))


def _slice(step: Step) -> Op:
    axis, start, stop = step.constants
    there = step.shape[axis] if 0 <= axis < len(step.shape) else 0
    if not 0 <= start < stop <= there:
        step.refuse(f"{step.shape} has no places {start} to {stop} on axis {axis}")
    shape = resized(step.shape, axis, stop - start)
    return step.write("slice", step.reads, shape, axis=axis, start=start, stop=stop, step=1)


def _pad(step: Step) -> Op:
    (by,) = step.constants
    channels, rows, columns = step.map()
    if by < 1:
        step.refuse(f"{by} places are none to add")
    larger = (channels, rows + 2 * by, columns + 2 * by)
    return step.write("pad", step.reads, larger, pads=(0, 0, by, by, by, by))


WHOLE: Final = (
    Opcode("sum", "sum of all values", 1, (), _whole("reduce_sum"), linear=True, space="whole"),
    Opcode("mean", "mean of all values", 1, (), _whole("reduce_mean"), linear=True, space="whole"),
    Opcode("max", "largest value", 1, (), _whole("reduce_max"), space="whole"),
    Opcode("min", "least value", 1, (), _whole("reduce_min"), space="whole"),
    Opcode("softmax_all", "shares among all values", 1, (), _softmax_all),
    Opcode("dot", "inner products along the last axis", 2, (), _dot, commutes=True),
    Opcode("transpose", "the two last axes swapped", 1, (), _transpose, linear=True),
    Opcode("reshape", "as the layer's output", 1, (), _reshape, linear=True, space="whole"),
    Opcode("flatten", "all values in a row", 1, (), _flatten, linear=True, space="whole"),
    Opcode(
        "slice", "places along an axis", 1,
        (Slot("axis", (0, 1, 2)), Slot("start", (0, 1)), Slot("stop", (8, 4))), _slice, linear=True,
    ),
    Opcode("pad", "zeros around a map", 1, (Slot("by", (1, 2)),), _pad, linear=True),
)  # fmt: skip

PUBLISHED: Final[Mapping[str, str]] = {
    "matmul": "matmul", "add": "add", "sub": "sub", "mul": "mul", "div": "div", "transpose": "transpose", "dot": "dot",
    "sum": "sum", "mean": "mean", "max": "max", "min": "min", "abs": "abs", "sin": "sin", "cos": "cos", "tan": "tan",
    "relu": "relu", "sigmoid": "sigmoid", "softmax": "softmax_all", "log": "log", "exp": "exp", "sqrt": "sqrt",
    "power": "power", "clip": "clip", "concatenate": "concat", "reshape": "reshape", "flatten": "flatten",
    "slice": "slice", "pad": "pad", "convolve": "conv", "pool": "pool",
}  # fmt: skip
"""The published name of each of the 30 instructions, and the opcode that it is."""
