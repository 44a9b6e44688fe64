"""The place of a program: the layer that it stands in for, with what is fixed by the network around it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from chipfit.core.graph import Graph
from chipfit.core.kinds import Shape

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Place:
    """A layer to be replaced.

    Attributes:
        name: of the operator; the last operator of a program takes it.
        kind: "conv" or "linear".
        reads: name of the operator that it reads.
        weights: prefix of its arrays.
        before, after: shapes that it reads and makes, without the batch axis.
        bias: whether it has one.
        bits: 8 where it computes in int8, else 32.
        kernel, stride, padding, dilation: of a convolution, (rows, columns); of a dense layer as of a 1x1 convolution.
        groups: of a convolution.
    """

    name: str
    kind: str
    reads: str
    weights: str
    before: Shape
    after: Shape
    bias: bool = False
    bits: int = 32
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    @property
    def axis(self) -> int:
        """The channel axis of what it reads and makes, the batch axis not counted."""
        return 0 if self.kind == "conv" else len(self.before) - 1

    @property
    def channels(self) -> Pair:
        """C and M: channels that it reads, and that it makes."""
        return self.before[self.axis], self.after[self.axis]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the layer for one input."""
        read = self.channels[0] // self.groups * self.kernel[0] * self.kernel[1]
        return math.prod(self.after) * read

    def moves(self, axis: int) -> bool:
        """True where the layer changes the size of a map along rows (0) or columns (1), or reads beyond its own."""
        reach = self.dilation[axis] * (self.kernel[axis] - 1)
        return self.stride[axis] > 1 or 2 * self.padding[axis] != reach


def place_of(graph: Graph, name: str) -> Place:
    """The place of a convolution or dense layer of a graph.

    Raises:
        KeyError: no such operator.
        ValueError: one of another kind, or padded differently before and behind.
    """
    o = graph[name]
    if o.kind not in ("conv", "linear"):
        raise ValueError(f"operator {name!r} is a {o.kind}; programs stand in for conv and linear")
    layer = Place(name, o.kind, o.inputs[0], o.weights, graph.in_shape(o), o.shape, bool(o["bias"]), o.bits)
    if o.kind == "linear":
        return layer
    if len(o["padding"]) > 2:
        raise ValueError(f"convolution {name!r} is padded differently before and behind; programs pad alike")
    return Place(
        layer.name, layer.kind, layer.reads, layer.weights, layer.before, layer.after, layer.bias, layer.bits,
        o["kernel"], o["stride"], o["padding"], o["dilation"], o["groups"],
    )  # fmt: skip
