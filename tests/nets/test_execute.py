"""What an operator computes is what its torch expression does, alone, in a batch, and in a module that is trained."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from chipfit.compress.forward import Walk, tensors
from chipfit.core.graph import Graph
from chipfit.nets.build import build
from one_operator import CASES, CONSTANTS, Case

ALL = {**CASES, **CONSTANTS}


@pytest.mark.parametrize("name", ALL)
def test_a_kind_is_computed_as_it_is_written_down(name: str) -> None:
    case = ALL[name]
    x = case.inputs(3)
    want = case.want(x)
    with torch.inference_mode():
        module = build(case.network())
        together, alone = module(torch.from_numpy(x)).numpy(), module(torch.from_numpy(x[:1])).numpy()
    assert together.shape == (3, *case.graph[case.graph.output].shape)
    np.testing.assert_allclose(together, want, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(alone, want[:1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["layer_norm", "a class token", "embedding", "conv_transpose"])
def test_a_graph_walked_by_hand_computes_the_same(name: str) -> None:
    case = ALL[name]
    network, x = case.network(), case.inputs(2)
    walk = Walk(network.graph, tensors(network.weights), {network.graph.ops[0].name: torch.from_numpy(x)})
    for o in network.graph.ops[1:]:
        walk.step(o)
    np.testing.assert_allclose(walk.values[network.graph.output].numpy(), case.want(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_arrays_come_back_and_the_graph_is_read_back(name: str) -> None:
    network = ALL[name].network()
    module = build(network)
    again = module.network()
    assert again.weights.keys() == network.weights.keys()
    assert all(np.array_equal(again.weights[key], network.weights[key]) for key in network.weights)
    assert sum(p.numel() for p in module.parameters()) == network.graph.total_params
    assert Graph.from_json(network.graph.to_json()) == network.graph


def macs(case: Case) -> int:
    return case.graph.macs(case.graph.ops[-1])


def test_macs_of_what_multiplies() -> None:
    assert macs(CASES["matmul"]) == 2 * 4 * 4 * 5
    assert macs(CASES["conv3d"]) == 6 * 5 * 3 * 5 * (2 * 27)
    assert macs(CASES["conv_transpose"]) == 4 * 5 * 6 * (3 * 9)  # each value read meets a kernel for each output
    assert macs(CASES["embedding"]) == macs(CASES["layer_norm"]) == 0
