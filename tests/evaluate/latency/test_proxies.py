"""Zero-cost proxies: repeatable numbers of graphs alone, which tell wider and deeper networks apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from chipfit.core.errors import BadInput
from chipfit.core.graph import Graph, Network, Op, op
from chipfit.device.canary import chain, separable, trivial
from chipfit.evaluate.latency.encode import graphs
from chipfit.evaluate.latency.proxies import PROXIES, synaptic_flow, with_proxies
from chipfit.nets.build import build

WIDTHS = (4, 8, 16, 32)


def test_they_are_a_block_beside_the_others_and_repeat() -> None:
    made = [*(chain(c, 2, 6) for c in WIDTHS), separable(8, 2, 6), chain(8, 2, 6, bits=8)]
    plain = graphs([str(n) for n in range(len(made))], made)
    found = with_proxies(plain, made)
    assert found.blocks["proxies"].shape == (len(made), len(PROXIES))
    assert np.isfinite(found.blocks["proxies"]).all()
    assert set(found.blocks) == {*plain.blocks, "proxies"}
    np.testing.assert_array_equal(with_proxies(plain, made).blocks["proxies"], found.blocks["proxies"])
    np.testing.assert_array_equal(found.blocks["proxies"][1], found.blocks["proxies"][-1], "precision is not looked at")
    _, kernel, flow = found.blocks["proxies"][: len(WIDTHS)].T
    assert (np.diff(flow) > 0).all()
    assert kernel[-1] != kernel[0]


def test_synaptic_flow_of_one_weight_is_its_size() -> None:
    graph = Graph((op("x", "input", (), (1,)), op("y", "linear", ("x",), (1,), "y", bias=0)), "y")
    net = build(Network(graph, {"y.weight": np.array([[-3.0]], np.float32)})).double()
    assert synaptic_flow(net, torch.zeros(2, 1, dtype=torch.float64)) == pytest.approx(np.log(3.0))


def test_a_network_without_weights_or_activations() -> None:
    bare = Graph((op("x", "input", (), (3,)), op("y", "add", ("x", "x"), (3,))), "y")
    for graph in (bare, trivial()):
        assert np.isfinite(with_proxies(graphs(["a"], [graph]), [graph]).blocks["proxies"]).all()


def test_an_operator_that_cannot_be_run() -> None:
    odd = Graph((op("x", "input", (), (3,)), Op("y", "Attention", ("x",), (3,), (("macs", 9), ("params", 0)))), "y")
    with pytest.raises(BadInput, match="network 'a' has an operator 'Attention' that cannot be run"):
        with_proxies(graphs(["a"], [odd]), [odd])
