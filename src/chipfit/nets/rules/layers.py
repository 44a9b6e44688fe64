"""Rules of what has arrays: convolution, dense layer, batch norm, PReLU."""

from __future__ import annotations

import torch

from chipfit.nets.rules.call import Call
from chipfit.nets.rules.constants import Constant
from chipfit.nets.rules.layout import FIRST
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
    call.axis(-1)
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
    x, eps = t.value(call), float(call.take("eps"))
    if call.layout == FIRST:
        t.layer(call, "batch_norm", (x,), arrays, owner, eps=eps)
    else:
        t.known[call.node.name] = _norm_of_rows(t, call, x, arrays, owner, eps)
    t.parts[call.node.name] = [t.known[call.node.name]]


def _norm_of_rows(t: Tracer, call: Call, x: str, arrays: dict[str, Constant], owner: str, eps: float) -> str:
    """A batch norm of rows (batch · n, C, ...), whose channels are those of (n, C, ...), with these first and back."""
    if call.layout.axis != 0 or call.layout.merged == 1:
        call.refuse("with the batch at another axis than the first, which")
    rows, channels, *rest = t.shapes[x]
    perm, shape = (1, 0, *range(2, 2 + len(rest))), (channels, rows, *rest)
    turned = t.add(t.wish(call, "transpose"), "transpose", (x,), shape, perm=perm)
    norm = t.shared(call, "batch_norm", (turned,), shape, arrays, owner, eps=eps)
    return t.add(t.wish(call, "transpose"), "transpose", (norm,), t.shapes[x], perm=perm)


def unkept(t: Tracer, call: Call) -> None:
    """A norm by the batch's own statistics."""
    call.forbid("keeps no running statistics (set track_running_stats=True) or normalises by those of the batch, which")


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
