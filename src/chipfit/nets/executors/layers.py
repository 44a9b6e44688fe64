"""Layers with a matrix of weights, look-ups, and constants."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from chipfit.core.graph import Op
from chipfit.nets.executors.forms import Arrays, LayerFunction


def _convolution(convolve: Callable[..., Tensor]) -> Callable[[Op], LayerFunction]:
    """The rule of a convolution over two or three axes."""

    def rule(o: Op) -> LayerFunction:
        window = (o["stride"], o["padding"], o["dilation"], o["groups"])
        if o["bias"]:
            return lambda arrays, x: convolve(x, arrays("weight"), arrays("bias"), *window)
        return lambda arrays, x: convolve(x, arrays("weight"), None, *window)

    return rule


def _conv_transpose(o: Op) -> LayerFunction:
    window = (o["stride"], o["padding"], o["extra"], o["groups"], o["dilation"])
    if o["bias"]:
        return lambda arrays, x: F.conv_transpose2d(x, arrays("weight"), arrays("bias"), *window)
    return lambda arrays, x: F.conv_transpose2d(x, arrays("weight"), None, *window)


def _linear(o: Op) -> LayerFunction:
    if o["bias"]:
        return lambda arrays, x: F.linear(x, arrays("weight"), arrays("bias"))
    return lambda arrays, x: F.linear(x, arrays("weight"))


def _embedding(o: Op) -> LayerFunction:
    return lambda arrays, x: F.embedding(x.long(), arrays("weight"))


def _constant(o: Op) -> LayerFunction:
    def constant(arrays: Arrays) -> Tensor:
        return arrays("value").unsqueeze(0)

    return constant


LAYERS: dict[str, Callable[[Op], LayerFunction]] = {
    "conv": _convolution(F.conv2d),
    "conv3d": _convolution(F.conv3d),
    "conv_transpose": _conv_transpose,
    "linear": _linear,
    "embedding": _embedding,
    "constant": _constant,
}
