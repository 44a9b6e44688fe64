"""Networks with batch norms that matter, and random edits of them."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from chipfit.core.edits import Edit
from chipfit.core.graph import Graph, Network
from chipfit.nets.build import build
from chipfit.nets.trace import trace
from chipfit.nets.vit import ViT
from chipfit.nets.zoo import BUILDERS
from chipfit.space.axes import groups_on, places_of
from chipfit.space.edits import Precision, Skip, Width
from chipfit.space.edits.expand import Expand
from chipfit.space.edits.fixed import Fixed
from chipfit.space.edits.layer import alone
from chipfit.space.edits.pattern import Pattern, candidates
from chipfit.space.groups import channel_groups, residual_blocks, sites
from models.awkward import AWKWARD, INPUT_SHAPE

NAMES = (*BUILDERS, *AWKWARD)
SHALLOW = {"vit": partial(ViT, depth=2)}
"""Networks of which all blocks are alike: two are enough."""


@cache
def network_of(name: str) -> Network:
    torch.manual_seed(0)
    module = (BUILDERS | AWKWARD | SHALLOW)[name]()
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.uniform_(m.running_var, 0.5, 2.0)
            nn.init.normal_(m.running_mean, std=0.3)
            nn.init.uniform_(m.weight, 0.5, 1.5)
            nn.init.normal_(m.bias, std=0.3)
    return trace(module, (1, 28, 28) if name in BUILDERS else INPUT_SHAPE)


def random_edits(
    graph: Graph, rng: np.random.Generator, *, bits: bool = True, stored: bool = False
) -> tuple[Edit, ...]:
    """Some widths, skips and precisions, at least one edit; with `stored` also edits of layers' weights."""
    offers: list[Edit] = [Skip(b.name) for b in residual_blocks(graph)]
    if bits:
        offers += [Precision(s.name, 8) for s in sites(graph)]
    for g in channel_groups(graph).groups:
        # of a product no factor goes down to 1, which would leave the others another name
        least = 2 if g.outer > 1 or g.inner > 1 else 1
        keep = np.sort(rng.permutation(g.size)[: rng.integers(min(least, g.size), g.size + 1)])
        offers.append(Width(g.name, tuple(keep.tolist())))
    if stored:
        offers += _of_weights(graph, rng)
    chosen = rng.permutation(len(offers))[: rng.integers(1, 5)]
    return tuple(offers[i] for i in chosen)


def _of_weights(graph: Graph, rng: np.random.Generator) -> list[Edit]:
    """For each layer whose weights are its own a format, and wider kernels or patterns."""
    found: list[Edit] = []
    for o in graph:
        if alone(graph, o):
            found.append(Fixed(o.name, int(rng.integers(0, 4)), int(rng.integers(1, 12))))
        if alone(graph, o) and o.kind == "conv":
            every = candidates(3, 4) if o["kernel"] == (3, 3) else ()
            some = tuple(every[i] for i in rng.permutation(len(every))[:3])
            found.append(Pattern(o.name, some) if some else Expand(o.name))
    return found


def answers(network: Network, x: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.inference_mode():
        return np.asarray(build(network)(torch.from_numpy(x)).numpy())


def noise(network: Network, n: int, seed: int = 0) -> NDArray[np.float32]:
    """Smooth random pictures: neighbouring pixels are alike, as in real ones."""
    c, h, w = network.graph.input_shape
    coarse = torch.randn(n, c, h // 4, w // 4, generator=torch.Generator().manual_seed(seed))
    return np.asarray(nn.functional.interpolate(coarse, (h, w), mode="bilinear").numpy() * 2)


def zeroed(network: Network, group: str, keep: Collection[int]) -> Network:
    """The network with all that makes or carries the other channels of a group set to zero."""
    coupling, weights = channel_groups(network.graph), dict(network.weights)
    g = coupling.group(group)
    gone = [c for c in range(g.size) if c not in keep]
    for op in (*g.producers, *(name for name, _ in g.carriers)):
        for role in network.graph.roles(network.graph[op]):
            name = network.graph[op].array(role)
            axis = coupling.arrays[name][0]
            if not role.startswith("running") and group in groups_on(axis):
                weights[name] = weights[name].copy()
                weights[name][places_of(axis, group, g.size)[gone].ravel()] = 0
    return Network(network.graph, weights)
