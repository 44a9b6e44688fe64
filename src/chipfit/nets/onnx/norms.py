"""Nodes that scale and shift values: norms, and PReLU."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from chipfit.nets.onnx.call import Array, Call, Function, Rule, Run


def batch_norm(call: Call) -> Function:
    """A batch norm of evaluation, with its running statistics."""
    call.single_output()
    call.ignore("momentum", "consumed_inputs", "is_test")
    call.only("spatial", 1)
    call.only("training_mode", 0)
    eps = float(call.take("epsilon", 1e-5))
    for place, role in enumerate(("weight", "bias", "running_mean", "running_var"), 1):
        call.array(place, role, trained=place < 3)

    def function(run: Run, x: Tensor, *_: object) -> Tensor:
        mean, variance = run.array("running_mean"), run.array("running_var")
        return F.batch_norm(x, mean, variance, run.array("weight"), run.array("bias"), False, 0.0, eps)

    return function


def instance_norm(call: Call) -> Function:
    """Each channel by its own places."""
    eps = float(call.take("epsilon", 1e-5))
    call.ignore("consumed_inputs")
    call.array(1, "weight")
    call.array(2, "bias")

    def function(run: Run, x: Tensor, *_: object) -> Tensor:
        return F.instance_norm(x, weight=run.array("weight"), bias=run.array("bias"), eps=eps)

    return function


def group_norm(call: Call) -> Function:
    """Groups of channels by their own places; before operator set 21 there is one scale for each group."""
    call.ignore("stash_type")
    groups, eps = int(call.take("num_groups")), float(call.take("epsilon", 1e-5))
    by_group = call.opset < 21
    scale, shift = call.constant(1).value, call.constant(2).value
    if by_group and not scale.size == shift.size == groups:
        call.refuse(f"with {scale.size} scales for {groups} groups")

    if not by_group:
        call.array(1, "weight")
        call.array(2, "bias")
        return lambda run, x, *_: F.group_norm(x, groups, run.array("weight"), run.array("bias"), eps)
    call.array(1, "weight")
    call.array(2, "bias")

    def function(run: Run, x: Tensor, *_: object) -> Tensor:
        each = x.shape[1] // groups
        weight, bias = (run.array(role).repeat_interleave(each) for role in ("weight", "bias"))
        return F.group_norm(x, groups, weight, bias, eps)

    return function


def layer_norm(call: Call) -> Function:
    """Mean 0 and variance 1 over the last axes."""
    call.single_output()
    call.ignore("stash_type")
    axis, eps = int(call.take("axis", -1)), float(call.take("epsilon", 1e-5))
    call.array(1, "weight", _without_ones)
    has_bias = call.array(2, "bias", _without_ones)
    scaled = _without_ones(call.constant(1).value).shape

    def function(run: Run, x: Tensor, *_: object) -> Tensor:
        shape = tuple(x.shape[axis:])
        bias = run.array("bias") if has_bias else None
        if shape == scaled:
            return F.layer_norm(x, shape, run.array("weight"), bias, eps)
        made = F.layer_norm(x, shape, None, None, eps) * run.array("weight")
        return made if bias is None else made + bias

    return function


def _without_ones(value: Array) -> Array:
    """An array without the axes of size 1 in front, which broadcasting adds."""
    while value.ndim > 1 and value.shape[0] == 1:
        value = value[0]
    return value


def rms_norm(call: Call) -> Function:
    """Mean square 1 over the last axes."""
    call.ignore("stash_type")
    axis, eps = int(call.take("axis", -1)), float(call.take("epsilon", 1e-5))
    call.array(1, "weight")
    return lambda run, x, *_: F.rms_norm(x, tuple(x.shape[axis:]), run.array("weight"), eps)


def lp_norm(call: Call) -> Function:
    """Length 1 along an axis."""
    axis, p = int(call.take("axis", -1)), int(call.take("p", 2))
    return lambda run, x: x / torch.linalg.vector_norm(x, p, (axis,), keepdim=True)


def mean_variance(call: Call) -> Function:
    """Mean 0 and variance 1 over some axes."""
    axes = tuple(call.take("axes", [0, 2, 3]))
    if 0 in axes:
        call.refuse("over the batch")

    def function(run: Run, x: Tensor) -> Tensor:
        apart = x - x.mean(axes, keepdim=True)
        return apart / ((apart * apart).mean(axes, keepdim=True).sqrt() + 1e-9)

    return function


def local_response(call: Call) -> Function:
    """Divided by what is in the channels beside."""
    alpha, beta = float(call.take("alpha", 1e-4)), float(call.take("beta", 0.75))
    bias, size = float(call.take("bias", 1.0)), int(call.take("size"))
    return lambda run, x: F.local_response_norm(x, size, alpha, beta, bias)


def prelu(call: Call) -> Function:
    """A slope below zero, for each channel or for all; of any other shape as a choice."""
    slope = call.constant(1).value
    behind = slope.shape[1:] if slope.ndim and slope.size == slope.shape[0] else None
    if slope.size == 1 or (behind is not None and behind):
        call.array(1, "weight", np.ravel)
        by_channel = slope.size > 1

        def function(run: Run, x: Tensor, *_: object) -> Tensor:
            if by_channel and x.dim() != slope.ndim + 1:
                return torch.where(x < 0, x * run.array("weight").reshape(slope.shape), x)
            return F.prelu(x, run.array("weight"))

        return function
    call.array(1, "slope")
    return lambda run, x, *_: torch.where(x < 0, x * run.array("slope"), x)


TABLE: dict[str, Rule] = {
    "BatchNormalization": batch_norm, "InstanceNormalization": instance_norm, "GroupNormalization": group_norm,
    "LayerNormalization": layer_norm, "SimplifiedLayerNormalization": rms_norm, "RMSNormalization": rms_norm,
    "LpNormalization": lp_norm, "MeanVarianceNormalization": mean_variance, "LRN": local_response, "PRelu": prelu,
}  # fmt: skip
