"""Several nodes that are one operator become one node, as exporters of older operator sets write them apart.

    Transpose, Transpose                     one, or none                      (TensorFlow)
    MatMul, Add of a bias                    a dense layer with a bias         (Keras, PyTorch on three axes)
    Conv, Add of a number for each channel   a convolution with a bias         (TensorFlow)
    x · Sigmoid(x)                           Swish
    x · HardSigmoid(x), alpha 1/6            HardSwish
    x · clip(x + 3, 0, 6) / 6                HardSwish                         (Keras)
    clip(x + 3, 0, 6) / 6                    HardSigmoid, alpha 1/6
    x · tanh(softplus(x))                    Mish
    x / 2 · (1 + erf(x / √2))                Gelu
    x / 2 · (1 + tanh(√(2/π)(x + .044715x³))) Gelu by tanh                     (TensorFlow, JAX)
    (x - m) / √(mean((x - m)²) + ε) · g + b  LayerNormalization

Each pattern is exact up to rounding; what is within is read by nobody else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto
from onnx.helper import get_attribute_value, make_attribute, make_node

from chipfit.nets.onnx.call import Constant

Known = dict[str, Constant]


def fused(nodes: Sequence[NodeProto], known: Known, output: str) -> list[NodeProto]:
    """The nodes with what is one operator as one node; new constants are added to `known`."""
    left = list(nodes)
    for pattern in (_transposed, _silu, _hard_sigmoid, _hard_swish, _mish, _gelu, _layer_norm, _biased):
        left = _applied(pattern, left, known, output)
    return left


@dataclass(frozen=True, slots=True)
class View:
    """The nodes as a graph: who makes a value, who reads it, what is constant, and what the file answers."""

    makers: dict[str, NodeProto]
    readers: dict[str, list[NodeProto]]
    known: Known
    output: str

    def maker(self, name: str, kind: str) -> NodeProto | None:
        """The node of a kind that makes a value."""
        node = self.makers.get(name)
        return node if node is not None and node.op_type == kind else None

    def within(self, *nodes: NodeProto) -> bool:
        """True where nobody reads what these nodes make but the next one, or the one behind the last."""
        return all(len(self.readers.get(n.output[0], ())) == 1 and n.output[0] != self.output for n in nodes)

    def number(self, name: str) -> float | None:
        """The value of a constant that is one number."""
        constant = self.known.get(name)
        return float(constant.value.reshape(-1)[0]) if constant is not None and constant.value.size == 1 else None

    def split(self, node: NodeProto) -> tuple[str, str] | None:
        """The value and the constant that a node joins; None where it joins others."""
        if len(node.input) != 2:
            return None
        a, b = node.input
        if (a in self.known) == (b in self.known):
            return None
        return (b, a) if a in self.known else (a, b)

    def with_number(self, node: NodeProto | None, kind: str, number: float) -> str | None:
        """The value that a node of a kind joins with this number."""
        if node is None or node.op_type != kind or (parts := self.split(node)) is None:
            return None
        if kind in ("Div", "Sub", "Pow") and parts[1] != node.input[1]:
            return None
        found = self.number(parts[1])
        return parts[0] if found is not None and math.isclose(found, number, rel_tol=1e-4) else None


Found = tuple[NodeProto, list[NodeProto]]
"""The one node, and those that it stands for, the last of which it replaces."""

Pattern = Callable[[NodeProto, View], Found | None]


def _applied(pattern: Pattern, nodes: list[NodeProto], known: Known, output: str) -> list[NodeProto]:
    view = View({o: n for n in nodes for o in n.output}, {}, known, output)
    for node in nodes:
        for name in dict.fromkeys(node.input):
            view.readers.setdefault(name, []).append(node)
    gone: set[int] = set()
    instead: dict[int, NodeProto] = {}
    for node in nodes:
        found = pattern(node, view)
        if found is not None and not any(id(n) in gone or id(n) in instead for n in found[1]):
            instead[id(node)] = found[0]
            gone |= {id(n) for n in found[1] if n is not node}
    return [instead.get(id(n), n) for n in nodes if id(n) not in gone]


def _named(node: NodeProto, kind: str, inputs: Sequence[str], **attributes: float | int | str | list[int]) -> NodeProto:
    made = make_node(kind, inputs, node.output[:1], name=node.name)
    made.attribute.extend(make_attribute(name, value) for name, value in attributes.items())
    return made


def _sides(node: NodeProto) -> Iterator[tuple[str, str]]:
    """Both orders of what a product joins."""
    if len(node.input) == 2:
        yield node.input[0], node.input[1]
        yield node.input[1], node.input[0]


def _attribute(node: NodeProto, name: str, default: float) -> float:
    return next((float(get_attribute_value(a)) for a in node.attribute if a.name == name), default)


def _transposed(node: NodeProto, view: View) -> Found | None:
    before = view.maker(node.input[0], "Transpose") if node.op_type == "Transpose" else None
    orders = [list(a.ints) for n in (before, node) if n is not None for a in n.attribute if a.name == "perm"]
    if before is None or len(orders) != 2:
        return None
    order = [orders[0][axis] for axis in orders[1]]
    gone = [before, node] if view.within(before) else [node]
    if order == sorted(order):
        return _named(node, "Identity", before.input), gone
    return _named(node, "Transpose", before.input, perm=order), gone


def _silu(node: NodeProto, view: View) -> Found | None:
    if node.op_type != "Mul":
        return None
    for x, gate in _sides(node):
        sigmoid = view.maker(gate, "Sigmoid")
        if sigmoid is not None and sigmoid.input[0] == x and view.within(sigmoid):
            return _named(node, "Swish", [x]), [sigmoid, node]
    return None


def _ends(node: NodeProto, view: View) -> tuple[float | None, float | None]:
    """The ends of a clip: inputs, or attributes of older operator sets."""
    if node.op_type != "Clip":
        return None, None
    if len(node.input) > 2:
        return view.number(node.input[1]), view.number(node.input[2])
    return _attribute(node, "min", math.nan), _attribute(node, "max", math.nan)


def _clipped(name: str, view: View) -> tuple[str, list[NodeProto]] | None:
    """X where a value is clip(x + 3, 0, 6)."""
    clip = view.maker(name, "Clip")
    if clip is None or _ends(clip, view) != (0.0, 6.0):
        return None
    shift = view.makers.get(clip.input[0])
    x = view.with_number(shift, "Add", 3.0)
    if x is None or shift is None or not view.within(shift):
        return None
    return x, [shift, clip]


def _sixth(node: NodeProto, view: View) -> str | None:
    """The value of which a node takes a sixth."""
    return view.with_number(node, "Div", 6.0) or view.with_number(node, "Mul", 1 / 6)


def _hard_sigmoid(node: NodeProto, view: View) -> Found | None:
    found = _clipped(_sixth(node, view) or "", view)
    if found is None or not view.within(*found[1]):
        return None
    return _named(node, "HardSigmoid", [found[0]], alpha=1 / 6, beta=0.5), [*found[1], node]


def _hard_swish(node: NodeProto, view: View) -> Found | None:
    if node.op_type == "Mul":
        for x, gate in _sides(node):
            sigmoid = view.maker(gate, "HardSigmoid")
            if sigmoid is None or sigmoid.input[0] != x or not view.within(sigmoid):
                continue
            usual = math.isclose(_attribute(sigmoid, "alpha", 0.2), 1 / 6, rel_tol=1e-5)
            if usual and _attribute(sigmoid, "beta", 0.5) == 0.5:
                return _named(node, "HardSwish", [x]), [sigmoid, node]
    product = view.maker(_sixth(node, view) or "", "Mul")
    if product is None or not view.within(product):
        return None
    for x, gate in _sides(product):
        found = _clipped(gate, view)
        if found is not None and found[0] == x and view.within(*found[1]):
            return _named(node, "HardSwish", [x]), [*found[1], product, node]
    return None


def _mish(node: NodeProto, view: View) -> Found | None:
    if node.op_type != "Mul":
        return None
    for x, gate in _sides(node):
        tanh = view.maker(gate, "Tanh")
        softplus = view.maker(tanh.input[0], "Softplus") if tanh is not None else None
        if tanh is not None and softplus is not None and softplus.input[0] == x and view.within(softplus, tanh):
            return _named(node, "Mish", [x]), [softplus, tanh, node]
    return None


def _gelu(node: NodeProto, view: View) -> Found | None:
    """Half of x · (1 + erf(x / √2)), or of the form with tanh, in any order of its products."""
    if node.op_type != "Mul":
        return None
    for half, gate in _sides(node):  # (x / 2) · gate, or (x · gate) / 2
        maker = view.makers.get(half)
        x = view.with_number(maker, "Mul", 0.5)
        if x is not None and maker is not None and view.within(maker):
            found = _one_and_erf(gate, x, view)
            if found is not None:
                return _gelu_of(node, x, found), [maker, *found, node]
        # x · (gate / 2)
        found = _one_and_erf(view.with_number(maker, "Mul", 0.5) or "", gate, view)
        if maker is not None and found is not None and view.within(maker):
            return _gelu_of(node, gate, found), [*found, maker, node]
    product = view.maker(view.with_number(node, "Mul", 0.5) or "", "Mul")
    if product is None or not view.within(product):
        return None
    for x, gate in _sides(product):
        found = _one_and_erf(gate, x, view)
        if found is not None:
            return _gelu_of(node, x, found), [*found, product, node]
    return None


def _gelu_of(node: NodeProto, x: str, found: Sequence[NodeProto]) -> NodeProto:
    """The one node, exact or by tanh as what was found is."""
    by_tanh = any(n.op_type == "Tanh" for n in found)
    return _named(node, "Gelu", [x], approximate="tanh" if by_tanh else "none")


def _one_and_erf(name: str, x: str, view: View) -> list[NodeProto] | None:
    """The nodes of 1 + erf(x / √2)."""
    total = view.makers.get(name)
    erf = view.maker(view.with_number(total, "Add", 1.0) or "", "Erf")
    if total is None or erf is None:
        return _one_and_tanh(total, x, view)
    scale = view.makers.get(erf.input[0])
    root = math.sqrt(2)
    inner = view.with_number(scale, "Div", root) or view.with_number(scale, "Mul", 1 / root)
    if scale is None or inner != x or not view.within(scale, erf, total):
        return None
    return [scale, erf, total]


def _one_and_tanh(total: NodeProto | None, x: str, view: View) -> list[NodeProto] | None:
    """The nodes of 1 + tanh(√(2/π) (x + 0.044715 x³)), the last of them the one with the tanh."""
    tanh = view.maker(view.with_number(total, "Add", 1.0) or "", "Tanh")
    scale = view.makers.get(tanh.input[0]) if tanh is not None else None
    inner = view.maker(view.with_number(scale, "Mul", math.sqrt(2 / math.pi)) or "", "Add")
    if total is None or tanh is None or scale is None or inner is None:
        return None
    for same, part in _sides(inner):
        number, factors, nodes = _factors(part, view)
        if same == x and factors == [x] * 3 and math.isclose(number, 0.044715, rel_tol=1e-4):
            nodes = [*nodes, inner, scale, tanh, total]
            return nodes if view.within(*nodes) else None
    return None


def _factors(name: str, view: View) -> tuple[float, list[str], list[NodeProto]]:
    """What a product is of, in whatever order it is taken: a number, values, and its nodes."""
    node = view.makers.get(name)
    if (number := view.number(name)) is not None:
        return number, [], []
    if node is not None and (x := view.with_number(node, "Pow", 3.0)) is not None:
        return 1.0, [x] * 3, [node]
    if node is None or node.op_type != "Mul" or len(view.readers.get(name, ())) != 1:
        return 1.0, [name], []
    left, right = (_factors(part, view) for part in node.input)
    return left[0] * right[0], left[1] + right[1], [*left[2], *right[2], node]


def _layer_norm(node: NodeProto, view: View) -> Found | None:
    """Shift of a scale of (x - mean) / √(variance + ε) along the last axis."""
    parts = view.split(node) if node.op_type == "Add" else None
    scaled = view.maker(parts[0], "Mul") if parts is not None else None
    inner = view.split(scaled) if scaled is not None else None
    if parts is None or scaled is None or inner is None:
        return None
    found = _normalised(view.maker(inner[0], "Div"), view)
    shift, scale = view.known[parts[1]].value, view.known[inner[1]].value
    if found is None or not view.within(scaled) or scale.ndim != 1 or shift.shape != scale.shape:
        return None
    x, eps, within = found
    made = _named(node, "LayerNormalization", [x, inner[1], parts[1]], axis=-1, epsilon=eps)
    return made, [*within, scaled, node]


def _normalised(div: NodeProto | None, view: View) -> tuple[str, float, list[NodeProto]] | None:
    """x, ε and the nodes of (x - mean(x)) / √(mean((x - mean(x))²) + ε) along the last axis."""
    if div is None:
        return None
    root = view.maker(div.input[1], "Sqrt")
    total = view.maker(root.input[0], "Add") if root is not None else None
    parts = view.split(total) if total is not None else None
    variance = view.maker(parts[0], "ReduceMean") if parts is not None else None
    square = view.makers.get(variance.input[0]) if variance is not None else None
    apart = view.maker(div.input[0], "Sub")
    if root is None or total is None or parts is None or variance is None or square is None or apart is None:
        return None
    eps = view.number(parts[1])
    squared = square.input[0] if list(square.input) == [square.input[0]] * 2 and square.op_type == "Mul" else None
    squared = squared or view.with_number(square, "Pow", 2.0)
    mean = view.maker(apart.input[1], "ReduceMean")
    if eps is None or mean is None or mean.input[0] != apart.input[0] or not view.within(root, total, variance, square):
        return None
    same = squared == apart.output[0] or _twin(view, squared, apart)
    if not same or not _of_last(mean, view) or not _of_last(variance, view):
        return None
    return apart.input[0], eps, [square, variance, total, root, div]


def _twin(view: View, name: str | None, apart: NodeProto) -> bool:
    """True where a value is the same difference, made a second time."""
    other = view.maker(name or "", "Sub")
    return other is not None and list(other.input) == list(apart.input)


def _of_last(node: NodeProto, view: View) -> bool:
    """True for a mean along the last axis that stays."""
    if _attribute(node, "keepdims", 1) != 1:
        return False
    for a in node.attribute:
        if a.name == "axes":
            return list(a.ints) == [-1]
    return len(node.input) > 1 and view.number(node.input[1]) == -1


def _biased(node: NodeProto, view: View) -> Found | None:
    """A layer without bias and the sum behind it."""
    parts = view.split(node) if node.op_type == "Add" else None
    layer = view.makers.get(parts[0]) if parts is not None else None
    if parts is None or layer is None or layer.op_type not in ("MatMul", "Conv") or len(layer.input) != 2:
        return None
    weight, bias = view.known.get(layer.input[1]), view.known[parts[1]]
    if weight is None or not view.within(layer):
        return None
    rank, outputs = weight.value.ndim, weight.value.shape[-1 if layer.op_type == "MatMul" else 0]
    wanted = (outputs,) if layer.op_type == "MatMul" else (outputs, *(1,) * (rank - 2))
    shape = bias.value.shape
    if (layer.op_type == "MatMul" and rank != 2) or shape[-len(wanted) :] != wanted or set(shape[: -len(wanted)]) - {1}:
        return None
    if layer.op_type == "MatMul" and len(shape) > 1 and not set(shape[:-1]) <= {1}:
        return None
    flat = f"{parts[1]} flat"
    view.known[flat] = Constant(np.ravel(bias.value), bias.source, bias.learnt)
    made = make_node(layer.op_type, [*layer.input, flat], node.output[:1], name=layer.name or node.name)
    made.attribute.extend(layer.attribute)
    return made, [layer, node]
