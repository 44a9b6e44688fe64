"""Nodes with a matrix of weights: convolutions, dense layers, look-ups."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from chipfit.nets.onnx.call import Array, Call, Function, Rule, Run, as_tensor
from chipfit.nets.onnx.windows import Window, padded, window

_CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED: dict[int, Callable[..., Tensor]] = {
    1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d,
}  # fmt: skip


def conv(call: Call) -> Function:
    """A convolution over one to three axes."""
    call.array(1, "weight")
    has_bias = call.array(2, "bias", np.ravel)
    kernel = call.constant(1).value.shape[2:]
    call.ignore("kernel_shape")  # the weight has it
    convolve = _CONVOLUTIONS.get(len(kernel))
    if convolve is None:
        call.refuse(f"over {len(kernel)} axes")
    where, groups = window(call, kernel), int(call.take("group", 1))

    def function(run: Run, x: Tensor, *_: object) -> Tensor:
        bias = run.array("bias") if has_bias else None
        x, padding = padded(x, where)
        return convolve(x, run.array("weight"), bias, where.strides, padding, where.dilations, groups)

    return function


def conv_transpose(call: Call) -> Function:
    """A transposed convolution; a padding that torch has not is cut off behind it."""
    call.array(1, "weight")
    has_bias = call.array(2, "bias", np.ravel)
    kernel = call.constant(1).value.shape[2:]
    call.ignore("kernel_shape")
    axes = len(kernel)
    convolve = _TRANSPOSED.get(axes)
    if convolve is None:
        call.refuse(f"over {axes} axes")
    extra = tuple(call.take("output_padding", [0] * axes))
    wanted: list[int] | None = call.take("output_shape")
    where, groups = window(call, kernel), int(call.take("group", 1))

    def function(run: Run, x: Tensor, *_: object) -> Tensor:
        bias = run.array("bias") if has_bias else None
        before, behind = _cut_off(where, extra, x.shape[2:], wanted)
        weight, strides, dilations = run.array("weight"), where.strides, where.dilations
        if before == behind:
            return convolve(x, weight, bias, strides, before, extra, groups, dilations)
        whole = convolve(x, weight, bias, strides, 0, extra, groups, dilations)
        for axis, (start, end) in enumerate(zip(before, behind, strict=True), 2):
            whole = whole.narrow(axis, start, whole.shape[axis] - start - end)
        return whole

    return function


def _cut_off(
    where: Window, extra: tuple[int, ...], sizes: tuple[int, ...], wanted: list[int] | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What goes at both ends of each axis, so that it has the size that is said or meant."""
    if wanted is None and where.auto not in ("SAME_UPPER", "SAME_LOWER"):
        return where.amounts(sizes)
    before, behind = [], []
    for axis, size in enumerate(sizes):
        kernel, stride, dilation = where.kernel[axis], where.strides[axis], where.dilations[axis]
        whole = stride * (size - 1) + extra[axis] + (kernel - 1) * dilation + 1
        goal = wanted[-len(sizes) :][axis] if wanted else size * stride
        surplus = whole - goal
        smaller, larger = surplus // 2, surplus - surplus // 2
        upper = where.auto == "SAME_UPPER"
        before.append(smaller if upper else larger)
        behind.append(larger if upper else smaller)
    return tuple(before), tuple(behind)


def gemm(call: Call) -> Function:
    """Alpha · A · B + beta · C, a dense layer where B is a constant."""
    alpha, beta = float(call.take("alpha", 1.0)), float(call.take("beta", 1.0))
    turned_a, turned_b = bool(call.take("transA", 0)), bool(call.take("transB", 0))
    if turned_a or not call.is_known(1) or (call.has(2) and not call.is_known(2)):
        return _product(alpha, beta, turned_a, turned_b)
    call.array(1, "weight", lambda b: alpha * (b if turned_b else b.T) if alpha != 1 else (b if turned_b else b.T))
    outputs = call.constant(1).value.shape[0 if turned_b else 1]
    return _dense(call, outputs, beta)


def _product(alpha: float, beta: float, turned_a: bool, turned_b: bool) -> Function:
    def function(run: Run, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
        made = (a.t() if turned_a else a) @ (b.t() if turned_b else b)
        made = made * alpha if alpha != 1 else made
        return made if c is None else made + (c * beta if beta != 1 else c)

    return function


def matmul(call: Call) -> Function:
    """A product; a dense layer where the right side is a constant matrix. A third input is a bias (`fused`)."""
    if not call.is_known(1) or call.constant(1).value.ndim != 2:
        call.bound.discard(1)
        return lambda run, a, b: torch.matmul(a, b)
    call.array(1, "weight", np.transpose)
    return _dense(call, call.constant(1).value.shape[1], 1.0)


def _dense(call: Call, outputs: int, beta: float) -> Function:
    def as_bias(c: Array) -> Array:
        if c.size not in (1, outputs):
            call.refuse(f"with a bias of shape {c.shape}")
        made: Array = np.broadcast_to(c.reshape(-1), (outputs,))
        return made * c.dtype.type(beta) if beta != 1 else made

    has_bias = call.array(2, "bias", as_bias)

    def function(run: Run, x: Tensor, *_: object) -> Tensor:
        return F.linear(x, run.array("weight"), run.array("bias") if has_bias else None)

    return function


def gather(call: Call) -> Function:
    """Rows of a table of weights, or some places along an axis."""
    axis = int(call.take("axis", 0))
    known = call.is_known(0)
    if known and axis == 0 and not call.is_known(1) and _is_table(call.constant(0).value):
        call.tables["table"] = call.constant(0)
        return lambda run, _, places: run.array("table")(places)
    call.bound.discard(0)
    if known or not call.is_known(1):
        return lambda run, x, places: _taken(x, axis, as_tensor(places, x))
    chosen = call.constant(1).value

    def function(run: Run, x: Tensor, *_: object) -> Tensor:
        return _chosen(x, axis, chosen)

    return function


def _is_table(value: Array) -> bool:
    return value.ndim == 2 and value.dtype.kind == "f"


def _chosen(x: Tensor, axis: int, chosen: Array) -> Tensor:
    """The places of a constant: one alone takes its axis away, several in a row are a slice."""
    size = x.shape[axis]
    places = np.where(chosen < 0, chosen + size, chosen)
    if places.ndim == 0:
        return x.select(axis, int(places))
    flat = places.reshape(-1)
    in_a_row = flat.size > 0 and bool((np.diff(flat) == 1).all())
    if in_a_row and places.ndim == 1:
        return x.narrow(axis, int(flat[0]), len(flat))
    return _taken(x, axis, torch.as_tensor(places))


def _taken(x: Tensor, axis: int, places: Tensor) -> Tensor:
    axis %= x.dim()
    places = torch.where(places < 0, places + x.shape[axis], places)
    rows = x.index_select(axis, places.reshape(-1))
    return rows.reshape(*x.shape[:axis], *places.shape, *x.shape[axis + 1 :])


TABLE: dict[str, Rule] = {
    "Conv": conv, "ConvTranspose": conv_transpose, "Gemm": gemm, "MatMul": matmul, "Gather": gather,
}  # fmt: skip
