"""Rules of norms by the statistics of each input: layer, RMS, group and instance norm."""

from __future__ import annotations

import torch

from chipfit.core.graph import Attr
from chipfit.nets.rules.call import Call, shape_of
from chipfit.nets.rules.constants import Constant
from chipfit.nets.rules.tracer import Rule, Tracer


def layer_norm(t: Tracer, call: Call) -> None:
    """Mean 0 and variance 1 over the last axes."""
    call.ignore("cudnn_enable")
    axes = len(call.take("normalized_shape"))
    _behind_the_batch(call, axes)
    _norm(t, call, "layer_norm", axes=axes, eps=float(call.take("eps")))
    t.parts[call.node.name] = [t.known[call.node.name]]


def rms_norm(t: Tracer, call: Call) -> None:
    """Mean square 1 over the last axes; an eps that is left out is the least step of float32 above 1."""
    axes, eps = len(call.take("normalized_shape")), call.take("eps")
    _behind_the_batch(call, axes)
    eps = torch.finfo(torch.float32).eps if eps is None else float(eps)
    _norm(t, call, "rms_norm", axes=axes, eps=eps)


def group_norm(t: Tracer, call: Call) -> None:
    """Mean 0 and variance 1 over groups of channels and all places."""
    call.ignore("cudnn_enabled", "N", "C", "HxW")
    groups = int(call.take("num_groups" if "num_groups" in call.values else "group"))
    _norm(t, call, "group_norm", groups=groups, eps=float(call.take("eps")))
    t.parts[call.node.name] = [t.known[call.node.name]]


def instance_norm(t: Tracer, call: Call) -> None:
    """Mean 0 and variance 1 of each channel by its own places."""
    call.ignore("momentum", "cudnn_enabled", "running_mean", "running_var")
    if not call.take("use_input_stats"):
        call.refuse("by running statistics")
    if len(shape_of(call.node)) < 3:
        call.refuse("without places")
    _norm(t, call, "instance_norm", eps=float(call.take("eps")))


def _behind_the_batch(call: Call, axes: int) -> None:
    """Refuses a norm over an axis that holds the batch."""
    rank = len(call.shape)
    if rank - axes <= call.layout.axis:
        call.refuse("over an axis that holds the batch")


def _norm(t: Tracer, call: Call, kind: str, **attrs: Attr) -> None:
    weight = t.constant(call, "weight")
    bias = t.constant(call, "bias") if "bias" in call.values else None
    arrays = {role: array for role, array in (("weight", weight), ("bias", bias)) if array is not None}
    there = {"weight": int(weight is not None), "bias": int(bias is not None)}
    x = t.value(call)
    if arrays:
        t.layer(call, kind, (x,), arrays, _prefix(t, call, arrays), **there, **attrs)
    else:
        t.put(call, kind, (x,), **there, **attrs)


def _prefix(t: Tracer, call: Call, arrays: dict[str, Constant]) -> str:
    role, array = next(iter(arrays.items()))
    return t.owner(call, array, role)


TABLE: dict[str, Rule] = {
    "layer_norm": layer_norm, "native_layer_norm": layer_norm, "rms_norm": rms_norm,
    "group_norm": group_norm, "native_group_norm": group_norm, "instance_norm": instance_norm,
}  # fmt: skip
