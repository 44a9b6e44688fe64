"""What a file computes without its input: folded once, by ONNX's own reference in numpy, within limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, final

import ml_dtypes
import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto, numpy_helper
from onnx.helper import get_attribute_value
from onnx.reference import ReferenceEvaluator

from chipfit.nets.onnx.call import Array, Constant

MOST = 2**28
"""Values of the largest constant that may be made."""

LOOKS = frozenset({
    "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Cast", "DequantizeLinear", "Slice",
})  # fmt: skip
"""Operators that show weights in another form; what they make of a trained tensor is trained too."""

RANDOM = frozenset({"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial"})


def stored(tensor: TensorProto) -> Array:
    """The values of a tensor; floats of every width as float32, whole numbers as int64."""
    return plain(numpy_helper.to_array(tensor))


def plain(value: Any) -> Array:
    """Numbers in one of the types that networks compute in here: float32, int64, bool."""
    array = np.asarray(value)
    if array.dtype.kind == "f" or array.dtype in (ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2):
        return array.astype(np.float32)
    return array.astype(np.int64) if array.dtype.kind in "iu" and array.dtype.itemsize > 1 else array


def of_node(node: NodeProto) -> Constant:
    """What a `Constant` node holds.

    Raises:
        ValueError: texts, or sparse tensors.
    """
    (attribute,) = node.attribute
    value = get_attribute_value(attribute)
    match attribute.name:
        case "value":
            return Constant(stored(value))
        case "value_float" | "value_floats":
            return Constant(np.asarray(value, np.float32))
        case "value_int" | "value_ints":
            return Constant(np.asarray(value, np.int64))
    raise ValueError(f"holds {attribute.name}")


@final
class Alone:
    """A node that is run by ONNX's reference, on numbers that do not depend on the values of the input."""

    def __init__(self, node: NodeProto, opsets: Sequence[OperatorSetIdProto]) -> None:
        self.node = node
        graph = GraphProto(name="alone", node=[node])
        graph.input.extend(ValueInfoProto(name=name) for name in dict.fromkeys(node.input) if name)
        graph.output.extend(ValueInfoProto(name=name) for name in node.output if name)
        self._model = ModelProto(ir_version=8, graph=graph, opset_import=opsets)
        self._reference: ReferenceEvaluator | None = None

    def __deepcopy__(self, memo: Any) -> Alone:
        return self

    def run(self, inputs: Sequence[Array | None]) -> list[Array]:
        """Its outputs.

        Raises:
            ValueError: it draws random numbers, or makes too many of them.
        """
        if self.node.op_type in RANDOM:
            raise ValueError("draws random numbers")
        if (size := _size(self.node, inputs)) > MOST:
            raise ValueError(f"makes {size} numbers of constants, at most {MOST}")
        if self.node.op_type == "DequantizeLinear" and (found := _dequantised(self.node, inputs)) is not None:
            return [found]
        if self._reference is None:
            self._reference = ReferenceEvaluator(self._model)
        fed = {name: value for name, value in zip(self.node.input, inputs, strict=True) if name}
        return [plain(value) for value in self._reference.run(None, fed)]


def _dequantised(node: NodeProto, inputs: Sequence[Array | None]) -> Array | None:
    """(x - zero) · step; None for blocks of values, which ONNX's reference knows (it knows no old operator sets)."""
    attributes = {a.name: a.i for a in node.attribute}
    x, step, *more = inputs
    if x is None or step is None or step.ndim > 1 or attributes.get("block_size"):
        return None
    zero = more[0] if more and more[0] is not None else np.zeros_like(step)
    form = [1] * x.ndim
    if step.ndim == 1 and step.size > 1:
        form[attributes.get("axis", 1)] = -1
    elif x.ndim == 0:
        form = []
    apart = x.astype(np.float64) - zero.astype(np.float64).reshape(form)
    return (apart * step.astype(np.float64).reshape(form)).astype(np.float32)


def _size(node: NodeProto, inputs: Sequence[Array | None]) -> int:
    """Values that a node would make, of the operators that make many of few."""
    arrays = [np.asarray(x) for x in inputs if x is not None]
    match node.op_type:
        case "ConstantOfShape":
            return prod(int(n) for n in arrays[0].reshape(-1))
        case "Expand":
            return arrays[0].size * prod(int(n) for n in arrays[1].reshape(-1))
        case "Tile":
            return arrays[0].size * prod(int(n) for n in arrays[1].reshape(-1))
        case "Range":
            start, stop, step = (float(x.reshape(-1)[0]) for x in arrays)
            return int(abs(stop - start) / max(abs(step), 1e-30))
        case "Pad":
            pads = arrays[1].reshape(2, -1).sum(0)
            return prod(int(n) for n in np.asarray(arrays[0].shape) + pads) if len(pads) == arrays[0].ndim else 0
        case "OneHot":
            return arrays[0].size * int(arrays[1].reshape(-1)[0])
    return 0


def folded(node: NodeProto, known: Mapping[str, Constant], made: Sequence[Array]) -> list[Constant]:
    """What a node makes of constants, as constants; trained where it only looks at one that is."""
    first = known.get(node.input[0]) if node.input else None
    trained = first is not None and first.learnt and node.op_type in LOOKS
    source = f"{first.source} {node.output[0]}" if first is not None and trained else ""
    return [Constant(value, source, trained) for value in made]
