from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from chipfit.core.channels import foldable
from chipfit.core.graph import Graph, Network
from chipfit.export.fold import fold

Evaluate = Callable[..., dict[str, np.ndarray]]


def kinds(network: Network) -> list[str]:
    return [o.kind for o in network.graph]


def same(evaluate: Evaluate, network: Network, x: np.ndarray) -> None:
    before, after = evaluate(network, x)[network.graph.output], fold(network)
    got = evaluate(after, x)[after.graph.output]
    np.testing.assert_allclose(got, before, rtol=1e-4, atol=1e-5 * np.abs(before).max())


@pytest.mark.parametrize("name", ["residual", "mobile", "shuffled"])
def test_a_network_without_its_batch_norms_computes_the_same(graphs, with_weights, evaluate, name):
    network = with_weights(graphs[name])
    folded = fold(network)
    assert "batch_norm" not in kinds(folded)
    assert set(folded.weights) == {k for o in folded.graph for k in folded.graph.weight_shapes(o)}
    assert all(folded.weights[k].dtype == np.float32 for k in folded.weights)
    same(evaluate, network, np.random.default_rng(1).normal(size=(2, *network.graph.input_shape)).astype(np.float32))


def test_one_channel_by_hand(sketch):
    b = sketch(1, 1, 1)
    b.add("batch_norm", b.conv("x", 1, 1, bias=1), eps=0.0)
    conv, norm = "conv1", "batch_norm2"
    values = {f"{conv}.weight": [[[[3.0]]]], f"{conv}.bias": [1.0], f"{norm}.weight": [2.0], f"{norm}.bias": [5.0]}
    values |= {f"{norm}.running_mean": [7.0], f"{norm}.running_var": [4.0]}
    folded = fold(Network(b.graph, {k: np.array(v, np.float32) for k, v in values.items()}))
    # 2 (3x + 1 - 7) / 2 + 5 = 3x - 1
    assert folded.weights[f"{conv}.weight"].item() == 3
    assert folded.weights[f"{conv}.bias"].item() == -1
    assert folded.graph.output == conv
    assert folded.graph[conv]["bias"] == 1


def test_names_stay_and_users_are_rewired(graphs, with_weights):
    graph = graphs["residual"]
    folded = fold(with_weights(graph)).graph
    pairs = foldable(graph)
    assert [o.name for o in folded] == [o.name for o in graph if o.name not in pairs]
    for o in folded:
        assert o.inputs == tuple(pairs.get(i, i) for i in graph[o.name].inputs)


def test_what_others_read_is_left(sketch, with_weights, evaluate):
    b = sketch(2, 4, 4)
    conv = b.conv("x", 2)
    norm = b.add("batch_norm", conv, eps=1e-3)
    b.add("add", norm, conv)
    network = with_weights(b.graph)
    assert fold(network) is network


def test_a_convolution_that_is_the_output_is_left(sketch, with_weights):
    b = sketch(2, 4, 4)
    conv = b.conv("x", 2)
    b.add("batch_norm", conv, eps=1e-3)
    network = with_weights(b.graph)
    assert foldable(Graph(network.graph.ops, conv)) == {}


@pytest.mark.parametrize(("shape", "left"), [((6,), False), ((4, 6), True)])
def test_dense_layers_fold_on_one_axis_only(sketch, with_weights, shape, left):
    """On several axes the channels of a dense layer are the last, those of batch norm the first."""
    b = sketch(*shape)
    b.add("batch_norm", b.add("linear", "x", shape=(*shape[:-1], 5), bias=1), eps=1e-3)
    assert ("batch_norm" in kinds(fold(with_weights(b.graph)))) == left


def shared(sketch, norms: tuple[str, ...]) -> Graph:
    """Convolutions in a row with one set of weights, each with a batch norm of these weights ("" for none)."""
    b = sketch(2, 4, 4)
    x = "x"
    for norm in norms:
        x = b.conv(x, 2)
        b.ops[-1] = replace(b.ops[-1], weights="shared")
        if norm:
            x = b.add("batch_norm", x, eps=1e-3)
            b.ops[-1] = replace(b.ops[-1], weights=norm)
    return b.graph


@pytest.mark.parametrize(("norms", "prefixes"), [(("a", "b"), 2), (("a", "a"), 1), (("a", ""), 2), (("a", "b", ""), 3)])
def test_shared_weights_part_where_their_batch_norms_differ(sketch, with_weights, evaluate, norms, prefixes):
    network = with_weights(shared(sketch, norms))
    folded = fold(network)
    assert len({o.weights for o in folded.graph if o.kind == "conv"}) == prefixes
    same(evaluate, network, np.random.default_rng(1).normal(size=(2, 2, 4, 4)).astype(np.float32))
