"""Each channel of a compressed network gets back the mean and the spread it had in the original.

With m, s the mean and standard deviation of a channel in the original and μ, σ those in the compressed network, the
batch norm (or, where there is none, the layer's weight and bias) that makes the channel is changed so that

    r = s / σ,      y ← r (y - μ) + m,

layer by layer, each one seeing what the corrected ones before it make. It matches the original and not the data's
labels, so that a domain shift does no harm (re-estimating batch norm alone lost accuracy on shifted data).

Batch norms are left with the *true* statistics of their inputs, so that training goes on from the same function:
evaluation and training mode agree on these inputs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chipfit.compress.forward import Tensors, affordable, batch
from chipfit.compress.pair import Pair
from chipfit.core.edits import Edit
from chipfit.core.graph import Graph, Network, Op

LARGEST = 8.0
"""Limit of r: a channel that all but died must not come back as noise."""

MEMORY_MB = 1500.0


@dataclass(frozen=True, slots=True)
class Moments:
    """Mean and (biased) variance of each channel, (C,) float64."""

    mean: Tensor
    var: Tensor


def moments(y: Tensor) -> Moments:
    """Over inputs and pixels of (n, C) or (n, C, H, W)."""
    var, mean = torch.var_mean(y, [d for d in range(y.ndim) if d != 1], correction=0)
    return Moments(mean.double(), var.double())


def adjustable(graph: Graph) -> tuple[Op, ...]:
    """Operators whose output can be shifted and scaled: batch norms, and layers with a bias and no batch norm behind.

    Those that share their weights are left out, since one change would not suit all their uses.
    """
    uses = Counter(o.weights for o in graph)

    def free(o: Op) -> bool:
        if not o.weights or uses[o.weights] > 1:
            return False
        if o.kind == "batch_norm":
            return True
        normed = any(graph[u].kind == "batch_norm" for u in graph.users[o.name])
        return bool(o["bias"]) and not normed and len(o.shape) in (1, 3)

    return tuple(o for o in graph if free(o))


def affine(weights: Mapping[str, Tensor], o: Op) -> tuple[Tensor, Tensor]:
    """(C,) float64 factor f and offset c of a batch norm in evaluation: y = f x + c."""
    gamma, beta, mean, var = (
        weights[f"{o.weights}.{n}"].double() for n in ("weight", "bias", "running_mean", "running_var")
    )
    f = gamma / torch.sqrt(var + o["eps"])
    return f, beta - f * mean


def set_affine(weights: Tensors, o: Op, f: Tensor, c: Tensor, seen: Moments) -> None:
    """Makes the batch norm compute y = f x + c, with what it has seen as its running statistics."""
    for name, value in (
        ("weight", f * torch.sqrt(seen.var + o["eps"])),
        ("bias", c + f * seen.mean),
        ("running_mean", seen.mean),
        ("running_var", seen.var),
    ):
        weights[f"{o.weights}.{name}"].copy_(value)


def matching(now: Moments, wanted: Moments) -> tuple[Tensor, Tensor]:
    """(C,) factor and offset that give a value with moments `now` the wanted ones."""
    r = torch.sqrt(wanted.var / now.var.clamp_min(1e-12)).clamp(1 / LARGEST, LARGEST)
    return r, wanted.mean - r * now.mean


def adjust(weights: Tensors, o: Op, x: Tensor, y: Tensor, wanted: Moments) -> None:
    """Changes the operator, which makes `y` of `x` now, so that its output has the wanted moments."""
    r, shift = matching(moments(y), wanted)
    if o.kind == "batch_norm":
        f, c = affine(weights, o)
        set_affine(weights, o, f * r, c * r + shift, moments(x))
    else:
        weight, bias = weights[f"{o.weights}.weight"], weights[f"{o.weights}.bias"]
        weight.mul_(r.float().view(-1, *(1,) * (weight.ndim - 1)))
        bias.copy_(bias * r + shift)


@torch.inference_mode()
def correct(original: Network, small: Network, edits: Sequence[Edit], inputs: NDArray[np.float32]) -> Network:
    """The compressed network with each channel's statistics as in the original, from normalised inputs (n, C, H, W)."""
    ops = {o.name for o in adjustable(small.graph)}
    x = batch(inputs[: affordable(original.graph, MEMORY_MB / 2)])
    pair = Pair(original, small, edits, x, ops)
    for o in small.graph.ops[1:]:
        if o.name in ops:
            source = pair.small.values[o.inputs[0]]
            y = pair.small.evaluate(o)
            adjust(pair.weights, o, source, y, moments(pair.goal(o.name)))
        pair.small.step(o)
    return pair.network()
