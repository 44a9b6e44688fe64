"""What predictors see: NASFLAT's graph rules, counts, costs, and that dead parts do not show."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from chipfit.core.errors import BadInput
from chipfit.core.graph import Graph, op
from chipfit.evaluate.latency.encode import CLASSES, genes, graphs

OPERATORS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))


def cells(*codes):
    return genes([str(c) for c in codes], np.array(codes), OPERATORS, edges=EDGES)


def test_a_cell_of_none_has_no_edges_and_one_of_skips_joins_input_and_output():
    nothing, straight = cells((0,) * 6, (1,) * 6).edges
    assert not nothing.any()
    assert list(zip(*np.nonzero(straight), strict=True)) == [(0, 7)]


def test_341_cells_have_no_path():
    every = cells(*itertools.product(range(5), repeat=6))
    assert every.blocks["live counts"][:, -1].sum() == 341


def test_dead_operators_do_not_vary_what_is_live():
    # nothing leaves node 1, so the operator on edge 0-1 is dead
    networks = cells((3, 2, 0, 0, 0, 4), (2, 2, 0, 0, 0, 4))
    for block in ("live one-hot", "live counts", "depth"):
        assert np.array_equal(*networks.blocks[block])
    assert not np.array_equal(*networks.blocks["one-hot"])
    assert np.array_equal(*networks.edges)


def test_depth_is_the_longest_path_by_operator():
    # 0 -conv3-> 1 -conv1-> 2 -conv3-> 3 beside 0 -conv3-> 3: two 3x3, one 1x1, no pool, three in all; one meeting
    (row,) = cells((3, 0, 2, 3, 0, 3)).blocks["depth"]
    assert row.tolist() == [1, 2, 0, 3, 1]


def test_costs_and_stages():
    table = np.array([[1.0, 2.0], [4.0, 8.0], [16.0, 32.0]])
    networks = genes(["a"], np.array([[1, 0, 1]]), ["x", "y"], stages=(0, 0, 1), costs={"MACs": (table, 100.0)})
    assert networks.blocks["cost"].tolist() == [[np.log(138.0)]]
    assert networks.blocks["stage cost"].tolist() == [[6.0, 32.0]]
    assert networks.blocks["stage counts"].tolist() == [[1, 1, 0, 1]]
    assert networks.tokens.tolist() == [[1, 3, 2, 3, 0]]


def test_a_code_that_is_no_operator():
    with pytest.raises(BadInput, match="network 'a' has operator 7 at position 2; there are 0 to 4"):
        genes(["a"], np.array([[0, 7]]), OPERATORS)


def small(width: int = 8) -> Graph:
    """A depth-wise and a dense convolution, and a linear layer over the positions (as in a transformer)."""
    window = {"stride": (2, 2), "padding": (1, 1), "dilation": (1, 1), "bias": 0}
    ops = (
        op("x", "input", (), (4, 8, 8)),
        op("deep", "conv", ("x",), (4, 4, 4), "deep", kernel=(3, 3), groups=4, **window),
        op("dense", "conv", ("deep",), (width, 2, 2), "dense", kernel=(3, 3), groups=1, **window),
        op("tokens", "reshape", ("dense",), (4, width), to=(4, width)),
        op("mix", "linear", ("tokens",), (4, width), "mix", bias=0),
        op("weights", "softmax", ("mix",), (4, width), axis=1),
    )
    return Graph(ops, "weights")


def test_graphs_are_counted_by_class():
    networks = graphs(["a"], [small()])
    counts = dict(zip(CLASSES, networks.blocks["counts"][0], strict=True))
    kinds = ("depthwise 3", "dense 3", "linear", "activation", "other")
    assert {k: v for k, v in counts.items() if v} == dict.fromkeys(kinds, 1.0)
    assert networks.blocks["cost"][0, 0] == pytest.approx(np.log(small().total_macs))
    assert networks.edges[0].sum() == 5


def test_what_the_output_does_not_need_does_not_show():
    graph = small()
    dead = Graph((*graph.ops[:-1], op("dead", "relu", ("mix",), (4, 8)), graph.ops[-1]), graph.output)
    a, b = (graphs(["a"], [g]) for g in (graph, dead))
    assert all(np.array_equal(a.blocks[k], b.blocks[k]) for k in a.blocks)


def test_variants_are_seen_operator_by_operator():
    graph = small()
    int8 = replace(graph, ops=tuple(replace(o, bits=8) if o.name == "mix" else o for o in graph.ops))
    blocks = graphs(["same", "narrow", "int8"], [graph, small(4), int8], reference=graph).blocks["operators"]
    assert blocks.reshape(3, 3, 4).tolist() == [
        [[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 0]],
        [[1, 1, 1, 0], [0.5, 0.5, 1, 0], [0.25, 0.5, 1, 0]],
        [[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 1]],
    ]
