"""Kinds with weights that edits do not know yet: they compute in float, at the width they have.

conv_transpose  over two axes: kernel, stride, padding, extra (rows and columns more behind), dilation (pairs), groups,
                bias (0/1); its weight is (inputs, outputs of a group, kernel)
conv3d          as `conv`, over three axes: triples
max_pool3d, avg_pool3d
                as `max_pool` and `avg_pool`, over three axes: triples
embedding       words (int): rows of its weight, one of which stands for each whole number that it reads
"""

from __future__ import annotations

from math import prod

from chipfit.core.kinds.kind import Kind, Shape, Shapes, last, uses_of_weight, weight_and_bias
from chipfit.core.kinds.layers import conv_arrays
from chipfit.core.op import Op


def _transpose_arrays(o: Op, shapes: Shapes) -> dict[str, Shape]:
    weight = (shapes[0][0], o.shape[0] // o["groups"], *o["kernel"])
    return weight_and_bias(o, weight, o.shape[:1])


def _transpose_macs(o: Op, shapes: Shapes) -> int:
    """Each value that is read is multiplied by a kernel for every output channel of its group."""
    return prod(shapes[0]) * prod(_transpose_arrays(o, shapes)["weight"][1:])


def _embedding_arrays(o: Op, shapes: Shapes) -> dict[str, Shape]:
    return {"weight": (o["words"], o.shape[-1])}


_WINDOW = ("kernel", "stride", "padding")

CONVOLUTIONS = (
    Kind(
        "conv_transpose", "convolution", "produces", (*_WINDOW, "extra", "dilation", "groups", "bias"),
        arrays=_transpose_arrays, macs=_transpose_macs, rows=1, columns=0,
    ),
    Kind(
        "conv3d", "convolution", "produces", (*_WINDOW, "dilation", "groups", "bias"),
        arrays=conv_arrays, macs=uses_of_weight(conv_arrays),
    ),
)  # fmt: skip

POOLS_3D = (
    Kind("max_pool3d", "pool_3d", "passes", (*_WINDOW, "ceil")),
    Kind("avg_pool3d", "pool_3d", "passes", (*_WINDOW, "ceil", "count_include_pad")),
)

LOOKUPS = (
    Kind("embedding", "lookup", "produces", ("words",), axis=last, arrays=_embedding_arrays, rows=1, columns=0),
)  # fmt: skip
