"""Nodes that change each value on its own, and nodes that join values."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from chipfit.nets.onnx.call import Call, Function, Rule, Run, Value, as_tensor


def plain(function: Callable[..., Tensor]) -> Rule:
    """The rule of a function of one value, without attributes."""
    return lambda call: lambda run, x: function(x)


def with_numbers(function: Callable[..., Tensor], **defaults: float) -> Rule:
    """The rule of a function of one value and of numbers, attributes of the same names."""

    def rule(call: Call) -> Function:
        numbers = {name: float(call.take(name, default)) for name, default in defaults.items()}
        return lambda run, x: function(x, **numbers)

    return rule


def _leaky_relu(x: Tensor, alpha: float) -> Tensor:
    return F.leaky_relu(x, alpha)


def _elu(x: Tensor, alpha: float) -> Tensor:
    return F.elu(x, alpha)


def _celu(x: Tensor, alpha: float) -> Tensor:
    return F.celu(x, alpha)


def _selu(x: Tensor, alpha: float, gamma: float) -> Tensor:
    usual = abs(alpha - 1.67326319) + abs(gamma - 1.05070102) < 1e-6
    return torch.selu(x) if usual else gamma * F.elu(x, alpha)


def _thresholded_relu(x: Tensor, alpha: float) -> Tensor:
    return torch.where(x > alpha, x, torch.zeros_like(x))


def _shrink(x: Tensor, lambd: float, bias: float) -> Tensor:
    zero = torch.zeros_like(x)
    return torch.where(x < -lambd, x + bias, torch.where(x > lambd, x - bias, zero))


def _hard_sigmoid(x: Tensor, alpha: float, beta: float) -> Tensor:
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
        return F.hardsigmoid(x)
    return torch.clamp(x * alpha + beta, 0.0, 1.0)


def _swish(x: Tensor, alpha: float) -> Tensor:
    return F.silu(x) if alpha == 1 else x * torch.sigmoid(x * alpha)


def gelu(call: Call) -> Function:
    """GELU, exact or by tanh."""
    how = call.take("approximate", "none")
    if how not in ("none", "tanh"):
        call.refuse(f"with approximate={how!r}")
    return lambda run, x: F.gelu(x, approximate=how)


def clip(call: Call) -> Function:
    """A value between two ends, either of which may be left out."""
    call.ignore("consumed_inputs")
    low, high = call.number(1, "min", None), call.number(2, "max", None)
    if low is None and high is None:
        return lambda run, x, *_: x
    if (low, high) == (0.0, 6.0):
        return lambda run, x, *_: F.relu6(x)
    return lambda run, x, *_: torch.clamp(x, low, high)


def softmax(function: Callable[..., Tensor]) -> Rule:
    """The rule of shares along an axis; before operator set 13 along all from it on together."""

    def rule(call: Call) -> Function:
        old = call.opset < 13
        axis = int(call.take("axis", 1 if old else -1))

        def along(run: Run, x: Tensor) -> Tensor:
            first = axis % x.dim()
            if not old or first == x.dim() - 1:
                return function(x, dim=first)
            return function(x.flatten(first), dim=first).reshape(x.shape)

        return along

    return rule


def cast(call: Call) -> Function:
    """Another type of numbers; every type of floats is float32 here."""
    call.ignore("saturate", "round_mode")
    to = int(call.take("to"))
    if to not in _TYPES:
        call.refuse(f"with to={to}")
    dtype = _TYPES[to]

    def function(run: Run, x: Tensor) -> Tensor:
        if dtype is None:
            return x if x.is_floating_point() else x.float()
        return x if x.dtype == dtype else x.to(dtype)

    return function


_TYPES: dict[int, torch.dtype | None] = {
    1: None, 10: None, 11: None, 16: None,  # float32, float16, double, bfloat16
    6: torch.int64, 7: torch.int64, 9: torch.bool,
}  # fmt: skip
"""Types of numbers by ONNX's numbers of them; None for floats."""


def nothing(call: Call) -> Function:
    """A node without effect in evaluation."""
    call.single_output()
    call.ignore("ratio", "seed", "is_test", "consumed_inputs")
    if call.has(2) and bool(call.constant(2).value):
        call.refuse("in training mode")
    return lambda run, x, *_: x


def two(function: Callable[..., Any]) -> Rule:
    """The rule of an operator between two values, either of which may be a constant."""

    def rule(call: Call) -> Function:
        call.ignore("consumed_inputs")
        if call.take("broadcast", 0) and call.given("axis"):
            call.refuse("of operator set 6")

        def join(run: Run, x: Value, y: Value) -> Tensor:
            made: Tensor = function(*_both(x, y))
            return made

        return join

    return rule


def _both(x: Value, y: Value) -> tuple[Any, Any]:
    """Two values as torch joins them; numbers alone stay numbers."""
    like = x if isinstance(x, Tensor) else y
    assert isinstance(like, Tensor)
    return _operand(x, like), _operand(y, like)


def _operand(value: Value, like: Tensor) -> Any:
    if isinstance(value, Tensor):
        return value
    if value.ndim == 0 or value.shape == (1,):
        return value.reshape(-1)[0].item()
    return as_tensor(value, like)


def _divided(x: Any, y: Any) -> Any:
    whole = isinstance(x, Tensor) and not x.is_floating_point() and isinstance(y, int | Tensor)
    whole = whole and not (isinstance(y, Tensor) and y.is_floating_point())
    return torch.div(x, y, rounding_mode="trunc") if whole else x / y


def _tensors(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Any, Any], Tensor]:
    """A function of two tensors as one of values, one of which may be a number."""

    def join(x: Any, y: Any) -> Tensor:
        like = x if isinstance(x, Tensor) else y
        return function(*(v if isinstance(v, Tensor) else torch.full_like(like, v) for v in (x, y)))

    return join


def _larger(x: Any, y: Any) -> Tensor:
    if isinstance(x, Tensor) and isinstance(y, Tensor):
        return torch.maximum(x, y)
    return torch.clamp(x, min=y) if isinstance(x, Tensor) else torch.clamp(y, min=x)


def _smaller(x: Any, y: Any) -> Tensor:
    if isinstance(x, Tensor) and isinstance(y, Tensor):
        return torch.minimum(x, y)
    return torch.clamp(x, max=y) if isinstance(x, Tensor) else torch.clamp(y, max=x)


def _power(x: Any, y: Any) -> Tensor:
    made: Tensor = torch.pow(x, y)
    return made


def several(function: Callable[[Any, Any], Any], mean: bool = False) -> Rule:
    """The rule of an operator between any number of values."""

    def rule(call: Call) -> Function:
        call.ignore("consumed_inputs")

        def join(run: Run, *xs: Value) -> Value:
            made: Value = reduce(lambda x, y: function(*_both(x, y)), xs)
            return made / len(xs) if mean else made

        return join

    return rule


def where(call: Call) -> Function:
    """One of two values at each place."""

    def function(run: Run, condition: Value, x: Value, y: Value) -> Tensor:
        like = next(v for v in (x, y, condition) if isinstance(v, Tensor))
        return torch.where(as_tensor(condition, like), as_tensor(x, like), as_tensor(y, like))

    return function


_ONE: dict[str, Callable[..., Tensor]] = {
    "Relu": torch.relu, "Sigmoid": torch.sigmoid, "Tanh": torch.tanh, "HardSwish": F.hardswish, "Mish": F.mish,
    "Softplus": F.softplus, "Softsign": F.softsign, "Abs": torch.abs, "Neg": torch.neg, "Exp": torch.exp,
    "Log": torch.log, "Sqrt": torch.sqrt, "Reciprocal": torch.reciprocal, "Sin": torch.sin, "Cos": torch.cos,
    "Tan": torch.tan, "Asin": torch.asin, "Acos": torch.acos, "Atan": torch.atan, "Sinh": torch.sinh,
    "Cosh": torch.cosh, "Asinh": torch.asinh, "Acosh": torch.acosh, "Atanh": torch.atanh, "Erf": torch.erf,
    "Floor": torch.floor, "Ceil": torch.ceil, "Round": torch.round, "Sign": torch.sign, "Not": torch.logical_not,
    "IsNaN": torch.isnan,
}  # fmt: skip

_TWO: dict[str, Callable[..., Any]] = {
    "Add": operator.add, "Sub": operator.sub, "Mul": operator.mul, "Div": _divided, "Pow": _power,
    "Equal": operator.eq, "Greater": operator.gt, "GreaterOrEqual": operator.ge, "Less": operator.lt,
    "LessOrEqual": operator.le, "And": _tensors(torch.logical_and), "Or": _tensors(torch.logical_or),
    "Xor": _tensors(torch.logical_xor),
}  # fmt: skip

TABLE: dict[str, Rule] = {
    **{name: plain(function) for name, function in _ONE.items()},
    **{name: two(function) for name, function in _TWO.items()},
    "LeakyRelu": with_numbers(_leaky_relu, alpha=0.01), "Elu": with_numbers(_elu, alpha=1.0),
    "Celu": with_numbers(_celu, alpha=1.0), "Selu": with_numbers(_selu, alpha=1.67326319, gamma=1.05070102),
    "ThresholdedRelu": with_numbers(_thresholded_relu, alpha=1.0),
    "Shrink": with_numbers(_shrink, lambd=0.5, bias=0.0),
    "HardSigmoid": with_numbers(_hard_sigmoid, alpha=0.2, beta=0.5), "Swish": with_numbers(_swish, alpha=1.0),
    "Gelu": gelu, "Clip": clip, "Softmax": softmax(F.softmax), "LogSoftmax": softmax(F.log_softmax),
    "Cast": cast, "Identity": nothing, "Dropout": nothing,
    "Max": several(_larger), "Min": several(_smaller), "Sum": several(operator.add),
    "Mean": several(operator.add, mean=True), "Where": where,
}  # fmt: skip
