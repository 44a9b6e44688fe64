"""Rules of what has arrays: convolution, dense layer, batch norm, PReLU."""

from __future__ import annotations

import torch

from chipfit.nets.rules.call import Call
from chipfit.nets.rules.constants import Constant
from chipfit.nets.rules.tracer import Tracer


def conv(t: Tracer, call: Call) -> None:
    """A convolution over two axes; padding "same" as the amounts it stands for."""
    x, weight, bias = t.value(call), _weight(t, call), t.constant(call, "bias")
    height, width = weight.value.shape[2:]
    kernel, dilation = (int(height), int(width)), call.pair("dilation", 1)
    padding = _padding(call, kernel, dilation)
    stride, groups = call.pair("stride", 1), int(call.take("groups"))
    t.layer(
        call, "conv", (x,), _arrays(weight, bias), t.owner(call, weight, "weight"), kernel=kernel, stride=stride,
        padding=padding, dilation=dilation, groups=groups, bias=int(bias is not None),
    )  # fmt: skip


def _padding(call: Call, kernel: tuple[int, int], dilation: tuple[int, int]) -> tuple[int, int]:
    if call.values["padding"] not in ("same", "valid"):
        return call.pair("padding")
    if call.take("padding") == "valid":
        return (0, 0)
    height, width = (d * (k - 1) for d, k in zip(dilation, kernel, strict=True))
    if height % 2 or width % 2:
        call.refuse("pads an even kernel to 'same', which is not symmetric and")
    return height // 2, width // 2


def linear(t: Tracer, call: Call) -> None:
    """A dense layer on the last axis."""
    x, weight, bias = t.value(call), _weight(t, call), t.constant(call, "bias")
    t.layer(call, "linear", (x,), _arrays(weight, bias), t.owner(call, weight, "weight"), bias=int(bias is not None))


def batch_norm(t: Tracer, call: Call) -> None:
    """Batch norm with its running statistics; one without scale and shift gets those of 1 and 0."""
    call.ignore("momentum", "training")  # of training, which has its own; this operator is that of evaluation
    mean, variance = t.constant(call, "running_mean"), t.constant(call, "running_var")
    if mean is None or variance is None:
        unkept(t, call)
    assert mean is not None
    assert variance is not None
    weight, bias = t.constant(call, "weight"), t.constant(call, "bias")
    arrays = {
        "weight": weight or Constant(torch.ones_like(mean.value), "ones", f"ones {mean.source}"),
        "bias": bias or Constant(torch.zeros_like(mean.value), "zeros", f"zeros {mean.source}"),
        "running_mean": mean,
        "running_var": variance,
    }
    owner = t.owner(call, mean, "running_mean")
    t.layer(call, "batch_norm", (t.value(call),), arrays, owner, eps=float(call.take("eps")))
    t.parts[call.node.name] = [t.known[call.node.name]]


def unkept(t: Tracer, call: Call) -> None:
    """A norm by the batch's own statistics."""
    call.refuse("keeps no running statistics (set track_running_stats=True) or normalises by those of the batch, which")


def prelu(t: Tracer, call: Call) -> None:
    """A slope for each channel, or one for all."""
    slope = t.constant(call, "weight")
    assert slope is not None
    single = slope.value.numel() == 1
    t.layer(call, "prelu", (t.value(call),), {"weight": slope}, t.owner(call, slope, "weight"), single=int(single))


def _weight(t: Tracer, call: Call) -> Constant:
    weight = t.constant(call, "weight")
    assert weight is not None
    return weight


def _arrays(weight: Constant, bias: Constant | None) -> dict[str, Constant]:
    return {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
