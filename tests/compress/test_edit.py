"""The edit law: tracing the edited network gives the edited graph, for every kind of edit and pairs of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from chipfit.compress.edit import apply
from chipfit.core.edits import Edit
from chipfit.core.graph import Graph, Network
from chipfit.export import onnx
from chipfit.export.dummy import dummy_ranges
from chipfit.nets.build import build
from chipfit.nets.trace import trace
from chipfit.nets.zoo import BUILDERS
from chipfit.space import edits as on_graph
from chipfit.space.edits import Precision, Width
from chipfit.space.groups import channel_groups
from chipfit.space.offer import offer
from models.awkward import AWKWARD, INPUT_SHAPE

NETWORKS = {**dict.fromkeys(BUILDERS, (1, 28, 28)), **dict.fromkeys(AWKWARD, INPUT_SHAPE)}


def network(name: str) -> Network:
    torch.manual_seed(0)
    return trace((BUILDERS.get(name) or AWKWARD[name])(), NETWORKS[name])


def random_edits(graph: Graph, rng: np.random.Generator, n: int) -> list[Edit]:
    """Up to `n` edits of different decisions, widths with random channels."""
    menu = offer(graph, {32: 8, 8: 8}).menu
    coupling = channel_groups(graph)
    chosen = [0] * len(menu.decisions)
    for d in rng.permutation(len(menu.decisions))[:n]:
        chosen[d] = int(rng.integers(len(menu.decisions[d].options)))
    if not menu.valid(tuple(chosen)):
        return []
    edits: list[Edit] = []
    for e in menu.edits(tuple(chosen)):
        if isinstance(e, Width):
            some = rng.permutation(coupling.group(e.group).size)[: len(e.keep)]
            e = Width(e.group, tuple(sorted(some.tolist())))
        edits.append(e)
    return edits


@pytest.mark.long
@pytest.mark.parametrize("name", NETWORKS)
def test_one_change_three_worlds(name: str) -> None:
    whole = network(name)
    rng = np.random.default_rng(0)
    for n in (1, 2, 2, 2, 5):
        edits = random_edits(whole.graph, rng, n)
        edited = apply(whole, edits)
        graph = on_graph.apply(whole.graph, edits)
        assert edited.graph == graph
        as_float = on_graph.apply(whole.graph, [e for e in edits if not isinstance(e, Precision)])
        traced = trace(build(edited), whole.graph.input_shape)
        assert traced.graph.key == as_float.key
        assert (traced.graph.total_macs, traced.graph.total_params) == (graph.total_macs, graph.total_params)
        file = onnx.write(edited, ranges=dummy_ranges(graph))
        assert file.graph == graph


@pytest.mark.parametrize("name", ["resnet8", "mobilenetv2", "lenet5", "Concat", "SqueezeExcite", "Flat"])
def test_dropping_dead_channels_changes_nothing(name: str) -> None:
    """Where nothing reads a channel, the narrowed network answers as before."""
    whole = network(name)
    coupling = channel_groups(whole.graph)
    for group in coupling.groups:
        keep = tuple(range(0, group.size, 2))
        dead = [c for c in range(group.size) if c not in keep]
        weights = {k: v.copy() for k, v in whole.weights.items()}
        for c in group.consumers:
            columns = c.places(group)[dead].ravel()
            weights[f"{whole.graph[c.op].weights}.weight"][:, columns] = 0.0
        masked = Network(whole.graph, weights)
        x = torch.randn(2, *whole.graph.input_shape)
        with torch.inference_mode():
            small = build(apply(masked, [Width(group.name, keep)]))(x)
            torch.testing.assert_close(small, build(masked)(x), atol=1e-5, rtol=1e-4)
