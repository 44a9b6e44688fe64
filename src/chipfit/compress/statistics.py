"""Each channel of a compressed network gets back the mean and the spread it had in the original.

With m, s the mean and standard deviation of a channel in the original and μ, σ those in the compressed network, the
batch norm (or, where there is none, the layer's weight and bias) that makes the channel is changed so that

    r = s / σ,      y ← r (y - μ) + m,

layer by layer, each one seeing what the corrected ones before it make. It matches the original and not the data, so
that a domain shift does no harm (re-estimating batch norm alone lost accuracy on shifted data).

Batch norms are left with the *true* statistics of their inputs, so that training goes on from the same function:
evaluation and training mode agree on these inputs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chipfit.compress.forward import affordable, batch
from chipfit.compress.moments import Moments, affine, matching, moments, set_affine
from chipfit.compress.pair import Original, Pair
from chipfit.core.channels import array_axis
from chipfit.core.edits import Edit
from chipfit.core.graph import LAYERS, Graph, Network, Op
from chipfit.space.edits import edited

MEMORY_MB = 1500.0
"""For the values of the inputs that are walked at once."""


def adjustable(graph: Graph) -> frozenset[str]:
    """Operators whose output can be shifted and scaled: batch norms, and layers with a bias and no batch norm behind.

    Those that share their weights are left out, since one change would not suit all their uses.
    """

    def free(o: Op) -> bool:
        if o.name in graph.sharing:
            return False
        if o.kind not in LAYERS:
            return o.kind == "batch_norm"
        normed = any(graph[u].kind == "batch_norm" for u in graph.users[o.name])
        return bool(o["bias"]) and not normed

    return frozenset(o.name for o in graph if free(o))


def adjust(pair: Pair, o: Op) -> Tensor | None:
    """Changes a batch norm or layer so that its output has the moments it should have.

    That output where it comes of it: of a layer, whose output has to be computed to see what is wrong with it.
    """
    weights, wanted = pair.weights, pair.goal_moments(o.name)
    if o.kind == "batch_norm":
        seen = moments(pair.small.values[o.inputs[0]])
        f, c = affine(weights, o)
        r, shift = matching(Moments(f * seen.mean + c, f**2 * seen.var), wanted)
        set_affine(weights, o, f * r, c * r + shift, seen)
        return None
    made, axis = pair.small.evaluate(o), array_axis(o)
    seen = moments(made, axis)
    r, shift = matching(seen, wanted)
    if o in pair.grids:  # another scale would take its weights off their grid
        r, shift = torch.ones_like(r), shift + (r - 1) * seen.mean
    weight, bias = weights[o.array("weight")], weights[o.array("bias")]
    weight.mul_(r.float().view(-1, *(1,) * (weight.ndim - 1)))
    bias.copy_(bias * r + shift)
    along = (-1, *(1,) * (made.ndim - axis - 2))
    return made.mul_(r.float().view(along)).add_(shift.float().view(along))


@torch.inference_mode()
def correct(original: Network, small: Network, edits: Sequence[Edit], inputs: NDArray[np.float32]) -> Network:
    """The compressed network with each channel's statistics as in the original, from normalised inputs (n, C, H, W)."""
    x = batch(inputs[: affordable(original.graph, MEMORY_MB / 2)])
    pair = Pair(Original(original, x), small, edited(original.graph, edits))
    ops = adjustable(small.graph) & pair.of.keys()
    pair.original.want((), moments=(pair.of[name] for name in ops))
    for o in small.graph.ops[1:]:
        made = adjust(pair, o) if o.name in ops else None
        if made is None:
            pair.small.step(o)
        else:
            pair.small.put(o, made)
    return pair.network()
