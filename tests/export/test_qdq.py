"""int8: what is in the file, what ONNX Runtime makes of it, and that both compute what they should."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipfit.core.channels import foldable
from chipfit.core.graph import Graph, Network
from chipfit.export.dummy import dummy_ranges
from chipfit.export.fold import fold
from chipfit.export.onnx import write
from chipfit.export.qdq import grid, int_arrays

MOVES = {"Transpose", "Reshape", "Flatten", "Split", "Slice", "MaxPool", "NhwcMaxPool"}
"""Node types that work on int8 values as they do on floats."""


def decibels(want: np.ndarray, got: np.ndarray) -> float:
    """Signal to noise."""
    return float(10 * np.log10((want**2).sum() / max(((want - got) ** 2).sum(), 1e-30)))


def some(network: Network, n: int = 16) -> np.ndarray:
    return np.random.default_rng(9).normal(size=(n, *network.graph.input_shape)).astype(np.float32)


def at_bits(network: Network, bits: dict[str, int]) -> Network:
    graph = network.graph
    return Network(
        Graph(tuple(replace(o, bits=bits.get(o.name, o.bits)) for o in graph), graph.output), network.weights
    )


# -- what it computes


def test_int8_is_close_to_float_and_fusing_changes_nothing(network, int8, real_ranges, evaluate, run):
    x = some(network)
    data = write(int8(network), ranges=real_ranges(network), batch=None).data
    onnx.checker.check_model(data, full_check=True)
    fused, literal = run(data, x), run(data, x, optimised=False)
    assert decibels(evaluate(network, x)[network.graph.output], fused) > 27
    assert decibels(literal, fused) > 40  # now and then a value is rounded to the other side


@pytest.mark.parametrize("seed", range(3))
def test_mixed_precision_computes_what_the_file_says(network, real_ranges, evaluate, run, seed):
    rng = np.random.default_rng(seed)
    mixed = at_bits(network, {o.name: int(rng.choice([8, 32])) for o in network.graph})
    x = some(network)
    data = write(mixed, ranges=real_ranges(network), batch=None).data
    onnx.checker.check_model(data, full_check=True)
    assert decibels(evaluate(network, x)[network.graph.output], run(data, x)) > 25
    assert decibels(run(data, x, optimised=False), run(data, x)) > 38


def rounded(x: np.ndarray, low: float, high: float) -> np.ndarray:
    step = (high - low) / 255
    return (np.clip(np.rint(x / step) + np.rint(-low / step), 0, 255) - np.rint(-low / step)) * step


@pytest.mark.parametrize("top", [127, 63])
def test_int8_is_what_fake_quantisation_predicts(graphs, with_weights, int8, real_ranges, evaluate, run, top):
    """Quantised: the input, every relu, what feeds an add, the mean; weights by output channel; not the logits."""
    network = with_weights(graphs["residual"])
    folded = fold(network)
    ranges = real_ranges(folded)
    ends = {"x", *(o.name for o in folded.graph if o.kind in ("relu", "global_pool"))}
    ends |= {i for o in folded.graph if o.kind == "add" for i in o.inputs}

    def after(name, value):
        import torch

        return torch.from_numpy(rounded(value.numpy(), *ranges[name]).astype(np.float32)) if name in ends else value

    def weight(a: np.ndarray) -> np.ndarray:
        step = np.abs(a).max(axis=tuple(range(1, a.ndim)), keepdims=True) / top
        return (np.rint(a / step) * step).astype(np.float32)

    fake = Network(folded.graph, {k: weight(a) if a.ndim > 1 else a for k, a in folded.weights.items()})
    x = some(network)
    want, float32 = evaluate(fake, x, after)[folded.graph.output], evaluate(network, x)[network.graph.output]
    got = run(write(int8(network), ranges=ranges, batch=None, reduce_range=top == 63).data, x)
    assert decibels(want, got) > decibels(float32, got) + 5  # what is left: values at the middle between two steps
    assert decibels(want, got) > 42


# -- what runs


INTEGER = {
    "residual": {"QLinearConv": 9, "QLinearAdd": 3, "QLinearGlobalAveragePool": 1, "QGemm": 1},
    "mobile": {"QLinearConv": 11, "QLinearAdd": 2, "QLinearGlobalAveragePool": 1, "QGemm": 1},
    "squeeze": {"QLinearConv": 17, "QLinearAdd": 2, "QLinearGlobalAveragePool": 4, "QGemm": 1}
    | {"QLinearSigmoid": 11, "QLinearMul": 11},
    "shuffled": {"QLinearConv": 5, "QLinearConcat": 1, "QLinearGlobalAveragePool": 1, "QGemm": 1},
    "dense": {"QLinearConv": 6, "QLinearConcat": 2, "QLinearAveragePool": 1, "QLinearGlobalAveragePool": 1, "QGemm": 1},
    "pooled": {"QLinearConv": 5, "QLinearConcat": 1, "QLinearAveragePool": 2, "QLinearLeakyRelu": 1, "QGemm": 2},
}


@pytest.mark.parametrize("name", INTEGER)
def test_an_int8_network_runs_in_integers_from_end_to_end(graphs, with_weights, int8, kernels, name):
    network = int8(with_weights(graphs[name]))
    found = kernels(write(network, ranges=dummy_ranges(network.graph)).data)
    assert {k: n for k, n in found.items() if k not in MOVES} == INTEGER[name] | {"QuantizeLinear": 1}


def test_relu_on_an_int8_tensor_that_others_read_is_a_table(
    sketch, with_weights, int8, kernels, run, evaluate, real_ranges
):
    """Residual blocks that begin with their activation (He et al. 2016)."""
    b = sketch(3, 8, 8)
    x = b.conv("x", 8, bias=1)
    for act in ("relu", "relu6"):
        x = b.add("add", b.conv(b.add(act, x), 8, bias=1), x)
    b.head(x)
    network = with_weights(b.graph)
    data = write(int8(network), ranges=real_ranges(network), batch=None).data
    want = {"QLinearConv": 3, "QLinearAdd": 2, "QLinearLeakyRelu": 2, "QLinearGlobalAveragePool": 1, "QGemm": 1}
    assert {k: n for k, n in kernels(data).items() if k not in MOVES} == want | {"QuantizeLinear": 1}
    x = some(network)
    assert decibels(evaluate(network, x)[network.graph.output], run(data, x)) > 30


def chain(sketch, bits: tuple[int, ...], relu: bool = True) -> Graph:
    b = sketch(3, 8, 8)
    x, made = "x", {}
    for n in bits:
        x = b.conv(x, 8, bias=1)
        made[x] = n
        if relu:
            x = b.add("relu", x)
            made[x] = n
    return Graph(tuple(replace(o, bits=made.get(o.name, 32)) for o in b.graph), b.graph.output)


@pytest.mark.parametrize(
    ("bits", "want"),
    [
        ((8, 8, 32, 32), {"QLinearConv": 2, "Conv": 2, "QuantizeLinear": 1, "DequantizeLinear": 1}),
        ((32, 8, 8, 32), {"QLinearConv": 2, "Conv": 2, "QuantizeLinear": 1, "DequantizeLinear": 1}),
        ((8, 32, 8), {"QLinearConv": 2, "Conv": 1, "QuantizeLinear": 2, "DequantizeLinear": 2}),
        ((32, 32, 32), {"Conv": 3}),
    ],
)
@pytest.mark.parametrize("relu", [True, False])
def test_float_layers_stay_float_and_only_borders_convert(sketch, with_weights, kernels, bits, want, relu):
    """ONNX Runtime would quantise the weights of the float convolution of 8, 32, 8 by itself, in one scale."""
    graph = chain(sketch, bits, relu)
    found = kernels(write(with_weights(graph), ranges=dummy_ranges(graph)).data)
    found["Conv"] += found.pop("FusedConv", 0)
    skip = MOVES | {"ReorderInput", "ReorderOutput", "Relu"}  # a relu may be a node beside a float convolution
    assert {k: n for k, n in found.items() if n and k not in skip} == want


def test_padding_by_an_operator_is_done_by_the_convolution(
    sketch, with_weights, int8, kernels, run, evaluate, real_ranges
):
    b = sketch(3, 8, 8)
    x = b.add("pad", b.conv("x", 4, bias=1), shape=(4, 9, 10), pads=(0, 0, 0, 1, 2, 0))
    window = {"kernel": (3, 3), "stride": (2, 2), "padding": (0, 0), "dilation": (1, 1), "groups": 1, "bias": 0}
    b.add("conv", x, shape=(4, 4, 4), **window)
    network = with_weights(b.graph)
    data = write(int8(network), ranges=real_ranges(network), batch=None).data
    assert "Pad" not in kernels(data)
    x = some(network)
    assert decibels(evaluate(network, x)[network.graph.output], run(data, x)) > 30


def test_dense_layers_on_tokens_fuse_with_bias_and_relu(
    sketch, with_weights, int8, kernels, run, evaluate, real_ranges
):
    b = sketch(6, 10)
    x = b.add("relu", b.add("linear", "x", shape=(6, 12), bias=1))
    x = b.add("add", "x", b.add("linear", x, shape=(6, 10), bias=1))
    b.add("linear", b.add("flatten", x, shape=(60,)), shape=(4,), bias=1)
    network = with_weights(b.graph)
    data = write(int8(network), ranges=real_ranges(network), batch=None).data
    found = {k: n for k, n in kernels(data).items() if k not in MOVES}
    assert found == {"QuantizeLinear": 1, "QGemm": 3, "QLinearAdd": 1}
    x = some(network)
    assert decibels(evaluate(network, x)[network.graph.output], run(data, x)) > 25


# -- ranges


def test_ranges_of_the_graph_as_given_and_folded_are_the_same(graphs, with_weights, int8, real_ranges):
    network = int8(with_weights(graphs["mobile"]))
    given = real_ranges(network)
    folded = {foldable(network.graph).get(name, name): r for name, r in given.items()}  # a batch norm's comes after
    assert write(network, ranges=given).data == write(network, ranges=folded).data


def test_a_relus_bits_are_those_of_what_it_fuses_with(graphs, with_weights, int8):
    network = int8(with_weights(graphs["residual"]))
    other = at_bits(network, {o.name: 32 for o in network.graph if o.kind == "relu"})
    ranges = dummy_ranges(network.graph)
    assert write(network, ranges=ranges).data == write(other, ranges=ranges).data


@pytest.mark.parametrize("name", ["x", "relu3", "conv1"])
def test_a_missing_range_is_named_if_it_is_needed(sketch, with_weights, int8, name):
    b = sketch(3, 8, 8)
    b.conv(b.block("x", 4), 4)
    network = int8(with_weights(b.graph))
    ranges = dummy_ranges(network.graph)
    del ranges[name]
    if name == "conv1":  # followed by batch norm and relu: never quantised itself
        write(network, ranges=ranges)
    else:
        with pytest.raises(ValueError, match=f"tensor {name!r} is quantised and has no range"):
            write(network, ranges=ranges)


@pytest.mark.parametrize("bad", [(1.0, -1.0), (0.0, float("nan")), (float("-inf"), 1.0)])
def test_a_range_that_is_none_is_refused(sketch, with_weights, int8, bad):
    b = sketch(3, 8, 8)
    b.conv("x", 4)
    network = int8(with_weights(b.graph))
    with pytest.raises(ValueError, match="tensor 'x' has the range"):
        write(network, ranges=dummy_ranges(network.graph) | {"x": bad})


def scales(data: bytes) -> dict[str, tuple[float, int]]:
    """Tensor to (scale, zero point), for each that is quantised in the file."""
    graph = onnx.load_from_string(data).graph
    values = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    nodes = [n for n in graph.node if n.op_type == "QuantizeLinear"]
    return {n.name.removesuffix("/q"): (float(values[n.input[1]]), int(values[n.input[2]])) for n in nodes}


def test_concat_and_moves_keep_one_scale(graphs, with_weights, int8):
    network = int8(with_weights(graphs["dense"]))
    found = scales(write(network, ranges={o.name: (-n - 1.0, n + 1.0) for n, o in enumerate(network.graph)}).data)
    first, second = (o for o in fold(network).graph if o.kind == "concat")
    assert first.name in second.inputs
    assert len({found[t] for t in (*first.inputs, *second.inputs, second.name)}) == 1
    pool = next(o for o in network.graph if o.kind == "global_pool")
    assert found[pool.name] == found[f"{pool.name}/mean"] != found[second.name]


def test_a_concat_does_not_undo_a_vanished_relu(sketch, with_weights, int8, real_ranges, kernels, run, evaluate):
    b = sketch(3, 8, 8)
    both = b.add("relu", b.conv("x", 4, bias=1)), b.conv("x", 4, bias=1)
    b.head(b.add("concat", *both, shape=(8, 8, 8), axis=0))
    network = with_weights(b.graph)
    data = write(int8(network), ranges=real_ranges(network), batch=None).data
    found = scales(data)
    assert found[both[0]][1] == 0 < found[both[1]][1]
    assert kernels(data)["QLinearConv"] == 2
    assert not kernels(data)["Relu"]
    x = some(network)
    assert decibels(evaluate(network, x)[network.graph.output], run(data, x)) > 30


# -- grids and weights


@given(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4), st.floats(0, 1))
def test_a_grid_holds_its_range_and_zero(a, b, share):
    low, high = min(a, b), max(a, b)
    g = grid("t", low, high)
    assert 0 <= g.zero <= 255
    x = min(low, 0) + share * (max(high, 0) - min(low, 0))
    q = np.clip(np.rint(x / g.step) + g.zero, 0, 255)
    assert abs((q - g.zero) * g.step - x) <= g.step * 1.001
    if max(high, 0) - min(low, 0) < 1e-30:
        return
    if low >= 0:
        assert g.zero == 0
        assert np.float32(255) * g.step <= high
    if high <= 0:
        assert g.zero == 255


def test_weights_have_a_scale_for_each_channel():
    weight = np.array([[1.0, -2.0], [0.25, 0.125], [0.0, 0.0]], np.float32)
    a = int_arrays(weight, np.array([1.0, 0.5, 3.0], np.float32), step=np.float32(0.5))
    assert a.weight.tolist() == [[64, -127], [127, 64], [0, 0]]
    np.testing.assert_allclose(a.weight_scale, [2 / 127, 0.25 / 127, 1], rtol=1e-6)
    assert a.bias is not None
    assert a.bias.tolist() == [127, 508, 6]
    assert np.abs(int_arrays(weight, step=np.float32(1), reduce_range=True).weight).max() == 63


def test_a_bias_far_above_its_weights_fits_in_32_bits():
    a = int_arrays(np.full((1, 1), 1e-12, np.float32), np.array([5.0], np.float32), step=np.float32(1e-3))
    assert a.bias is not None
    np.testing.assert_allclose(a.bias * a.bias_scale, [5.0], rtol=1e-6)
