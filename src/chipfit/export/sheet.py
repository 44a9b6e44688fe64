"""ONNX nodes and constants, written straight as protobuf messages.

`onnx.helper` checks and converts each value in Python, which costs more than all else here; constants are raw bytes
for the same reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, final

import numpy as np
from numpy.typing import NDArray
from onnx import AttributeProto, NodeProto, TensorProto

from chipfit.core.graph import Op
from chipfit.core.kinds import Shapes

Attribute = int | float | str | Sequence[int]

OPSET: Final = 18
GELU_OPSET: Final = 20
"""The first with Gelu."""

_TYPES: Final = {
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.int64): TensorProto.INT64,
    np.dtype(np.int32): TensorProto.INT32,
    np.dtype(np.int8): TensorProto.INT8,
    np.dtype(np.uint8): TensorProto.UINT8,
    np.dtype(np.bool_): TensorProto.BOOL,
    np.dtype(np.float64): TensorProto.DOUBLE,
}


@final
class Sheet:
    """The nodes and constants of one ONNX graph in the making."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}

    def node(self, kind: str, inputs: Sequence[str], output: str, name: str = "", **attributes: Attribute) -> str:
        """Adds a node of one output, named like it unless `name` is given, and returns the output's name."""
        made = [_attribute(key, value) for key, value in attributes.items()]
        self.nodes.append(NodeProto(op_type=kind, input=inputs, output=[output], name=name or output, attribute=made))
        return output

    def constant(self, name: str, array: NDArray[np.generic] | np.generic) -> str:
        """Adds an initialiser, once by name, and returns the name."""
        if name not in self.constants:
            self.constants[name] = TensorProto(
                name=name, data_type=_TYPES[array.dtype], dims=array.shape, raw_data=array.tobytes()
            )
        return name


def raise_opset(sheet: Sheet) -> None:
    """Makes of nodes of opset 18 such of opset 20: DFT has its axis as an input, modes of GridSample other names."""
    for node in sheet.nodes:
        given = {a.name: a for a in node.attribute}
        if node.op_type == "DFT":
            axis = 1
            if "axis" in given:
                axis = given["axis"].i
                node.attribute.remove(given["axis"])
            length = list(node.input[1:2]) or [""]
            node.input[:] = [node.input[0], *length, sheet.constant(f"axis/{axis}", np.int64(axis))]
        elif node.op_type == "GridSample" and "mode" in given:
            given["mode"].s = _MODES.get(given["mode"].s, given["mode"].s)


_MODES: Final = {b"bilinear": b"linear", b"bicubic": b"cubic"}


def _attribute(name: str, value: Attribute) -> AttributeProto:
    if isinstance(value, float):
        return AttributeProto(name=name, type=AttributeProto.FLOAT, f=value)
    if isinstance(value, int):
        return AttributeProto(name=name, type=AttributeProto.INT, i=value)
    if isinstance(value, str):
        return AttributeProto(name=name, type=AttributeProto.STRING, s=value.encode())
    return AttributeProto(name=name, type=AttributeProto.INTS, ints=value)


Emit = Callable[[Sheet, Op, Sequence[str], str, Shapes], object]
"""Adds an operator's nodes: sheet, operator, names of its inputs (and arrays), of its output, shapes of its inputs."""


def plain(kind: str, **attributes: Attribute) -> Emit:
    """The rule of an operator that is one node with these attributes."""
    return lambda sheet, o, ins, out, shapes: sheet.node(kind, ins, out, o.name, **attributes)
