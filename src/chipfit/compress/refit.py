"""Every layer of a compressed network solved anew against the original, in order, without labels or gradients.

In topological order each convolution and dense layer is fitted to what it should compute given what it now reads:

    W = argmin  Σ ‖ z(W u) - z* ‖² / n  +  λ ‖W - W_now‖²,      λ = 0.01 · mean variance of u

with u patches of the *compressed* network's inputs at random pixels and z* the original's value at the same pixels, so
that the errors of the layers before are made good as far as they can be (He et al. 2017, section 3.1, for pruning).
Three things make it better than plain least squares, each measured on ResNet-20 with half its inner channels:

* z is what comes after batch norm and, in a residual block, after the addition: the last layer of a body also makes
  good the error that its shortcut carries, and a layer before skipped blocks absorbs what it can of them (`pair`);
* relu is taken into account (Zhang et al. 2016, section 3.2, the relaxed form): where both the goal and the present
  answer are negative there is no error, and where the goal alone is negative, zero is enough. The targets are moved
  accordingly and the solution repeated, which costs little, its factorised matrix being the same;
* the intercept is free; it lands in the batch norm or the bias.

Pruned kernels are solved within their patterns, and fixed-point weights end on their grid (`held`).

Channels that no layer is fitted for (depth-wise convolutions, shared layers) get their statistics back instead
(`statistics`), and every batch norm ends with the true statistics of its inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chipfit.compress.forward import affordable, batch
from chipfit.compress.held import free_places
from chipfit.compress.hessian import WIDEST, consumers, fan_in, flat, outputs, patches, pixels, unflat
from chipfit.compress.moments import affine, moments, set_affine
from chipfit.compress.pair import Original, Pair, shortcuts_first
from chipfit.compress.statistics import MEMORY_MB, adjust, adjustable
from chipfit.compress.within import solved_within
from chipfit.core.channels import array_axis
from chipfit.core.deadline import Deadline
from chipfit.core.edits import Edit
from chipfit.core.graph import Graph, Network, Op
from chipfit.space.edits import edited

RIDGE = 0.01
"""λ as a share of the mean variance of a patch's values."""

FEWEST_ROWS = 2000
"""Patches of a layer with few columns."""

NEVER = Deadline.never()

MOST_VALUES = 6.4e7
"""Values in all sampled patches of one layer (256 MB)."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is spent on a repair.

    Layers are fitted on `rows_per_column` patches for each column of their weight, drawn from the first `inputs`
    (None: all), with `rounds` more solutions for the relu; only the first `layers` that are met are fitted (None: all),
    those behind them get their statistics back. Those of more columns than `widest` get only that, too: solving for a
    layer of d columns takes some d³ operations. Without `honest`, batch norms of fitted layers keep statistics that
    are not those of their inputs: the network may be scored, but not trained.
    """

    rows_per_column: int = 60
    rounds: int = 3
    inputs: int | None = None
    layers: int | None = None
    honest: bool = True
    widest: int | None = None


def solved_for(graph: Graph, names: Collection[str], effort: Effort, goals: Collection[str]) -> dict[str, Chain]:
    """The layers among these operators that a repair solves for, first those that are computed first.

    `goals` are the operators that have something to be held against (`Edited.stands_for`).
    """
    order = shortcuts_first(graph)
    layers = {name: chain for name, chain in chains(graph, order).items() if name in goals}
    if effort.widest is None:
        return layers
    narrow = [o.name for o in order if o.name in layers and o.name in names and fan_in(graph, o) <= effort.widest]
    return {name: layers[name] for name in narrow[: effort.layers]}


@dataclass(frozen=True, slots=True)
class Chain:
    """A layer and what follows it alone: batch norm, an addition of a value that is known, a relu (each or none)."""

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


def chains(graph: Graph, order: Sequence[Op]) -> dict[str, Chain]:
    """The chain of each layer that can be fitted, when operators are computed in this order."""
    place = {o.name: n for n, o in enumerate(order)}

    def follower(o: Op, *kinds: str) -> Op | None:
        users = graph.users[o.name]
        user = graph[users[0]] if len(users) == 1 and o.name != graph.output else None
        return user if user is not None and user.kind in kinds else None

    found = {}
    for o in consumers(graph):
        if o.name in graph.sharing or fan_in(graph, o) > WIDEST:
            continue
        norm = follower(o, "batch_norm")
        if norm is not None and array_axis(norm) != array_axis(o):
            norm = None
        if norm is not None and norm.name in graph.sharing:
            continue
        last = norm or o
        add = follower(last, "add")
        if add is not None and not _known(graph, add, last, place):
            add = None
        found[o.name] = Chain(o, norm, add, follower(add or last, "relu", "relu6"))
    return found


def _known(graph: Graph, add: Op, last: Op, place: dict[str, int]) -> bool:
    """True where the other input of an addition is computed before the layer's own, and adds without broadcast."""
    others = [i for i in add.inputs if i != last.name]
    return len(others) == 1 and place[others[0]] < place[last.name] and graph[others[0]].shape == last.shape


@dataclass(frozen=True, slots=True)
class Rows:
    """One fit: patches u (rows, d) and goal z* (rows, O) of z = f·(W u) + c, with f (O,) and c (O,) or (rows, O)."""

    u: Tensor
    goal: Tensor
    f: Tensor
    c: Tensor


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a solution may be: zero outside of `free` (O, d), if it is given, and at last as `settled` makes it.

    `settled` takes the solution (O, d) and the second moments (d, d) of what the layer reads.
    """

    free: Tensor | None = None
    settled: Callable[[Tensor, Tensor], Tensor] = lambda w, _: w


def solve(
    rows: Rows, prior: Tensor, *, intercept: bool, rounds: int, within: Bounds | None = None
) -> tuple[Tensor, Tensor]:
    """W (O, d) and intercept (O,) of the fit, float64; `prior` (O, d) is what the ridge holds on to.

    `rounds` more solutions take a relu behind z into account.
    """
    bounds = within or Bounds()
    mean = rows.u.mean(0) * int(intercept)
    u = rows.u - mean
    gram = (u.T @ u).double() / len(u)
    ridge = max(RIDGE * float(gram.diagonal().mean()), 1e-12)
    gram = gram + ridge * torch.eye(len(gram), dtype=torch.float64, device=gram.device)
    step = _stepping(gram, bounds.free)
    target = wanted = (rows.goal - rows.c) / rows.f
    w, answer = prior, u @ prior.float().T
    for left in range(rounds, -1, -1):
        # the step from the present solution, and not the solution itself, is what single precision gets right
        missing = target - answer
        moment = (u.T @ (missing - missing.mean(0) * int(intercept))).double() / len(u)
        w = w + step(moment.T + ridge * (prior - w))
        centre = target.mean(0) * int(intercept)
        if left:
            answer = u @ w.float().T
            zero = torch.where(rows.f * (answer + centre) + rows.c < 0, answer + centre, -rows.c / rows.f)
            target = torch.where(rows.goal < 0, zero, wanted)
    w = bounds.settled(w, gram)
    return w, centre.double() - w @ mean.double()


def _stepping(gram: Tensor, free: Tensor | None) -> Callable[[Tensor], Tensor]:
    """What solves for a step (O, d), given its right side, with H = `gram`."""
    if free is not None:
        return lambda right: solved_within(gram, right, free)
    factor = torch.linalg.cholesky(gram)
    return lambda right: torch.cholesky_solve(right.T, factor).T


@torch.inference_mode()
def refit(
    original: Network,
    small: Network,
    edits: Sequence[Edit],
    inputs: NDArray[np.float32],
    rng: np.random.Generator,
    effort: Effort = Effort(),
    deadline: Deadline | None = None,
) -> Network:
    """The compressed network, solved layer by layer to answer like the original.

    Args:
        original: the network before the edits.
        small: the network after them, best from `profile.stitch`.
        edits: what was done.
        inputs: some 1,000 normalised unlabelled inputs (n, C, H, W).
        rng: draws the pixels.
        effort: how much is spent on it.
        deadline: no layer is solved for after it; those behind get their statistics back.
    """
    x = batch(inputs[: affordable(original.graph, MEMORY_MB / 2)])
    pair = Pair(Original(original, x), small, edited(original.graph, edits))
    pair.original.want(pair.of.values())
    fit(pair, small.graph.ops[1:], effort, rng, deadline or NEVER)
    return pair.network()


def fit(pair: Pair, ops: Collection[Op], effort: Effort, rng: np.random.Generator, deadline: Deadline = NEVER) -> None:
    """Walks these operators of the compressed network, fitting the layers and correcting the statistics on the way.

    The values that they read of others must be there.
    """
    names, order = {o.name for o in ops}, shortcuts_first(pair.graph)
    layers, free = solved_for(pair.graph, names, effort, pair.of), adjustable(pair.graph) & pair.of.keys()
    fitted: set[str] = set()
    left = len(layers) if effort.layers is None else effort.layers
    for o in order:
        if o.name not in names:
            continue
        chain = layers.get(o.name)
        if chain is not None and left and not deadline.passed() and _fit(pair, chain, effort, rng):
            fitted |= {p.name for p in (o, chain.norm) if p is not None}
            left -= 1
        made = None
        if o.name in free and o.name not in fitted:
            made = adjust(pair, o)
        elif o.name in free and o.kind == "batch_norm" and effort.honest:
            set_affine(pair.weights, o, *affine(pair.weights, o), moments(pair.small.values[o.inputs[0]]))
        if made is None:
            pair.small.step(o)
        else:
            pair.small.put(o, made)
        pair.done(o)


def _fit(pair: Pair, chain: Chain, effort: Effort, rng: np.random.Generator) -> bool:
    """Solves one layer; False where its outputs have no effect that could be fitted."""
    o, norm, weights = chain.layer, chain.norm, pair.weights
    plain = weights[o.array("weight")].new_ones(o.shape[array_axis(o)], dtype=torch.float64)
    f, c = affine(weights, norm) if norm else (plain, 0 * plain)
    alive = f.abs() > 1e-4 * f.abs().max()
    if not alive.any():
        return False
    weight = weights[o.array("weight")]
    now = flat(weight).double()
    rows = _rows(pair, chain, torch.where(alive, f, 1.0).float(), c.float(), effort, rng)
    intercept = norm is not None or bool(o["bias"])
    free = free_places(o, weight)
    within = Bounds(free, lambda w, h: pair.grids.settled(o, w, h, free, weights))
    w, b = solve(rows, now, intercept=intercept, rounds=effort.rounds if chain.relu else 0, within=within)
    weight.copy_(unflat(torch.where(alive[:, None], w, now), weight))
    if o["bias"]:
        bias = weights[o.array("bias")]
        bias.copy_(torch.where(alive, b, bias.double()))
    elif norm is not None:
        weights[norm.array("running_mean")].sub_(torch.where(alive, b, 0.0).float())
    return True


def _rows(pair: Pair, chain: Chain, f: Tensor, c: Tensor, effort: Effort, rng: np.random.Generator) -> Rows:
    """Patches and goals of a layer, with f and c (O,) of its batch norm."""
    o, n, d = chain.layer, effort.inputs, fan_in(pair.graph, chain.layer)
    x = pair.small.values[o.inputs[0]][:n]
    at = pixels(o, len(x), max(FEWEST_ROWS, min(effort.rows_per_column * d, int(MOST_VALUES / d))), rng)
    other = c if chain.add is None else c + outputs(pair.small.values[chain.other][:n], at)
    return Rows(patches(o, x, at), outputs(pair.goal(chain.end.name)[:n], at), f, other)
