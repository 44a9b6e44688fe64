"""What changes each value on its own, and what joins two values."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch.nn import functional as F

from chipfit.core.graph import Op
from chipfit.nets.executors.forms import Function, always


def _clip(o: Op) -> Function:
    return partial(torch.clamp, min=o["low"], max=o["high"])


def _leaky_relu(o: Op) -> Function:
    return partial(F.leaky_relu, negative_slope=o["slope"])


def _elu(o: Op) -> Function:
    return partial(F.elu, alpha=o["alpha"])


def _celu(o: Op) -> Function:
    return partial(F.celu, alpha=o["alpha"])


def _softplus(o: Op) -> Function:
    return partial(F.softplus, beta=o["beta"])


def _pow(o: Op) -> Function:
    exponent = o["exponent"]
    return lambda x: torch.pow(x, exponent)


POINTWISE: dict[str, Callable[[Op], Function]] = {
    "relu": always(torch.relu),
    "relu6": always(F.relu6),
    "sigmoid": always(torch.sigmoid),
    "hard_sigmoid": always(F.hardsigmoid),
    "silu": always(F.silu),
    "hard_swish": always(F.hardswish),
    "tanh": always(torch.tanh),
    "gelu": always(F.gelu),
    "gelu_tanh": always(partial(F.gelu, approximate="tanh")),
    "clip": _clip,
    "leaky_relu": _leaky_relu,
    "mish": always(F.mish),
    "elu": _elu,
    "celu": _celu,
    "selu": always(torch.selu),
    "softplus": _softplus,
    "softsign": always(F.softsign),
    "abs": always(torch.abs),
    "exp": always(torch.exp),
    "log": always(torch.log),
    "sqrt": always(torch.sqrt),
    "sin": always(torch.sin),
    "cos": always(torch.cos),
    "erf": always(torch.erf),
    "reciprocal": always(torch.reciprocal),
    "pow": _pow,
    "add": always(torch.add),
    "sub": always(torch.sub),
    "mul": always(torch.mul),
    "div": always(torch.div),
    "maximum": always(torch.maximum),
    "minimum": always(torch.minimum),
    "matmul": always(torch.matmul),
}
