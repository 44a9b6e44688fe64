"""Groups within groups, and parts of groups: the edit law, and that what is pruned is what is zeroed."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from chipfit.compress.edit import apply
from chipfit.core.graph import Network
from chipfit.nets.build import build
from chipfit.nets.trace import trace
from chipfit.space import edits as on_graph
from chipfit.space.edits import Width
from chipfit.space.groups import ChannelGroup, channel_groups
from compress.networks import answers, noise, zeroed
from models.coupled import Vit
from models.products import PRODUCTS

INPUT_SHAPE = (3, 16, 16)
NETWORKS = {**PRODUCTS, "Vit": Vit, "norms behind": lambda: Vit(behind=True)}


@cache
def network_of(name: str) -> Network:
    torch.manual_seed(0)
    module = NETWORKS[name]()
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.uniform_(m.running_var, 0.5, 2.0)
            nn.init.normal_(m.running_mean, std=0.3)
            nn.init.uniform_(m.weight, 0.5, 1.5)
            nn.init.normal_(m.bias, std=0.3)
    return trace(module, INPUT_SHAPE)


@pytest.mark.long
@pytest.mark.parametrize("name", NETWORKS)
def test_law(name: str) -> None:
    network, rng = network_of(name), np.random.default_rng(5)
    edits = [Width(g.name, some(g, rng)) for g in channel_groups(network.graph).groups]
    made = apply(network, edits)
    assert made.graph == on_graph.apply(network.graph, edits)
    assert trace(build(made), INPUT_SHAPE).graph.key == made.graph.key


def some(g: ChannelGroup, rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(np.sort(rng.permutation(g.size)[: rng.integers(1, g.size + 1)]).tolist())


@pytest.mark.parametrize("name", NETWORKS)
def test_pruned_is_zeroed(name: str) -> None:
    network = network_of(name)
    x, groups = noise(network, 4), channel_groups(network.graph).groups
    for g in (g for g in groups if not g.norms):
        keep = some(g, np.random.default_rng(1)) if g.size > 1 else (0,)
        small = apply(network, [Width(g.name, keep)])
        assert small.graph.total_macs <= network.graph.total_macs
        np.testing.assert_allclose(answers(small, x), answers(zeroed(network, g.name, keep), x), atol=2e-4, rtol=1e-3)
