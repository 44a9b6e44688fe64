"""Nodes that take windows, or all places, together."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from chipfit.nets.onnx.call import Call, Function, Rule, Run
from chipfit.nets.onnx.windows import LOWEST, both_sides, kernel_of, padded, window

_MAXIMA: dict[int, Callable[..., Tensor]] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_MEANS: dict[int, Callable[..., Tensor]] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def max_pool(call: Call) -> Function:
    """The largest value of each window."""
    call.single_output()
    call.ignore("storage_order")  # of the places, which nobody reads
    where, ceil = window(call, kernel_of(call)), bool(call.take("ceil_mode", 0))
    pool = _of_axes(call, _MAXIMA, len(where.kernel))

    def function(run: Run, x: Tensor) -> Tensor:
        x, padding = padded(x, where, LOWEST)
        return pool(x, where.kernel, where.strides, padding, where.dilations, ceil_mode=ceil)

    return function


def average_pool(call: Call) -> Function:
    """The mean of each window."""
    where, ceil = window(call, kernel_of(call)), bool(call.take("ceil_mode", 0))
    count = bool(call.take("count_include_pad", 0))
    if set(where.dilations) != {1}:
        call.refuse(f"with dilations={list(where.dilations)}")
    pool = _of_axes(call, _MEANS, len(where.kernel))

    def function(run: Run, x: Tensor) -> Tensor:
        before, behind = where.amounts(x.shape[2:])
        if before == behind:
            return pool(x, where.kernel, where.strides, before, ceil_mode=ceil, count_include_pad=count)
        added = both_sides(before, behind)
        made = pool(F.pad(x, added), where.kernel, where.strides, 0, ceil_mode=ceil)
        if count:
            return made
        # the mean counts the zeros that were added: it is divided by the share of those that were not
        there = F.pad(torch.ones(1, 1, *x.shape[2:], dtype=x.dtype), added)
        return made / pool(there, where.kernel, where.strides, 0, ceil_mode=ceil)

    return function


def _of_axes(call: Call, functions: dict[int, Callable[..., Tensor]], axes: int) -> Callable[..., Tensor]:
    found = functions.get(axes)
    if found is None:
        call.refuse(f"over {axes} axes")
    return found


def _places(x: Tensor) -> tuple[int, ...]:
    return tuple(range(2, x.dim()))


def global_average(call: Call) -> Function:
    """The mean over all places."""
    return lambda run, x: x.mean(_places(x), keepdim=True)


def global_max(call: Call) -> Function:
    """The largest value over all places."""
    return lambda run, x: x.amax(_places(x), keepdim=True)


Reduce = Callable[[Tensor, tuple[int, ...], bool], Tensor]


def reduction(reduce: Reduce, inputs_since: int = 18) -> Rule:
    """The rule of a reduction over axes, an attribute before operator set `inputs_since` and an input from then on."""

    def rule(call: Call) -> Function:
        keep = bool(call.take("keepdims", 1))
        nothing = bool(call.take("noop_with_empty_axes", 0))
        axes = call.numbers(1, "axes") if call.given("axes") or call.opset >= inputs_since else None

        def function(run: Run, x: Tensor, *_: object) -> Tensor:
            if not axes and nothing:
                return x
            return reduce(x, tuple(a % x.dim() for a in axes or range(x.dim())), keep)

        return function

    return rule


def _mean(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    return x.mean(axes, keepdim=keep)


def _sum(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    return x.sum(axes, keepdim=keep)


def _product(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


def _length(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    return (x * x).sum(axes, keepdim=keep).sqrt()


def _size(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    return x.abs().sum(axes, keepdim=keep)


def extremum(call: Call) -> Function:
    """The place of the largest or smallest value along an axis."""
    axis, keep = int(call.take("axis", 0)), bool(call.take("keepdims", 1))
    call.only("select_last_index", 0)
    find = torch.argmax if call.node.op_type == "ArgMax" else torch.argmin
    return lambda run, x: find(x, axis, keepdim=keep)


def running_sum(call: Call) -> Function:
    """Sums of all values up to each, along an axis."""
    call.only("exclusive", 0)
    call.only("reverse", 0)
    axis = (call.numbers(1) or [0])[0]
    return lambda run, x, *_: x.cumsum(axis)


TABLE: dict[str, Rule] = {
    "MaxPool": max_pool, "AveragePool": average_pool,
    "GlobalAveragePool": global_average, "GlobalMaxPool": global_max,
    "ReduceMean": reduction(_mean), "ReduceSum": reduction(_sum, 13),
    "ReduceMax": reduction(lambda x, axes, keep: x.amax(axes, keepdim=keep)),
    "ReduceMin": reduction(lambda x, axes, keep: x.amin(axes, keepdim=keep)),
    "ReduceProd": reduction(_product), "ReduceL1": reduction(_size), "ReduceL2": reduction(_length),
    "ReduceSumSquare": reduction(lambda x, axes, keep: _sum(x * x, axes, keep)),
    "ReduceLogSum": reduction(lambda x, axes, keep: _sum(x, axes, keep).log()),
    "ReduceLogSumExp": reduction(lambda x, axes, keep: torch.logsumexp(x, axes, keepdim=keep)),
    "ArgMax": extremum, "ArgMin": extremum, "CumSum": running_sum,
}  # fmt: skip
