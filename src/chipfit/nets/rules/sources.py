"""Constants as values of the graph: where an operator reads one in the place of a value."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, fx

from chipfit.nets.program import BATCH
from chipfit.nets.rules.call import Call, part_name, shape_of
from chipfit.nets.rules.constants import Constant, once
from chipfit.nets.rules.layout import FIRST
from chipfit.nets.rules.tracer import Rule, Tracer


def source(t: Tracer, call: Call, constant: Constant, shape: tuple[int, ...]) -> str:
    """The operator that holds a constant, in a shape of its own without the batch: ones where it is broadcast.

    Its array is the parameter's where it is one, so that what the model ties stays tied.
    """
    value = constant.value
    if value.is_complex() or not bool(value.isfinite().all()):
        call.refuse(f"with constant '{constant.name}' that is not finite")
    array = replace(constant, value=value.float().reshape(shape))
    prefix = constant.name.rsplit(".", 1)[0] if constant.learnt else part_name(call, "constant")
    return t.shared(call, "constant", (), shape, {"value": array}, prefix, learnt=int(constant.learnt))


def held(t: Tracer, call: Call, node: fx.Node) -> str:
    """The operator that holds a value which a rule reads; of a constant, one that is made here."""
    found = t.known[node.name]
    if not isinstance(found, Constant):
        return t.stands_for(call, node)
    kept, _ = once(found, BATCH)
    if kept is None:
        call.refuse(f"with '{found.name}', which differs from input to input by its place in the batch,")
    value: Tensor | None = kept.value
    if call.layout != FIRST:
        value = call.layout.constant(kept.value, len(shape_of(node)))
    if value is None or value.dim() == 0 or value.shape[0] != 1:
        call.refuse(f"with constant '{found.name}' along the axis of the batch")
    return source(t, call, kept, tuple(value.shape[1:]))


def scaled(t: Tracer, call: Call, x: str, factor: float) -> str:
    """The name of an operator, a part of a call, that multiplies a value by a number."""
    arrays = {"scale": Constant(torch.tensor([factor]), str(factor))}
    prefix = part_name(call, "scale")
    return t.shared(call, "affine", (x,), t.shapes[x], arrays, prefix, scale=1, shift=0, single=1, learnt=0)


def filled(t: Tracer, call: Call) -> None:
    """A new tensor of one number, of a size without the batch: x.new_zeros(h, w) reads of x no more than its type."""
    call.ignore("self", "pin_memory", "device", "layout")
    size, number = [int(n) for n in call.take("size")], 0.0 if call.name == "new_zeros" else 1.0
    if call.name == "new_full":
        number = float(call.take("fill_value"))
    if any(n % BATCH == 0 for n in size):
        call.refuse("of the size of the batch")
    dtype = call.take("dtype") or torch.float32
    t.known[call.node.name] = Constant(torch.full(size, number, dtype=dtype), call.name)


def like(t: Tracer, call: Call) -> None:
    """A tensor of one number in the shape of another, of which no more than that is read."""
    call.ignore("self", "pin_memory", "device", "layout", "memory_format")
    number = {"zeros_like": 0.0, "ones_like": 1.0}.get(call.name)
    number = float(call.take("fill_value")) if number is None else number
    dtype = call.take("dtype") or torch.float32
    value = torch.full((), number, dtype=dtype).expand(shape_of(call.node))
    t.known[call.node.name] = Constant(value, call.name)


def changed(constant: Constant, value: Tensor, how: str) -> Constant:
    """A constant that is computed of another: no longer the parameter's own, though equal wherever it is made so."""
    name = f"{how} of {constant.source}" if constant.source else ""
    return replace(constant, value=value, source=name)


TABLE: dict[str, Rule] = {
    "new_zeros": filled, "new_ones": filled, "new_full": filled, "zeros_like": like, "ones_like": like,
    "full_like": like,
}  # fmt: skip
