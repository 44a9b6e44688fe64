"""Several nodes that are one operator become one node, as exporters of older operator sets write them apart.

    Transpose, Transpose                         one, or none                (TensorFlow)
    Transpose, ReduceMean of all places          ReduceMean of the map       (TensorFlow)
    MatMul, Add of a bias                        a dense layer with a bias   (Keras; PyTorch on three axes)
    Conv, Add of a number for each channel       a convolution with a bias   (TensorFlow)
    x · Sigmoid(x)                               Swish
    x · HardSigmoid(x), alpha 1/6                HardSwish
    x · clip(x + 3, 0, 6) / 6                    HardSwish                   (Keras)
    clip(x + 3, 0, 6) / 6                        HardSigmoid, alpha 1/6
    x · tanh(softplus(x))                        Mish
    x / 2 · (1 + erf(x / √2))                    Gelu
    x / 2 · (1 + tanh(√(2/π)(x + .044715x³)))    Gelu by tanh                (TensorFlow, JAX)
    (x - m) / √(mean((x - m)²) + ε) · g + b      LayerNormalization

Each pattern is exact up to rounding; what is within is read by nobody else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto
from onnx.helper import make_node

from chipfit.nets.onnx.call import Constant
from chipfit.nets.onnx.gates import gelu, hard_sigmoid, hard_swish, mish, silu
from chipfit.nets.onnx.view import Found, Known, View, applied, attribute, named


def fused(nodes: Sequence[NodeProto], known: Known, output: str) -> list[NodeProto]:
    """The nodes with what is one operator as one node; new constants are added to `known`."""
    left = list(nodes)
    for pattern in (
        _transposed,
        _pooled,
        silu,
        hard_sigmoid,
        hard_swish,
        mish,
        gelu,
        _layer_norm,
        _dense,
        _convolution,
    ):
        left = applied(pattern, left, known, output)
    return left


def _transposed(node: NodeProto, view: View) -> Found | None:
    before = view.maker(node.input[0], "Transpose") if node.op_type == "Transpose" else None
    if before is None:
        return None
    first, second = _order(before), _order(node)
    if not first or not second:
        return None
    order = [first[axis] for axis in second]
    gone = [before, node] if view.within(before) else [node]
    if order == sorted(order):
        return named(node, "Identity", before.input), gone
    return named(node, "Transpose", before.input, perm=order), gone


def _order(node: NodeProto) -> list[int]:
    return next((list(a.ints) for a in node.attribute if a.name == "perm"), [])


def _pooled(node: NodeProto, view: View) -> Found | None:
    """The mean or the maximum over height and width, which go, of a map (N, C, H, W) that was turned for it."""
    of_all = node.op_type in ("ReduceMean", "ReduceMax") and attribute(node, "keepdims", 1) == 0
    before = view.maker(node.input[0], "Transpose") if of_all else None
    order, axes = _order(before) if before is not None else [], _axes(node, view)
    if before is None or len(order) != 4 or {order[axis % 4] for axis in axes} != {2, 3}:
        return None
    if [axis for axis in order if axis < 2] != [0, 1]:
        return None
    made = named(node, node.op_type, before.input, axes=[2, 3], keepdims=0)
    return made, [before, node] if view.within(before) else [node]


def _axes(node: NodeProto, view: View) -> list[int]:
    """The axes that a reduction names: an attribute, or a constant input of later operator sets; else none."""
    given = next((list(a.ints) for a in node.attribute if a.name == "axes"), [])
    constant = view.known.get(node.input[1]) if len(node.input) > 1 else None
    return given if constant is None else [int(axis) for axis in constant.value.reshape(-1)]


def _layer_norm(node: NodeProto, view: View) -> Found | None:
    """Shift of a scale of (x - mean) / √(variance + ε) along the last axis."""
    shifted = view.split(node) if node.op_type == "Add" else None
    scaling = view.maker(shifted[0], "Mul") if shifted is not None else None
    scaled = view.split(scaling)
    if shifted is None or scaling is None or scaled is None:
        return None
    shift, scale = view.known[shifted[1]].value, view.known[scaled[1]].value
    found = _normalised(scaled[0], view)
    if found is None or not view.within(scaling) or scale.ndim != 1 or shift.shape != scale.shape:
        return None
    made = named(node, "LayerNormalization", [found.x, scaled[1], shifted[1]], axis=-1, epsilon=found.eps)
    return made, [*found.nodes, scaling, node]


@dataclass(frozen=True, slots=True)
class _Normalised:
    """What is normalised, the number below its root, and the nodes that go."""

    x: str
    eps: float
    nodes: list[NodeProto]


def _normalised(name: str, view: View) -> _Normalised | None:
    """A value (x - mean(x)) / √(mean((x - mean(x))²) + ε) along the last axis."""
    division = view.maker(name, "Div")
    apart = view.maker(division.input[0], "Sub") if division is not None else None
    mean = view.maker(apart.input[1], "ReduceMean") if apart is not None else None
    if division is None or apart is None or mean is None or mean.input[0] != apart.input[0]:
        return None
    spread = _spread(division.input[1], apart, view)
    if spread is None or not _of_last(mean, view):
        return None
    eps, nodes = spread
    return _Normalised(apart.input[0], eps, [*nodes, division])


def _spread(name: str, apart: NodeProto, view: View) -> tuple[float, list[NodeProto]] | None:
    """The number ε and the nodes of √(mean(d²) + ε) of a difference d."""
    root = view.maker(name, "Sqrt")
    total = view.maker(root.input[0], "Add") if root is not None else None
    parts = view.split(total)
    variance = view.maker(parts[0], "ReduceMean") if parts is not None else None
    square = view.makers.get(variance.input[0]) if variance is not None else None
    if root is None or total is None or parts is None or variance is None or square is None:
        return None
    nodes, eps = [square, variance, total, root], view.number(parts[1])
    if eps is None or not view.within(*nodes) or not _of_last(variance, view):
        return None
    return (eps, nodes) if _is_square_of(square, apart, view) else None


def _is_square_of(square: NodeProto, apart: NodeProto, view: View) -> bool:
    """True for the square of a difference, or of one like it that is made a second time."""
    squared = view.with_number(square, "Pow", 2.0)
    if square.op_type == "Mul" and square.input[0] == square.input[1]:
        squared = square.input[0]
    twin = view.maker(squared or "", "Sub")
    return twin is not None and list(twin.input) == list(apart.input)


def _of_last(node: NodeProto, view: View) -> bool:
    """True for a mean along the last axis that stays."""
    if attribute(node, "keepdims", 1) != 1:
        return False
    for a in node.attribute:
        if a.name == "axes":
            return list(a.ints) == [-1]
    return len(node.input) > 1 and view.number(node.input[1]) == -1


def _dense(node: NodeProto, view: View) -> Found | None:
    """A product with a matrix, and the sum with a row behind it."""
    layer, parts = _layer_and_sum(node, "MatMul", view)
    if layer is None or parts is None:
        return None
    weight, bias = view.known[layer.input[1]].value, view.known[parts[1]].value
    if weight.ndim != 2 or bias.shape[-1:] != weight.shape[-1:] or bias.size != weight.shape[-1]:
        return None
    return _with_bias(node, layer, parts[1], view)


def _convolution(node: NodeProto, view: View) -> Found | None:
    """A convolution, and the sum with a number for each channel behind it."""
    layer, parts = _layer_and_sum(node, "Conv", view)
    if layer is None or parts is None:
        return None
    weight, bias = view.known[layer.input[1]].value, view.known[parts[1]].value
    by_channel = (len(weight), *(1,) * (weight.ndim - 2))
    if bias.shape[-len(by_channel) :] != by_channel or bias.size != len(weight):
        return None
    return _with_bias(node, layer, parts[1], view)


def _layer_and_sum(node: NodeProto, kind: str, view: View) -> tuple[NodeProto | None, tuple[str, str] | None]:
    """A layer without bias whose output nobody reads but a sum with a constant, and what that joins."""
    parts = view.split(node) if node.op_type == "Add" else None
    layer = view.maker(parts[0], kind) if parts is not None else None
    if layer is None or len(layer.input) != 2 or layer.input[1] not in view.known or not view.within(layer):
        return None, None
    return layer, parts


def _with_bias(node: NodeProto, layer: NodeProto, bias: str, view: View) -> Found:
    constant, flat = view.known[bias], f"{bias} flat"
    view.known[flat] = Constant(np.ravel(constant.value), constant.source, constant.learnt)
    made = make_node(layer.op_type, [*layer.input, flat], node.output[:1], name=layer.name or node.name)
    made.attribute.extend(layer.attribute)
    return made, [layer, node]
