"""Norms, and scales and shifts."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from chipfit.core.graph import Op
from chipfit.nets.executors.forms import Arrays, LayerFunction, along, if_there


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


def _layer_norm(o: Op) -> LayerFunction:
    shape, eps = o.shape[-o["axes"] :], o["eps"]
    return lambda arrays, x: F.layer_norm(x, shape, if_there(o, "weight", arrays), if_there(o, "bias", arrays), eps)


def _rms_norm(o: Op) -> LayerFunction:
    axes, eps = tuple(range(-o["axes"], 0)), o["eps"]

    def norm(arrays: Arrays, x: Tensor) -> Tensor:
        y = x * torch.rsqrt(x.square().mean(axes, keepdim=True) + eps)
        return y * arrays("weight") if o["weight"] else y

    return norm


def _group_norm(o: Op) -> LayerFunction:
    groups, eps = o["groups"], o["eps"]
    return lambda arrays, x: F.group_norm(x, groups, if_there(o, "weight", arrays), if_there(o, "bias", arrays), eps)


def _instance_norm(o: Op) -> LayerFunction:
    eps = o["eps"]

    def norm(arrays: Arrays, x: Tensor) -> Tensor:
        weight, bias = if_there(o, "weight", arrays), if_there(o, "bias", arrays)
        return F.instance_norm(x, weight=weight, bias=bias, eps=eps)

    return norm


NORMS: dict[str, Callable[[Op], LayerFunction]] = {
    "batch_norm": _batch_norm,
    "affine": _affine,
    "prelu": _prelu,
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
}
