"""Opcodes of dense layers and of attention: features, products of matrices, shares along the last axis."""

from __future__ import annotations

from chipfit.core.graph import Op
from chipfit.space.program.convolutions import CHANNELS
from chipfit.space.program.opcode import Opcode, Step

_LEAST, _MOST = 1e-6, 3e38


def _linear(step: Step) -> Op:
    (features,) = step.constants
    if step.place.kind != "linear":
        step.refuse("the layer is a convolution; its like on maps is pwconv")
    *before, _ = step.shape
    return step.write("linear", step.reads, (*before, features), bias=int(step.bias))


def _matmul(step: Step) -> Op:
    a, b = (o.shape for o in step.reads)
    if len(a) < 2 or len(a) != len(b):
        step.refuse(f"{a} and {b} are no matrices of one rank")
    if a[-1] != b[-2] or a[:-2] != b[:-2]:
        step.refuse(f"{a} and {b} are no matrices to multiply")
    return step.write("matmul", step.reads, (*a[:-1], b[-1]))


def _softmax(step: Step) -> Op:
    return step.write("softmax", step.reads, step.shape, axis=len(step.shape) - 1)


def _relu_norm(step: Step) -> Op:
    """The positive part by its sum along the last axis: shares without an exponential."""
    *before, _ = step.shape
    positive = step.write("relu", step.reads, step.shape)
    total = step.write("reduce_sum", (positive,), (*before, 1), axes=(len(before),), keep=1)
    # a row may have no positive value
    some = step.write("clip", (total,), total.shape, low=_LEAST, high=_MOST)
    return step.write("div", (positive, some), step.shape)


PRODUCTS = (
    Opcode("linear", "dense layer", 1, (CHANNELS,), _linear, linear=True, learns=True),
    Opcode("matmul", "product of matrices", 2, (), _matmul),
    Opcode("softmax", "shares along the last axis", 1, (), _softmax),
    Opcode("relu_norm", "positive parts by their sum along the last axis", 1, (), _relu_norm),
)
