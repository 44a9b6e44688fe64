"""Numbers that are learnt in their own unit: what the last layer needs so that the rate means the same in any.

With answers y = Wh, σ the deviation of the targets and the loss |y - t|²/σ², let W = σw: in w the problem has no unit.
A step of SGD in w by the gradient ∂L/∂w = σ ∂L/∂W is one in W that is σ times as long. So the last layer's gradients
are multiplied by σ (clipping then sees those of w), its rate is σ times the others', and its decay, which is of W as
before, 1/σ of theirs. Else answers of millionths make the last layer leap, and those of millions leave it as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from chipfit.core.task import Task
from chipfit.nets.build import GraphModule

VIEWS = frozenset({"flatten", "reshape", "transpose", "identity"})
"""Kinds that leave values what they are, behind the last layer."""


def unit_of(task: Task) -> float:
    """The deviation of the numbers that are learnt; 1 where none are."""
    return float(task.scale**0.5) if task.divergence == "squared" else 1.0


def last_parameters(net: nn.Module, unit: float) -> list[nn.Parameter]:
    """Parameters of the layer whose outputs are the answers; none where these have no unit or are no layer's."""
    if unit == 1.0 or not isinstance(net, GraphModule):
        return []
    o = net.graph[net.graph.output]
    while o.kind in VIEWS:
        o = net.graph[o.inputs[0]]
    return list(net.layer(o).parameters()) if o.kind in ("conv", "linear") else []


def groups(net: nn.Module, weight_decay: float, unit: float = 1.0) -> list[dict[str, object]]:
    """Parameter groups: decay on matrices and kernels, none on biases and norms; `factor` is of the rate."""
    last = {id(p) for p in last_parameters(net, unit)}
    found: list[dict[str, object]] = []
    for own, factor in ((False, 1.0), (True, unit)):
        some = [p for p in net.parameters() if p.requires_grad and (id(p) in last) == own]
        matrices, vectors = [p for p in some if p.ndim > 1], [p for p in some if p.ndim <= 1]
        if some or not own:
            found.append({"params": matrices, "weight_decay": weight_decay / factor, "factor": factor})
            found.append({"params": vectors, "weight_decay": 0.0, "factor": factor})
    return found


def in_unit(last: Sequence[nn.Parameter], unit: float) -> None:
    """Turns the last layer's gradients into those of its weights in the targets' unit."""
    gradients = [p.grad for p in last if p.grad is not None]
    if gradients:
        torch._foreach_mul_(gradients, unit)
