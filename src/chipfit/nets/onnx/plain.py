"""The float network that a file stands for: without quantisation, in float32, without functions of its own.

A quantised file in QDQ form holds the float network and where it is rounded. Weights behind a DequantizeLinear are
folded later, like any constant; QuantizeLinear and DequantizeLinear on activations go. Quantisers leave a ReLU out
where the grid of what follows begins at zero (and a ReLU6 where it also ends at six), for rounding clamps there: so a
ReLU comes back where a layer's or sum's output has such a grid.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper
from onnx.inliner import inline_local_functions
from onnx.version_converter import convert_version

from chipfit.core.errors import BadInput
from chipfit.nets.onnx.call import Array
from chipfit.nets.onnx.constants import stored

OLDEST = 7
"""The first operator set with broadcasting as it is today."""

FLOATS = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE})

MOVES = frozenset({
    "QuantizeLinear", "DequantizeLinear", "MaxPool", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze",
    "Identity", "Slice", "Dropout",
})  # fmt: skip
"""Operators behind which a value is one that was there before."""

SUMS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "BatchNormalization", "Sub"})
"""Operators behind which quantisers leave a ReLU out."""

ZERO, SIX = "chipfit/zero", "chipfit/six"
"""Names of the constants that a ReLU6 reads."""

QUANTISED = frozenset({
    "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear",
})  # fmt: skip


def plain(file: str, model: ModelProto) -> tuple[ModelProto, str]:
    """The float32 network of a model, and in words what of it is another file's; the model itself where it is that.

    Raises:
        BadInput: quantised in a form that holds no float network.
    """
    if model.functions:
        model = inline_local_functions(model)
    model = _recent(file, model)
    kinds = {node.op_type for node in model.graph.node}
    if found := sorted(kinds & QUANTISED):
        raise BadInput(f"{file} is quantised with operator {found[0]!r}; give the float file, or one in QDQ form")
    told = []
    if "QuantizeLinear" in kinds:
        model, told = copied(model), ["the float network of an int8 file"]
        _without_rounding(model.graph)
    if _has_other_floats(model.graph):
        model, told = copied(model), [*told, "float32"]
        _in_float32(model.graph)
    return model, f"read as {', '.join(told)}" if told else ""


def _recent(file: str, model: ModelProto) -> ModelProto:
    """The model in the first operator set with today's broadcasting, or the later one that it has."""
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if opset >= OLDEST:
        return model
    try:
        return convert_version(model, OLDEST)
    except Exception as e:  # the converter's own: they share no class
        line = " ".join(str(e).split())[:160]
        raise BadInput(f"{file} is of operator set {opset}, which cannot be brought to {OLDEST}: {line}") from e


def copied(model: ModelProto) -> ModelProto:
    """A copy to change, without the types that the file says of values within."""
    made = ModelProto()
    made.CopyFrom(model)
    del made.graph.value_info[:]
    return made


def _without_rounding(graph: GraphProto) -> None:
    """Takes the quantisation of activations away."""
    constants = _constants(graph)
    makers = {name: node for node in graph.node for name in node.output}
    dependent = {i.name for i in graph.input if i.name not in constants}
    left = []
    for node in graph.node:
        if any(name in dependent for name in node.input):
            dependent.update(node.output)
            node = _unrounded(node, makers, constants)
        left.append(_kept(node))
    del graph.node[:]
    graph.node.extend(left)
    for name, value in ((ZERO, 0.0), (SIX, 6.0)):
        graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))


def _constants(graph: GraphProto) -> dict[str, Array]:
    """Every tensor that the file holds, by name."""
    found = {t.name: stored(t) for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            found[node.output[0]] = stored(node.attribute[0].t)
    return found


def _unrounded(node: NodeProto, makers: Mapping[str, NodeProto], constants: Mapping[str, Array]) -> NodeProto:
    """A node on activations without what it rounds."""
    if node.op_type == "QuantizeLinear":
        return _instead(node, makers, constants)
    return _one(node, "Identity") if node.op_type == "DequantizeLinear" else node


def _kept(node: NodeProto) -> NodeProto:
    made = NodeProto()
    made.CopyFrom(node)
    return made


def _one(node: NodeProto, kind: str) -> NodeProto:
    return NodeProto(op_type=kind, name=node.name, input=node.input[:1], output=node.output)


def _instead(node: NodeProto, makers: Mapping[str, NodeProto], constants: Mapping[str, Array]) -> NodeProto:
    """What a node that quantises an activation does beside rounding it: the clamp that was left out, or nothing."""
    grid = _grid(node, constants)
    if grid is None or grid[0] != 0 or not _is_sum(node.input[0], makers):
        return _one(node, "Identity")
    _, highest, step = grid
    clamp = _one(node, "Relu")
    if abs(highest - 6) < step:
        clamp.op_type = "Clip"
        clamp.input.extend([ZERO, SIX])
    return clamp


def _is_sum(name: str, makers: Mapping[str, NodeProto]) -> bool:
    """True for what a layer or a sum makes, also where it was only moved since."""
    maker = makers.get(name)
    while maker is not None and maker.op_type in MOVES:
        maker = makers.get(maker.input[0])
    return maker is not None and maker.op_type in SUMS


def _grid(node: NodeProto, constants: Mapping[str, Array]) -> tuple[float, float, float] | None:
    """The lowest and the highest value that an 8-bit grid holds, and its step; None where these are not known."""
    step = constants.get(node.input[1])
    zero: Array | None = np.zeros(1, np.uint8)
    if len(node.input) > 2 and node.input[2]:
        zero = constants.get(node.input[2])
    if step is None or zero is None or zero.dtype not in (np.uint8, np.int8):
        return None
    ends, width = np.iinfo(zero.dtype), float(step.max())
    below = float(zero.max()) - ends.min
    above = float(ends.max) - float(zero.min())
    return -below * width, above * width, width


def _has_other_floats(graph: GraphProto) -> bool:
    kinds = [v.type.tensor_type.elem_type for v in (*graph.input, *graph.output)]
    kinds += [tensor.data_type for tensor in graph.initializer]
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                kinds.append(attribute.t.data_type)
            elif node.op_type == "Cast" and attribute.name == "to":
                kinds.append(attribute.i)
    return not FLOATS.isdisjoint(kinds)


def _in_float32(graph: GraphProto) -> None:
    """Makes every tensor, constant, cast, input and output of floats one of float32."""
    for tensor in graph.initializer:
        _widen(tensor)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                _widen(attribute.t)
            elif attribute.type == AttributeProto.GRAPH:
                _in_float32(attribute.g)
            elif attribute.name in ("to", "dtype") and attribute.i in FLOATS:
                attribute.i = TensorProto.FLOAT
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type in FLOATS:
            value.type.tensor_type.elem_type = TensorProto.FLOAT


def _widen(tensor: TensorProto) -> None:
    if tensor.data_type in FLOATS:
        array = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
