"""Who shares a precision: runs of one resolution, and in networks of tokens dense layers of one shape."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chipfit.core.graph import Graph, Network, op
from chipfit.core.kernel import kernels
from chipfit.evaluate.chains import recipe
from chipfit.evaluate.screen import all_int8
from chipfit.nets.trace import trace
from chipfit.nets.vit import ViT
from chipfit.space.sites import sites
from models.attention import Bert
from models.residual import residual


def vit() -> Network:
    return trace(ViT(depth=2, width=24, heads=2, side=12).eval(), (1, 12, 12))


def bert() -> Network:
    return trace(Bert(words=50, length=6, depth=1, width=16, heads=2).eval(), (6,), whole=True)


def layers(graph: Graph, bits: int) -> set[str]:
    return {o.kind for o in graph.ops[1:] if o.bits == bits}


def test_dense_layers_on_tokens_go_by_shape() -> None:
    graph = vit().graph
    found = {s.name: s.ops for s in sites(graph)}
    shapes = {
        name: {(graph.in_shape(graph[o])[-1], graph[o].shape[-1]) for o in ops if graph[o].kind == "linear"}
        for name, ops in found.items()
    }
    assert sorted(map(sorted, shapes.values())) == [[], [(24, 10)], [(24, 24)], [(24, 48)], [(24, 72)], [(48, 24)]]
    assert {name for name, ops in found.items() if len(ops) == 2} >= {"blocks.0.attention.qkv", "blocks.0.feed.0"}
    assert {graph[o].kind for o in found["patches"]} == {"conv", "flatten"} or "conv" in {
        graph[o].kind for o in found["patches"]
    }


@pytest.mark.parametrize("network", [vit(), bert()], ids=["vit", "bert"])
def test_norms_softmax_and_sums_stay_float(network: Network) -> None:
    graph = all_int8(network).graph
    assert {o.kind for o in graph if o.kind in ("linear", "conv") and o.bits == 32} == set()
    assert {"layer_norm", "softmax", "gelu", "add", "matmul"} <= layers(graph, 32)
    assert not {"add", "mul", "matmul"} & layers(graph, 8)


def test_networks_without_tokens_are_as_they_were() -> None:
    graph = residual()
    assert [s.ops[0] for s in sites(graph)] == ["stem", "b1", "mean"]
    assert {o.kind for o in graph if o.name in sites(graph)[0].ops} >= {"add", "relu"}


def test_a_dense_layer_on_rows_is_timed_among_float_ones() -> None:
    graph = Graph((op("x", "input", (), (6, 16)), op("a", "linear", ("x",), (6, 32), "a", bits=8, bias=1)), "a")
    for bits in (8, 32):
        (kernel,) = kernels(Graph((graph.ops[0], replace(graph["a"], bits=bits)), "a")).values()
        alone, behind = recipe(kernel).graphs
        assert [o.bits for o in alone.ops[1:]] == [32]
        assert [o.bits for o in behind.ops[1:]] == [bits, 32]
        assert recipe(kernel).value([1.0, 3.0], []) == pytest.approx(2.0)
    flat = Graph((op("x", "input", (), (16,)), op("a", "linear", ("x",), (32,), "a", bits=8, bias=1)), "a")
    (kernel,) = kernels(flat).values()
    assert [o.bits for o in recipe(kernel).graphs[0].ops[1:]] == [8]
