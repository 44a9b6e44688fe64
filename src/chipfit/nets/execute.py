"""What an operator computes, in torch: stated once, for modules that are trained and for graphs walked by hand.

Each kind has a function that reads the operator's attributes once and returns what is then called: with the inputs
alone where the kind has no arrays (`PLAIN`), else with where its arrays are found before them (`LAYERED`). Values have
the batch axis first; axes in attributes are counted without it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from chipfit.core.channels import array_axis
from chipfit.core.graph import Op

Function = Callable[..., Tensor]
"""Inputs to output, each with a batch axis."""

Arrays = Callable[[str], Tensor]
"""Role ("weight", "bias", ...) to array."""

LayerFunction = Callable[..., Tensor]
"""Where the arrays are found, and inputs, to output."""


def plain(o: Op) -> Function:
    """What an operator without arrays computes of its inputs."""
    return PLAIN[o.kind](o)


def layered(o: Op) -> LayerFunction:
    """What an operator with arrays computes of them and its inputs; batch norm is that of evaluation."""
    return LAYERED[o.kind](o)


def execute(o: Op, arrays: Arrays, *inputs: Tensor) -> Tensor:
    """The output of one operator; `arrays` gives each of its arrays by role."""
    if o.kind in LAYERED:
        return layered(o)(arrays, *inputs)
    return plain(o)(*inputs)


def along(array: Tensor, o: Op) -> Tensor:
    """An array with a value for each channel, or one for all, in the form in which it meets the operator's values."""
    behind = len(o.shape) - 1 - array_axis(o)
    return array.view(-1, *(1,) * behind)


def _conv(o: Op) -> LayerFunction:
    window = (o["stride"], o["padding"], o["dilation"], o["groups"])
    if o["bias"]:
        return lambda arrays, x: F.conv2d(x, arrays("weight"), arrays("bias"), *window)
    return lambda arrays, x: F.conv2d(x, arrays("weight"), None, *window)


def _linear(o: Op) -> LayerFunction:
    if o["bias"]:
        return lambda arrays, x: F.linear(x, arrays("weight"), arrays("bias"))
    return lambda arrays, x: F.linear(x, arrays("weight"))


def _batch_norm(o: Op) -> LayerFunction:
    eps = o["eps"]

    def norm(arrays: Arrays, x: Tensor) -> Tensor:
        mean, variance = arrays("running_mean"), arrays("running_var")
        return F.batch_norm(x, mean, variance, arrays("weight"), arrays("bias"), False, 0.0, eps)

    return norm


def _affine(o: Op) -> LayerFunction:
    has_scale, has_shift = bool(o["scale"]), bool(o["shift"])

    def affine(arrays: Arrays, x: Tensor) -> Tensor:
        if has_scale:
            x = x * along(arrays("scale"), o)
        return x + along(arrays("shift"), o) if has_shift else x

    return affine


def _prelu(o: Op) -> LayerFunction:
    return lambda arrays, x: F.prelu(x, arrays("weight"))


def _window(o: Op) -> dict[str, Any]:
    window = {"kernel_size": o["kernel"], "stride": o["stride"], "padding": o["padding"]}
    return window | {"ceil_mode": bool(o["ceil"])}


def _max_pool(o: Op) -> Function:
    return partial(F.max_pool2d, **_window(o))


def _avg_pool(o: Op) -> Function:
    return partial(F.avg_pool2d, **_window(o), count_include_pad=bool(o["count_include_pad"]))


def _global_pool(o: Op) -> Function:
    keep = bool(o["keep"])
    return lambda x: x.mean((2, 3), keepdim=keep)


def _global_max_pool(o: Op) -> Function:
    keep = bool(o["keep"])
    return lambda x: x.amax((2, 3), keepdim=keep)


def _concat(o: Op) -> Function:
    axis = o["axis"] + 1
    return lambda *xs: torch.cat(xs, axis)


def _reshape(o: Op) -> Function:
    shape = o["to"]
    return lambda x: x.reshape(x.shape[0], *shape)


def _transpose(o: Op) -> Function:
    order = (0, *(p + 1 for p in o["perm"]))
    return lambda x: x.permute(order)


def _slice(o: Op) -> Function:
    index = (slice(None),) * (o["axis"] + 1) + (slice(o["start"], o["stop"], o["step"]),)
    return lambda x: x[index]


def _pad(o: Op) -> Function:
    pads = o["pads"]
    # torch counts from the last axis
    reverse = [v for i in range(len(pads) // 2 - 1, -1, -1) for v in pads[2 * i : 2 * i + 2]]
    return lambda x: F.pad(x, reverse)


def _softmax(o: Op) -> Function:
    function = torch.softmax if o.kind == "softmax" else torch.log_softmax
    return partial(function, dim=o["axis"] + 1)


def _clip(o: Op) -> Function:
    return partial(torch.clamp, min=o["low"], max=o["high"])


def _leaky_relu(o: Op) -> Function:
    return partial(F.leaky_relu, negative_slope=o["slope"])


def always(function: Function) -> Callable[[Op], Function]:
    """The rule of a kind without attributes."""
    return lambda o: function


LAYERED: dict[str, Callable[[Op], LayerFunction]] = {
    "conv": _conv,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "affine": _affine,
    "prelu": _prelu,
}
"""Kinds with arrays."""

PLAIN: dict[str, Callable[[Op], Function]] = {
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
    "add": always(torch.add),
    "sub": always(torch.sub),
    "mul": always(torch.mul),
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "global_pool": _global_pool,
    "global_max_pool": _global_max_pool,
    "concat": _concat,
    "flatten": always(partial(torch.flatten, start_dim=1)),
    "reshape": _reshape,
    "transpose": _transpose,
    "slice": _slice,
    "pad": _pad,
    "softmax": _softmax,
    "log_softmax": _softmax,
}
"""Kinds without arrays."""
