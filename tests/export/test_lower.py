from __future__ import annotations

from dataclasses import replace

import pytest

from chipfit.core.graph import Graph, Network
from chipfit.export.lower import lower


def lowered(graph: Graph, bits: int = 32, **other: int) -> dict[str, tuple[str, tuple[str, ...], int]]:
    """Name to (kind, inputs, bits) after lowering with these bits, `other` by name."""
    ops = tuple(replace(o, bits=other.get(o.name, bits)) for o in graph)
    return {o.name: (o.kind, o.inputs, o.bits) for o in lower(Network(Graph(ops, graph.output), {}), {})[0].graph}


def test_a_relu_behind_a_pool_comes_before_it(sketch):
    b = sketch(3, 8, 8)
    pool = b.pool("max_pool", b.conv("x", 4), 2, 2)
    flat = b.add("flatten", pool, shape=(64,))
    b.add("linear", b.add("relu", flat), shape=(5,), bias=0)
    found = lowered(b.graph)
    assert found["relu4"][1] == ("conv1",)
    assert found["max_pool2"][1] == ("relu4",)
    assert found["linear5"][1] == ("flatten3",)


def test_it_may_be_the_output(sketch):
    b = sketch(3, 8, 8)
    b.add("relu", b.pool("max_pool", b.conv("x", 4), 2, 2))
    network = lower(Network(b.graph, {}), {})[0]
    assert [o.name for o in network.graph] == ["x", "conv1", "relu3", "max_pool2"]
    assert network.graph.output == "max_pool2"
    assert network.graph["relu3"].shape == (4, 8, 8)


def test_not_where_another_reads_the_pool(sketch):
    b = sketch(3, 8, 8)
    pool = b.pool("max_pool", b.conv("x", 4), 2, 2)
    b.add("add", b.add("relu", pool), pool)
    assert lowered(b.graph)["relu3"][1] == ("max_pool2",)


@pytest.mark.parametrize("kind", ["conv", "max_pool"])
def test_padding_goes_only_into_convolutions(sketch, kind):
    b = sketch(3, 8, 8)
    x = b.add("pad", "x", shape=(3, 10, 9), pads=(0, 0, 2, 0, 0, 1))
    if kind == "conv":
        b.conv(x, 4)
    else:
        b.pool(kind, x, 3, 2)
    found = lowered(b.graph)
    assert ("pad1" in found) == (kind == "max_pool")
    if kind == "conv":
        assert lower(Network(b.graph, {}), {})[0].graph["conv2"]["padding"] == (3, 1, 1, 2)


def test_bits_are_those_that_can_be(sketch):
    """Float conv, int8 from the second conv on: the relu and the pool between are float, tanh has no int8 form."""
    b = sketch(3, 8, 8)
    x = b.pool("max_pool", b.add("relu", b.conv("x", 4)), 2, 2)
    b.add("tanh", b.add("relu", b.conv(x, 4)))
    found = lowered(b.graph, 8, conv1=32, relu5=32)
    assert {name: bits for name, (_, _, bits) in found.items()} == {
        "x": 32, "conv1": 32, "relu2": 32, "max_pool3": 32, "conv4": 8, "relu5": 8, "tanh6": 32
    }  # fmt: skip


def test_a_relu_that_cannot_fuse_becomes_a_leaky_one(sketch):
    b = sketch(3, 8, 8)
    x = b.conv("x", 3)
    b.add("add", b.add("relu6", x), x)
    assert lowered(b.graph, 8) == {
        "x": ("input", (), 32),
        "conv1": ("conv", ("x",), 8),
        "relu62/low": ("leaky_relu", ("conv1",), 8),
        "relu62": ("relu6", ("relu62/low",), 8),
        "add3": ("add", ("relu62", "conv1"), 8),
    }
    assert lowered(b.graph, 32)["relu62"] == ("relu6", ("conv1",), 32)


def test_float_operators_between_int8_ones_join_them_if_that_rounds_nothing_more(sketch):
    b = sketch(3, 8, 8)
    x = b.pool("max_pool", b.conv("x", 4), 2, 2)
    x = b.add("mul", b.add("sigmoid", b.conv(x, 4)), b.conv(x, 4))
    b.head(b.add("relu", b.conv(x, 4)))
    found = lowered(b.graph, 8, max_pool2=32, sigmoid4=32, mul6=32, relu8=32, global_pool9=32)
    floats = [name for name, (_, _, bits) in found.items() if bits == 32]
    assert floats == ["x", "sigmoid4", "mul6"]  # between these two nothing was rounded, and nothing is


def test_what_ends_in_float_does_not(sketch):
    b = sketch(3, 8, 8)
    b.head(b.conv("x", 4))
    found = lowered(b.graph, 8, global_pool2=32, linear3=32)
    assert [name for name, (_, _, bits) in found.items() if bits == 8] == ["conv1"]


def test_what_has_no_int8_form_is_float_whatever_stands_around(sketch):
    b = sketch(3, 8, 8)
    x = b.add("silu", b.conv("x", 4))
    x = b.add("relu", b.pool("avg_pool", x, 3, 1, 1, count_include_pad=0))
    b.conv(x, 4)
    ops = tuple(replace(o, bits=8) for o in b.graph)
    network = Network(Graph(ops, b.graph.output), {})
    free = {o.name for o in lower(network, {})[0].graph if o.bits == 32}
    held = {o.name for o in lower(network, {}, floats=frozenset({"silu2", "avg_pool3"}))[0].graph if o.bits == 32}
    assert free == {"x"}
    assert held == {"x", "silu2/gate", "silu2", "avg_pool3", "relu4"}
