"""The edit law, and that a network keeps its function when nothing of value goes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipfit.compress.edit import apply
from chipfit.core.edits import Edit
from chipfit.core.graph import STORED, Graph, Network
from chipfit.nets.build import build
from chipfit.nets.trace import trace
from chipfit.space import edits as on_graph
from chipfit.space.edits import Precision, Skip, Width
from chipfit.space.groups import channel_groups, residual_blocks
from compress.networks import NAMES, answers, network_of, noise, random_edits, zeroed


def floating(graph: Graph) -> Graph:
    """What a torch module, which has no bits and says nothing of the values of weights, can say of a graph."""
    ops = []
    for o in graph:
        attrs = tuple((name, value) for name, value in o.attrs if name not in STORED)
        ops.append(replace(o, bits=32, attrs=attrs))
    return Graph(tuple(ops), graph.output)


@pytest.mark.long
@given(name=st.sampled_from(NAMES), seed=st.integers(0, 10_000))
@settings(max_examples=40)
def test_law(name: str, seed: int) -> None:
    network = network_of(name)
    edits = random_edits(network.graph, np.random.default_rng(seed), stored=True)
    expected = on_graph.apply(network.graph, edits)
    made = apply(network, edits)
    assert made.graph.key == expected.key
    again = trace(build(made), network.graph.input_shape)
    assert again.graph.key == floating(expected).key


def ordered(edits: tuple[Edit, ...]) -> list[Edit]:
    """Precisions, widths, skips: after each the names that the next ones use are still there."""
    return sorted(edits, key=lambda e: [Precision, Width, Skip].index(type(e)))


@given(name=st.sampled_from(NAMES), seed=st.integers(0, 10_000))
@settings(max_examples=25)
def test_one_by_one_is_all_at_once(name: str, seed: int) -> None:
    network = network_of(name)
    edits = random_edits(network.graph, np.random.default_rng(seed))
    stepwise = network
    for e in ordered(edits):
        stepwise = apply(stepwise, [e])
    whole = apply(network, edits)
    assert stepwise.graph.key == whole.graph.key
    assert stepwise.weights.keys() == whole.weights.keys()
    for key, array in whole.weights.items():
        np.testing.assert_array_equal(stepwise.weights[key], array)


def test_dead_channels_do_nothing(net: Network) -> None:
    x = noise(net, 4)
    for g in (g for g in channel_groups(net.graph).groups if not g.norms):
        dead = np.arange(1, g.size, 3)
        keep = tuple(sorted(set(range(g.size)) - set(dead.tolist())))
        small = apply(net, [Width(g.name, keep)])
        np.testing.assert_allclose(answers(small, x), answers(zeroed(net, g.name, keep), x), atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["resnet8", "mobilenetv2", "SqueezeExcite"])
def test_skipping_leaves_the_shortcut(name: str) -> None:
    network = network_of(name)
    x = noise(network, 4)
    for block in residual_blocks(network.graph):
        weights = dict(network.weights)
        for body in (network.graph[n] for n in block.body if block.name in network.graph.users[n]):
            for array in ("weight", "bias"):  # the body's last layer or batch norm gives 0
                if (key := f"{body.weights}.{array}") in weights:
                    weights[key] = np.zeros_like(weights[key])
        silent = Network(network.graph, weights)
        np.testing.assert_allclose(
            answers(apply(network, [Skip(block.name)]), x), answers(silent, x), atol=1e-4, rtol=1e-4
        )


def test_untouched_arrays_are_shared() -> None:
    network = network_of("resnet8")
    small = apply(network, [Width("5.body.0", tuple(range(8)))])
    assert small.weights["0.weight"] is network.weights["0.weight"]
    assert small.weights["5.body.0.weight"].shape == (8, 32, 3, 3)
    assert small.weights["5.body.3.weight"].shape == (64, 8, 3, 3)
