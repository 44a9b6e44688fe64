"""Rules of arithmetic between values, and with constants: numbers, buffers, parameters.

A constant that is one number, or one for each channel, is a scale or a shift (`affine`); any other shape is refused.
Two values of different shape broadcast as torch does; one that was expanded before is left to its reader to broadcast.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, fx

from chipfit.nets.program import BATCH
from chipfit.nets.rules.call import Call
from chipfit.nets.rules.constants import Constant, digest, once
from chipfit.nets.rules.layout import FIRST
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
    """The quotient x / c, as a product with 1 / c."""
    x, y = _operands(t, call)
    if not isinstance(y, Constant) or isinstance(x, Constant):
        call.refuse("by a value of the input")
    if not bool((y.value != 0).all()):
        call.refuse("by zero")
    _scale(t, call, x, _changed(y, 1 / y.value.double()))


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
    shape, value = t.shapes[x], constant.value
    single = value.numel() == 1
    if t.sample_shape(call.node) != shape or not (single or _is_per_channel(value, shape)):
        call.refuse(
            f"with constant '{constant.name}' of shape {tuple(value.shape)} on {shape}: it has to be one number or "
            "one a channel, else it"
        )
    if value.is_complex() or not bool(value.isfinite().all()):
        call.refuse(f"with constant '{constant.name}' that is not finite")
    neutral = 1.0 if role == "scale" else 0.0
    if not constant.learnt and bool((value == neutral).all()):
        t.known[call.node.name] = x
        return
    # what is nobody's parameter is not shared: each place may be merged with its neighbours
    source = constant.source if constant.learnt else ""
    arrays = {role: replace(constant, value=value.reshape(-1), source=source)}
    there = {"scale": int(role == "scale"), "shift": int(role == "shift")}
    prefix = t.wish(call, "affine")
    t.layer(call, "affine", (x,), arrays, prefix, **there, single=int(single), learnt=int(constant.learnt))


def _is_per_channel(value: Tensor, shape: tuple[int, ...]) -> bool:
    """True for a tensor that torch broadcasts along the first axis of `shape` alone, the batch before it."""
    rank = len(shape) + 1
    aligned = (1,) * (rank - value.dim()) + tuple(value.shape)
    return aligned == (1, shape[0], *(1,) * (rank - 2))


TABLE: dict[str, Rule] = {
    "add": add, "sub": sub, "rsub": sub, "mul": mul, "div": div, "neg": neg, "expand": expand, "expand_as": expand,
}  # fmt: skip
