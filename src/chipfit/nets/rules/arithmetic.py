"""Rules of arithmetic between values, and with constants: numbers, buffers, parameters.

A constant that is one number, or one for each place of an axis, is a scale or a shift (`affine`); one of any other
shape is a value of its own (`constant`).
Two values of different shape broadcast as torch does; one that was expanded before is left to its reader to broadcast.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, fx

from chipfit.core.graph import Attr
from chipfit.nets.masks import BLOCKED
from chipfit.nets.program import BATCH
from chipfit.nets.rules.call import Call, part_name
from chipfit.nets.rules.constants import Constant, digest, once
from chipfit.nets.rules.layout import FIRST
from chipfit.nets.rules.sources import source
from chipfit.nets.rules.tracer import Known, Pending, Rule, Tracer


class Operands(NamedTuple):
    """The two sides of an operator: operators that hold a value, or constants."""

    left: str | Constant
    right: str | Constant


def add(t: Tracer, call: Call) -> None:
    """The sum x + alpha·y."""
    alpha, (x, y) = float(call.take("alpha", 1)), _operands(t, call)
    if isinstance(y, Constant):
        _shift(t, call, _value(x), y if alpha == 1 else _changed(y, y.value * alpha))
    elif isinstance(x, Constant):
        _shift(t, call, _scaled_by(t, call, y, alpha), x)
    else:
        _binary(t, call, "add", x, _scaled_by(t, call, y, alpha))


def sub(t: Tracer, call: Call) -> None:
    """The difference x - alpha·y; `rsub` is y - alpha·x."""
    alpha, (x, y) = float(call.take("alpha", 1)), _operands(t, call)
    if call.name == "rsub":
        x, y = y, x
    if isinstance(y, Constant):
        _shift(t, call, _value(x), _changed(y, y.value * -alpha))
    elif isinstance(x, Constant):
        _shift(t, call, _scaled_by(t, call, y, -alpha), x)
    else:
        _binary(t, call, "sub", x, _scaled_by(t, call, y, alpha))


def mul(t: Tracer, call: Call) -> None:
    """The product x · y."""
    x, y = _operands(t, call)
    if isinstance(y, Constant):
        _scale(t, call, _value(x), y)
    elif isinstance(x, Constant):
        _scale(t, call, y, x)
    else:
        _binary(t, call, "mul", x, y)


def div(t: Tracer, call: Call) -> None:
    """The quotient x / y: by a constant as a product with 1 / c, of a constant as one with 1 / y."""
    if call.take("rounding_mode") is not None:
        call.refuse("with rounding")
    x, y = _operands(t, call)
    if isinstance(x, Constant):
        inverse = t.add(part_name(call, "reciprocal"), "reciprocal", (_value(y),), t.shapes[_value(y)])
        _scale(t, call, inverse, x)
    elif isinstance(y, Constant):
        if not bool((y.value != 0).all()):
            call.refuse("by zero")
        _scale(t, call, x, _changed(y, 1 / y.value.double()))
    else:
        _binary(t, call, "div", x, y)


def addcmul(t: Tracer, call: Call) -> None:
    """The sum x + value · y · z."""
    x, y, z = (_operand(t, call, name) for name in ("self", "tensor1", "tensor2"))
    product = _times(t, call, _times(t, call, y, z), Constant(torch.tensor(float(call.take("value", 1))), "value"))
    if isinstance(product, Constant):
        _shift(t, call, _value(x), product)
    elif isinstance(x, Constant):
        _shift(t, call, product, x)
    else:
        _binary(t, call, "add", x, product)


def _times(t: Tracer, call: Call, x: str | Constant, y: str | Constant) -> str | Constant:
    """A product that is part of an operator."""
    if isinstance(x, Constant) and isinstance(y, Constant):
        return x if bool((y.value == 1).all()) and y.value.numel() == 1 else _changed(x, x.value * y.value)
    if isinstance(x, Constant) or isinstance(y, Constant):
        value, constant = (y, x) if isinstance(x, Constant) else (x, y)
        assert isinstance(constant, Constant)
        _scale(t, call, _value(value), constant)
    else:
        _binary(t, call, "mul", x, y)
    return str(t.known[call.node.name])


def masked_fill(t: Tracer, call: Call) -> None:
    """A value with a number in the places that a constant mask names."""
    mask, number = t.constant(call, "mask"), call.take("value")
    assert mask is not None
    if isinstance(number, fx.Node):
        found = t.known[number.name]
        number = float(found.value) if isinstance(found, Constant) and found.value.numel() == 1 else None
    if number is None:
        call.refuse("with a value that the input sets")
    _chosen(t, call, t.value(call), _narrow(call, mask), float(number))


def where(t: Tracer, call: Call) -> None:
    """A value where a constant mask is true, and one number elsewhere; or the other way round."""
    mask = t.constant(call, "condition")
    assert mask is not None
    x, y = _operand(t, call, "self"), _operand(t, call, "other")
    if isinstance(x, Constant) == isinstance(y, Constant):
        call.refuse("between two values")
    number, value = (x, y) if isinstance(x, Constant) else (y, x)
    assert isinstance(number, Constant)
    first = number.value.reshape(-1)[0]
    if bool((number.value != first).any()):
        call.refuse("between a value and a constant that is more than a number")
    narrow = _narrow(call, mask)
    replaced = narrow if number is x else replace(narrow, value=~narrow.value)
    _chosen(t, call, _value(value), replaced, float(first))


def _chosen(t: Tracer, call: Call, x: str, mask: Constant, number: float) -> None:
    """A value, with a number where the mask is true: x · keep + number · mask.

    A number that softmax makes nothing of is added alone: what is left of x beside it does not show.
    """
    inside = mask.value.float()
    if number <= NOTHING:
        _shift(t, call, x, _changed(mask, inside * BLOCKED))
        return
    _scale(t, call, x, _changed(mask, 1 - inside))
    if number:
        _shift(t, call, str(t.known[call.node.name]), _changed(mask, inside * number))


NOTHING = -1e8
"""The largest number that stands for minus infinity: before a softmax it is as good as that."""


def neg(t: Tracer, call: Call) -> None:
    """-x."""
    t.known[call.node.name] = _scaled_by(t, call, t.value(call), -1.0)


def expand(t: Tracer, call: Call) -> None:
    """A map that its reader broadcasts; nothing where the size is there."""
    call.ignore("size", "implicit", "other")
    x, shape = t.value(call), t.sample_shape(call.node)
    if len(shape) != len(t.shapes[x]):
        call.refuse(f"from {t.shapes[x]} to {shape}")
    t.known[call.node.name] = x if shape == t.shapes[x] else Pending(x, "expand")


def _operands(t: Tracer, call: Call) -> Operands:
    return Operands(_operand(t, call, "self"), _operand(t, call, "other"))


def _operand(t: Tracer, call: Call, name: str) -> str | Constant:
    value = call.take(name)
    if isinstance(value, fx.Node):
        found: Known = t.known[value.name]
        if isinstance(found, Pending) and found.kind == "expand":
            return found.op
        return _narrow(call, found) if isinstance(found, Constant) else t.made(call, found)
    if not isinstance(value, int | float):
        call.refuse(f"with {name}={value!r}")
    return Constant(torch.tensor(float(value)), str(value))


def _narrow(call: Call, constant: Constant) -> Constant:
    """A constant as it meets (1, *shape) of a value in the graph, without copies for each input of a batch."""
    kept, _ = once(constant, BATCH)
    rank = max(len(call.shape), constant.value.dim())
    if kept is None:
        call.refuse(f"with '{constant.name}', which differs from input to input by its place in the batch,")
    if kept.value.numel() == 1 or call.layout == FIRST:
        return kept
    value = call.layout.constant(kept.value, rank)
    if value is None:
        call.refuse(f"with constant '{constant.name}' along the axis of the batch")
    return replace(kept, value=value)


def _value(x: str | Constant) -> str:
    assert isinstance(x, str)  # constants alone are computed when they are met
    return x


def _binary(t: Tracer, call: Call, kind: str, x: str, y: str) -> None:
    a, b = t.shapes[x], t.shapes[y]
    if len(a) != len(b):  # aligned from the right, one's batch axis would meet another's channels
        call.refuse(f"between shapes {a} and {b}, which mix the batch axis with others,")
    if tuple(max(m, n) for m, n in zip(a, b, strict=True)) != t.sample_shape(call.node):
        call.refuse(f"between shapes {a} and {b}")
    t.put(call, kind, (x, y))


def _changed(constant: Constant, value: Tensor) -> Constant:
    """The constant with another value, which is no longer the parameter's own."""
    return replace(constant, value=value.float(), source=f"changed {constant.source} {digest(value)}")


def _scaled_by(t: Tracer, call: Call, x: str, factor: float) -> str:
    if factor == 1:
        return x
    _affine(t, call, x, "scale", Constant(torch.tensor(factor), str(factor)))
    return str(t.known[call.node.name])


def _scale(t: Tracer, call: Call, x: str, c: Constant) -> None:
    _affine(t, call, x, "scale", c)


def _shift(t: Tracer, call: Call, x: str, c: Constant) -> None:
    _affine(t, call, x, "shift", c)


def _affine(t: Tracer, call: Call, x: str, role: str, constant: Constant) -> None:
    """Adds x · c or x + c; nothing where c does nothing and is nobody's parameter."""
    shape, value, made = t.shapes[x], constant.value, t.sample_shape(call.node)
    if value.is_complex() or not bool(value.isfinite().all()):
        call.refuse(f"with constant '{constant.name}' that is not finite")
    neutral = 1.0 if role == "scale" else 0.0
    if made == shape and not constant.learnt and bool((value == neutral).all()):
        t.known[call.node.name] = x
        return
    axis = _own_axis(value, shape)
    if made == shape and axis is not None:
        _along(t, call, x, role, constant, axis)
    else:
        _joined(t, call, x, role, constant)


def _along(t: Tracer, call: Call, x: str, role: str, constant: Constant, axis: int) -> None:
    """A scale or shift by one number, or by one for each place of an axis."""
    single = constant.value.numel() == 1
    # what is nobody's parameter is not shared: each place may be merged with its neighbours
    shared = constant.source if constant.learnt else ""
    arrays = {role: replace(constant, value=constant.value.reshape(-1), source=shared)}
    attrs: dict[str, Attr] = {"scale": int(role == "scale"), "shift": int(role == "shift")}
    if axis:
        attrs["axis"] = axis
    prefix = t.wish(call, "affine")
    t.layer(call, "affine", (x,), arrays, prefix, **attrs, single=int(single), learnt=int(constant.learnt))


def _joined(t: Tracer, call: Call, x: str, role: str, constant: Constant) -> None:
    """A product or sum with a constant of any other shape, as one of two values."""
    rank = len(t.shapes[x])
    whole = (1,) * (rank + 1 - constant.value.dim()) + tuple(constant.value.shape)
    if len(whole) != rank + 1 or whole[0] != 1:
        call.refuse(f"with constant '{constant.name}' of shape {tuple(constant.value.shape)} on {t.shapes[x]}")
    other = source(t, call, constant, whole[1:])
    _binary(t, call, "mul" if role == "scale" else "add", x, other)


def _own_axis(value: Tensor, shape: tuple[int, ...]) -> int | None:
    """The axis of `shape` along which alone torch broadcasts a tensor; 0 for one number, None for several axes."""
    if value.numel() == 1:
        return 0
    rank = len(shape) + 1
    aligned = (1,) * (rank - value.dim()) + tuple(value.shape)
    for axis, size in enumerate(shape):
        if aligned == (1, *(1,) * axis, size, *(1,) * (rank - 2 - axis)):
            return axis
    return None


TABLE: dict[str, Rule] = {
    "add": add, "sub": sub, "rsub": sub, "mul": mul, "div": div, "neg": neg, "addcmul": addcmul,
    "expand": expand, "expand_as": expand, "masked_fill": masked_fill, "where": where,
    "subtract": sub, "multiply": mul, "divide": div, "true_divide": div, "negative": neg,
}  # fmt: skip
