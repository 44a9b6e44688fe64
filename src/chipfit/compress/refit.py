"""Every layer of a compressed network solved anew against the original, in order, without labels or gradients.

In topological order each convolution and dense layer is fitted to what it should compute given what it now reads:

    W = argmin  Σ ‖ z(W u) - z* ‖² / n  +  λ ‖W - W_now‖²,      λ = 0.01 · mean diag of the covariance of u

with u patches of the *compressed* network's inputs at random pixels and z* the original's value at the same pixels, so
that the errors of the layers before are made good as far as they can be (R7's sequential refit; Li et al. 2017 and
He et al. 2017 for pruning). Three things make it better than the plain least squares, each measured on ResNet-20:

* z is what comes after batch norm and, in a residual block, after the addition: the last layer of a body also makes
  good the error that its shortcut carries;
* relu is taken into account (Zhang et al. 2016, eq. 5-7, the relaxed form): where both the goal and the present answer
  are negative there is no error, and where the goal alone is negative, zero is enough. The targets are moved
  accordingly and the solution repeated, which costs little, its factorised matrix being the same;
* a free intercept, which lands in the batch norm or the bias.

Channels that no layer is fitted for (depth-wise convolutions, shared layers) get their statistics back instead
(`statistics`), and every batch norm ends with the true statistics of its inputs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chipfit.compress.forward import affordable, batch
from chipfit.compress.hessian import WIDEST, consumers, fan_in, outputs, patches, pixels
from chipfit.compress.pair import Pair
from chipfit.compress.statistics import MEMORY_MB, adjust, adjustable, affine, moments, set_affine
from chipfit.core.edits import Edit
from chipfit.core.graph import Graph, Network, Op

RIDGE = 0.01
ROWS_PER_COLUMN = 60
MOST_VALUES = 6.4e7
"""Values in all sampled patches of one layer (256 MB)."""

ROUNDS = 3
"""Solutions with targets moved for the relu."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A layer and what follows it alone: batch norm, an addition, an activation (each or none)."""

    layer: Op
    norm: Op | None
    add: Op | None
    relu: Op | None

    @property
    def end(self) -> Op:
        """The operator whose output is fitted."""
        return self.add or self.norm or self.layer

    @property
    def other(self) -> str:
        """The addition's other input."""
        assert self.add is not None
        mine = (self.norm or self.layer).name
        return next(i for i in self.add.inputs if i != mine)


def chain(graph: Graph, o: Op, known: Sequence[str] | set[str]) -> Chain:
    """The chain of a layer when the values `known` have been computed."""
    uses = Counter(p.weights for p in graph)

    def only(name: str, kinds: tuple[str, ...]) -> Op | None:
        users = graph.users[name]
        user = graph[users[0]] if len(users) == 1 and name != graph.output else None
        return user if user is not None and user.kind in kinds else None

    norm = only(o.name, ("batch_norm",))
    if norm is not None and uses[norm.weights] > 1:
        return Chain(o, None, None, None)
    at = (norm or o).name
    add = only(at, ("add",))
    if add is not None and (len(set(add.inputs)) < 2 or not {i for i in add.inputs if i != at} <= set(known)):
        add = None
    if add is not None and any(graph[i].shape != add.shape for i in add.inputs):
        add = None
    end = (add or norm or o).name
    blocked = add is None and only(at, ("add",)) is not None
    return Chain(o, norm, add, None if blocked else only(end, ("relu", "relu6")))


@dataclass(frozen=True, slots=True)
class Rows:
    """One fit: patches u (rows, d), goal z* (rows, O) of z = f·(W u) + c, with f (O,) and c (O,) or (rows, O)."""

    u: Tensor
    goal: Tensor
    f: Tensor
    c: Tensor


def solve(rows: Rows, prior: Tensor, intercept: bool, relu: bool) -> tuple[Tensor, Tensor]:
    """W (O, d) and intercept (O,) of the fit, both float64; `prior` (O, d) is what the ridge holds on to."""
    mean = rows.u.mean(0) if intercept else torch.zeros(rows.u.shape[1])
    u = rows.u - mean
    gram = (u.T @ u).double() / len(u)
    ridge = RIDGE * float(gram.diagonal().mean()) or 1.0
    factor = torch.linalg.cholesky(gram + ridge * torch.eye(len(gram), dtype=torch.float64))
    wanted = (rows.goal - rows.c) / rows.f
    target = wanted
    for repeat in range(1 + (ROUNDS if relu else 0)):
        centre = target.mean(0) if intercept else torch.zeros(target.shape[1])
        moment = (u.T @ (target - centre)).double() / len(u)
        w = torch.cholesky_solve(moment + ridge * prior.T, factor).T
        if relu and repeat < ROUNDS:
            present = u @ w.float().T + centre
            answered = rows.f * present + rows.c
            zero = torch.where(answered < 0, present, -rows.c / rows.f)
            target = torch.where(rows.goal < 0, zero, wanted)
    return w, centre.double() - w @ mean.double()


@torch.inference_mode()
def refit(
    original: Network,
    small: Network,
    edits: Sequence[Edit],
    inputs: NDArray[np.float32],
    rng: np.random.Generator,
) -> Network:
    """The compressed network, solved layer by layer to answer like the original.

    Args:
        original: the network before the edits.
        small: the network after them, best from `profile.stitch`.
        edits: what was done.
        inputs: some 1,000 normalised unlabelled inputs (n, C, H, W).
        rng: draws the pixels.
    """
    graph = small.graph
    uses = Counter(o.weights for o in graph)
    layers = {o.name for o in consumers(graph) if uses[o.weights] == 1 and fan_in(graph, o) <= WIDEST}
    free = {o.name for o in adjustable(graph)}
    x = batch(inputs[: affordable(original.graph, MEMORY_MB / 2)])
    pair = Pair(original, small, edits, x, {o.name for o in graph})
    fitted: set[str] = set()
    for o in graph.ops[1:]:
        if o.name in layers:
            c = chain(graph, o, set(pair.small.values))
            if _fit(pair, c, rng):
                fitted |= {o.name} | ({c.norm.name} if c.norm else set())
        if o.name in free:
            source, y = pair.small.values[o.inputs[0]], pair.small.evaluate(o)
            if o.name not in fitted:
                adjust(pair.weights, o, source, y, moments(pair.goal(o.name)))
            elif o.kind == "batch_norm":
                set_affine(pair.weights, o, *affine(pair.weights, o), moments(source))
        pair.small.step(o)
    return pair.network()


def _fit(pair: Pair, c: Chain, rng: np.random.Generator) -> bool:
    """Solves one layer; False where its outputs have no effect that could be fitted."""
    o, x = c.layer, pair.small.values[c.layer.inputs[0]]
    d = fan_in(pair.graph, o)
    at = pixels(o, len(x), min(ROWS_PER_COLUMN * d, int(MOST_VALUES / d)), rng)
    f, shift = affine(pair.weights, c.norm) if c.norm else (torch.ones(o.shape[0]).double(), torch.zeros(1).double())
    alive = f.abs() > 1e-4 * f.abs().max()
    if not alive.any():
        return False
    other = 0.0 if c.add is None else outputs(pair.small.values[c.other], at)
    safe = torch.where(alive, f, 1.0).float()
    rows = Rows(patches(o, x, at), outputs(pair.goal(c.end.name), at), safe, shift.float() + other)
    weight = pair.weights[f"{o.weights}.weight"]
    intercept = c.norm is not None or bool(o["bias"])
    w, b = solve(rows, weight.flatten(1).double(), intercept, c.relu is not None)
    weight.copy_(torch.where(alive[:, None], w, weight.flatten(1).double()).reshape(weight.shape))
    if o["bias"]:
        bias = pair.weights[f"{o.weights}.bias"]
        bias.copy_(torch.where(alive, b, bias.double()))
    elif c.norm is not None:
        mean = pair.weights[f"{c.norm.weights}.running_mean"]
        mean.sub_(torch.where(alive, b, 0.0).float())
    return True
