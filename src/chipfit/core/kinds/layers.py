"""Kinds that multiply by a matrix of weights.

conv    over two axes: kernel, stride, padding, dilation (pairs), groups (int), bias (0/1)
linear  on the last axis: bias (0/1)

Both may also say how their weights are stored, which changes nothing of what is computed (`STORED`):

taps        (int) places of each kernel that may be other than zero, the most of any of its patterns
patterns    one number a pattern: the sum of 2^p over its flat places p; each 2-D kernel is within one of them
integer_bits, fraction_bits
            fixed point, the sign among the integer bits; on its grid are the weights with what is folded into them
"""

from __future__ import annotations

from chipfit.core.kinds.kind import Kind, Shape, Shapes, last, uses_of_weight, weight_and_bias
from chipfit.core.op import Op

STORED = frozenset({"taps", "patterns", "integer_bits", "fraction_bits"})
"""Attributes about values of weights: accelerators are built for them, runtimes and modules know nothing of them."""


def conv_arrays(o: Op, shapes: Shapes) -> dict[str, Shape]:
    """A kernel for each output channel, over the input channels of its group."""
    outputs, inputs = o.shape[0], shapes[0][0] // o["groups"]
    return weight_and_bias(o, (outputs, inputs, *o["kernel"]), (outputs,))


def linear_arrays(o: Op, shapes: Shapes) -> dict[str, Shape]:
    """A row for each output."""
    outputs = o.shape[-1]
    return weight_and_bias(o, (outputs, *shapes[0][-1:]), (outputs,))


LAYERS = (
    Kind(
        "conv", "layer", "produces", ("kernel", "stride", "padding", "dilation", "groups", "bias"), tuple(STORED),
        arrays=conv_arrays, macs=uses_of_weight(conv_arrays), hosts=True, int8=True,
    ),
    Kind(
        "linear", "layer", "produces", ("bias",), ("integer_bits", "fraction_bits"),
        axis=last, arrays=linear_arrays, macs=uses_of_weight(linear_arrays), hosts=True, int8=True,
    ),
)  # fmt: skip
