"""Rules of activations and softmax."""

from __future__ import annotations

import math

import torch

from chipfit.nets.rules.call import Call
from chipfit.nets.rules.tracer import Pending, Rule, Tracer


def plain(kind: str) -> Rule:
    """The rule of an activation without attributes."""

    def rule(t: Tracer, call: Call) -> None:
        t.put(call, kind, (t.value(call),))

    return rule


def gelu(t: Tracer, call: Call) -> None:
    """GELU, exact or by tanh: two functions, 5e-4 apart."""
    approximate = call.take("approximate")
    if approximate not in ("none", "tanh"):
        call.refuse(f"with approximate={approximate!r}")
    t.put(call, "gelu_tanh" if approximate == "tanh" else "gelu", (t.value(call),))


def leaky_relu(t: Tracer, call: Call) -> None:
    """A slope below zero."""
    t.put(call, "leaky_relu", (t.value(call),), slope=float(call.take("negative_slope")))


def clamp(t: Tracer, call: Call) -> None:
    """A value between two ends: relu and relu6 where they are those, else a clip; an end left out is infinite."""
    low = call.take("min_val" if "min_val" in call.values else "min")
    high = call.take("max_val" if "max_val" in call.values else "max")
    if not all(isinstance(v, int | float) or v is None for v in (low, high)):
        call.refuse("between tensors")
    ends = (-math.inf if low is None else float(low), math.inf if high is None else float(high))
    if ends[0] > ends[1]:
        call.refuse(f"from {ends[0]} to {ends[1]}")
    if ends == (0.0, math.inf):
        t.put(call, "relu", (t.value(call),))
    elif ends == (0.0, 6.0):
        t.put(call, "relu6", (t.value(call),))
    else:
        largest = 3.4028234663852886e38  # float32's: files have no infinite bounds
        t.put(call, "clip", (t.value(call),), low=max(ends[0], -largest), high=min(ends[1], largest))


def softmax(kind: str) -> Rule:
    """The rule of softmax or its logarithm, over one axis that is not the batch."""

    def rule(t: Tracer, call: Call) -> None:
        axis = call.axis(int(call.take("dim")))
        call.in_float()
        if call.take("half_to_float", False):
            call.refuse("with half_to_float=True")
        t.put(call, kind, (t.value(call),), axis=axis)

    return rule


def nothing(t: Tracer, call: Call) -> None:
    """An operator without effect in evaluation: dropout, copies."""
    call.ignore("p", "memory_format", "implicit")
    if call.take("train", False) or call.take("training", False):
        call.refuse("while training")
    found = t.operand(call, "input" if "input" in call.values else "self")
    t.known[call.node.name] = found


def cast(t: Tracer, call: Call) -> None:
    """A copy to the type and place that a value has."""
    call.ignore("layout", "device", "pin_memory", "non_blocking", "memory_format", "other")
    found = t.operand(call, "self")
    if call.values.get("dtype") in (torch.int64, torch.int32) and isinstance(found, str):
        call.take("dtype")
        t.known[call.node.name] = Pending(found, "whole")
        return
    call.in_float()
    t.sample_shape(call.node)
    if isinstance(found, Pending) and found.kind == "whole":
        call.refuse("cuts values off, which")
    t.known[call.node.name] = found


def copy(t: Tracer, call: Call) -> None:
    """The values of another tensor, which stand in the place of the first."""
    call.ignore("self", "non_blocking")
    source, shape = t.value(call, "src"), t.sample_shape(call.node)
    if t.shapes[source] != shape:
        call.refuse(f"of a value of shape {t.shapes[source]} into {shape}")
    t.known[call.node.name] = source


def check(t: Tracer, call: Call) -> None:
    """An assertion on metadata that the exporter adds: no value."""
    call.ignore(*call.values)
