"""Activations that exporters write as several nodes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from onnx import NodeProto

from chipfit.nets.onnx.view import Found, View, attribute, named, sides


def silu(node: NodeProto, view: View) -> Found | None:
    """Swish, as x · Sigmoid(x)."""
    if node.op_type != "Mul":
        return None
    for x, gate in sides(node):
        sigmoid = view.maker(gate, "Sigmoid")
        if sigmoid is not None and sigmoid.input[0] == x and view.within(sigmoid):
            return named(node, "Swish", [x]), [sigmoid, node]
    return None


def mish(node: NodeProto, view: View) -> Found | None:
    """Mish, as x · tanh(softplus(x))."""
    if node.op_type != "Mul":
        return None
    for x, gate in sides(node):
        tanh = view.maker(gate, "Tanh")
        softplus = view.maker(tanh.input[0], "Softplus") if tanh is not None else None
        if tanh is None or softplus is None or softplus.input[0] != x:
            continue
        if view.within(softplus, tanh):
            return named(node, "Mish", [x]), [softplus, tanh, node]
    return None


def _ends(node: NodeProto, view: View) -> tuple[float | None, float | None]:
    """The ends of a clip: inputs, or attributes of older operator sets."""
    if len(node.input) > 2:
        return view.number(node.input[1]), view.number(node.input[2])
    return attribute(node, "min", math.nan), attribute(node, "max", math.nan)


def _clipped(name: str, view: View) -> tuple[str, list[NodeProto]] | None:
    """The value and the nodes of clip(x + 3, 0, 6)."""
    clip = view.maker(name, "Clip")
    if clip is None or _ends(clip, view) != (0.0, 6.0):
        return None
    shift = view.makers.get(clip.input[0])
    x = view.with_number(shift, "Add", 3.0)
    if x is None or shift is None or not view.within(shift, clip):
        return None
    return x, [shift, clip]


def _sixth(node: NodeProto, view: View) -> str:
    """The value of which a node takes a sixth."""
    return view.with_number(node, "Div", 6.0) or view.with_number(node, "Mul", 1 / 6) or ""


def hard_sigmoid(node: NodeProto, view: View) -> Found | None:
    """Hard sigmoid, as clip(x + 3, 0, 6) / 6."""
    found = _clipped(_sixth(node, view), view)
    if found is None:
        return None
    x, nodes = found
    return named(node, "HardSigmoid", [x], alpha=1 / 6, beta=0.5), [*nodes, node]


def hard_swish(node: NodeProto, view: View) -> Found | None:
    """Hard swish, as x · HardSigmoid(x), or x · clip(x + 3, 0, 6) / 6."""
    return _gated(node, view) or _sixth_of_product(node, view)


def _gated(node: NodeProto, view: View) -> Found | None:
    if node.op_type != "Mul":
        return None
    for x, gate in sides(node):
        sigmoid = view.maker(gate, "HardSigmoid")
        if sigmoid is None or sigmoid.input[0] != x or not view.within(sigmoid):
            continue
        slope, middle = attribute(sigmoid, "alpha", 0.2), attribute(sigmoid, "beta", 0.5)
        if math.isclose(slope, 1 / 6, rel_tol=1e-5) and middle == 0.5:
            return named(node, "HardSwish", [x]), [sigmoid, node]
    return None


def _sixth_of_product(node: NodeProto, view: View) -> Found | None:
    product = view.maker(_sixth(node, view), "Mul")
    if product is None or not view.within(product):
        return None
    for x, gate in sides(product):
        found = _clipped(gate, view)
        if found is not None and found[0] == x:
            return named(node, "HardSwish", [x]), [*found[1], product, node]
    return None


def gelu(node: NodeProto, view: View) -> Found | None:
    """Half of x · (1 + erf(x / √2)), or of the form with tanh, in any order of its products."""
    if node.op_type != "Mul":
        return None
    return _half_of_a_side(node, view) or _half_of_all(node, view)


def _half_of_a_side(node: NodeProto, view: View) -> Found | None:
    """(x / 2) · gate, or x · (gate / 2)."""
    for halved, other in sides(node):
        half = view.makers.get(halved)
        inner = view.with_number(half, "Mul", 0.5)
        if half is None or inner is None or not view.within(half):
            continue
        for x, gate in ((inner, other), (other, inner)):
            found = _gate(gate, x, view)
            if found is not None:
                return _gelu_of(node, x, found), [*found, half, node]
    return None


def _half_of_all(node: NodeProto, view: View) -> Found | None:
    """(x · gate) / 2."""
    product = view.maker(view.with_number(node, "Mul", 0.5) or "", "Mul")
    if product is None or not view.within(product):
        return None
    for x, gate in sides(product):
        found = _gate(gate, x, view)
        if found is not None:
            return _gelu_of(node, x, found), [*found, product, node]
    return None


def _gelu_of(node: NodeProto, x: str, gate: Sequence[NodeProto]) -> NodeProto:
    """The one node, exact or by tanh as its gate is."""
    by_tanh = any(n.op_type == "Tanh" for n in gate)
    return named(node, "Gelu", [x], approximate="tanh" if by_tanh else "none")


def _gate(name: str, x: str, view: View) -> list[NodeProto] | None:
    """The nodes of 1 + erf(x / √2), or of 1 + tanh(√(2/π) (x + 0.044715 x³))."""
    total = view.makers.get(name)
    inner = view.with_number(total, "Add", 1.0)
    if total is None or inner is None:
        return None
    nodes = _erf(inner, x, view) or _tanh(inner, x, view)
    if not nodes or not view.within(*nodes, total):
        return None
    return [*nodes, total]


def _erf(name: str, x: str, view: View) -> list[NodeProto]:
    erf = view.maker(name, "Erf")
    scale = view.makers.get(erf.input[0]) if erf is not None else None
    root = math.sqrt(2)
    inner = view.with_number(scale, "Div", root) or view.with_number(scale, "Mul", 1 / root)
    if erf is None or scale is None or inner != x:
        return []
    return [scale, erf]


def _tanh(name: str, x: str, view: View) -> list[NodeProto]:
    tanh = view.maker(name, "Tanh")
    scale = view.makers.get(tanh.input[0]) if tanh is not None else None
    inner = view.maker(view.with_number(scale, "Mul", math.sqrt(2 / math.pi)) or "", "Add")
    if tanh is None or scale is None or inner is None:
        return []
    for same, part in sides(inner):
        number, factors, nodes = _factors(part, view)
        if same == x and factors == [x] * 3 and math.isclose(number, 0.044715, rel_tol=1e-4):
            return [*nodes, inner, scale, tanh]
    return []


def _factors(name: str, view: View) -> tuple[float, list[str], list[NodeProto]]:
    """What a product is of, in whatever order it is taken: a number, values, and its nodes."""
    node, number = view.makers.get(name), view.number(name)
    if number is not None:
        return number, [], []
    cubed = view.with_number(node, "Pow", 3.0)
    if node is not None and cubed is not None:
        return 1.0, [cubed] * 3, [node]
    if node is None or node.op_type != "Mul" or not view.alone(name):
        return 1.0, [name], []
    (a, left, before), (b, right, behind) = (_factors(part, view) for part in node.input)
    return a * b, left + right, [*before, *behind, node]
