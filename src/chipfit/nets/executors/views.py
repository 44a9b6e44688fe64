"""What moves values, and shares along one axis."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from chipfit.core.graph import Op
from chipfit.nets.executors.forms import Function, always


def _concat(o: Op) -> Function:
    axis = o["axis"] + 1

    def concat(*xs: Tensor) -> Tensor:
        batch = max(len(x) for x in xs)
        # a constant is there once for all inputs; whatever else is there, is there for each of them
        return torch.cat([x if len(x) == batch else x.expand(batch, *x.shape[1:]) for x in xs], axis)

    return concat


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
    pads, value = o["pads"], float(o.get("value") or 0)
    # torch counts from the last axis
    reverse = [v for i in range(len(pads) // 2 - 1, -1, -1) for v in pads[2 * i : 2 * i + 2]]
    if how := o.get("how"):
        mode, behind_channels = {"reflect": "reflect", "edge": "replicate"}[how], reverse[: len(pads) - 2]
        return lambda x: F.pad(x, behind_channels, mode=mode)
    return lambda x: F.pad(x, reverse, value=value)


def _softmax(o: Op) -> Function:
    function = torch.softmax if o.kind == "softmax" else torch.log_softmax
    return partial(function, dim=o["axis"] + 1)


VIEWS: dict[str, Callable[[Op], Function]] = {
    "concat": _concat,
    "flatten": always(partial(torch.flatten, start_dim=1)),
    "reshape": _reshape,
    "transpose": _transpose,
    "slice": _slice,
    "pad": _pad,
    "softmax": _softmax,
    "log_softmax": _softmax,
}
