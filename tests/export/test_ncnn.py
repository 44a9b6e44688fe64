"""ncnn's param and bin: the runtime computes from them what torch computes from the graph."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch

from chipfit.core.graph import KINDS, Graph, Network, op
from chipfit.export.ncnn import RULES, write
from chipfit.nets.build import build
from chipfit.nets.trace import trace
from chipfit.nets.zoo import load_zoo, manifest
from models.awkward import AWKWARD, INPUT_SHAPE
from models.cifar_resnet import resnet20

engine = pytest.importorskip("chipfit.device.engines.ncnn")


ERROR = 3e-5
"""Share of the largest value by which answers may differ: Winograd's convolutions lose two digits of float32."""


def agrees(network: Network) -> None:
    """ncnn answers as torch does."""
    x = np.random.default_rng(7).standard_normal((2, *network.graph.input_shape), np.float32)
    with torch.no_grad():
        want = build(network)(torch.from_numpy(x)).numpy()
    got = engine.NcnnSession(write(network).data, 1).answer(x, 1)
    assert got.shape == want.shape
    assert np.ptp(want) > 1e-3
    assert np.abs(got - want).max() <= ERROR * np.abs(want).max()


def param(network: Network) -> list[str]:
    """The lines of the param text."""
    data = write(network).data
    return data[8 : 8 + int.from_bytes(data[:8], "little")].decode().splitlines()


def layers(network: Network) -> dict[str, str]:
    """Name to type of each layer; no blob is made or read twice."""
    lines = param(network)
    count, blobs = map(int, lines[1].split())
    rows = [line.split() for line in lines[2 : 2 + count]]
    read = [blob for r in rows for blob in r[4 : 4 + int(r[2])]]
    made = [blob for r in rows for blob in r[4 + int(r[2]) : 4 + int(r[2]) + int(r[3])]]
    assert len(made) == len(set(made)) == blobs
    assert len(read) == len(set(read))
    assert set(made) - set(read) == {"logits"}
    return {r[1]: r[0] for r in rows}


def test_every_rule_is_for_a_kind():
    assert set(RULES) <= KINDS


def test_outputs_agree_with_torch(network):
    assert layers(network)
    agrees(network)


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_models_agree(name):
    torch.manual_seed(0)
    agrees(trace(AWKWARD[name]().eval(), INPUT_SHAPE))


@pytest.mark.parametrize("name", [record.name for record in manifest()])
def test_the_zoo_agrees(name):
    agrees(load_zoo(f"fashion-mnist/{name}").network)


def test_option_a_shortcuts_agree():
    torch.manual_seed(0)
    agrees(trace(resnet20().eval(), (3, 32, 32)))


@pytest.mark.parametrize(
    "kind", ["relu", "relu6", "leaky_relu", "sigmoid", "hard_swish", "hard_sigmoid", "tanh", "gelu"]
)
@pytest.mark.parametrize("layer", ["conv", "depthwise", "linear", "add"])
@pytest.mark.parametrize("width", [4, 16])
def test_activations_run_in_the_layer_before(sketch, with_weights, kind, layer, width):
    b = sketch(width, 6, 6)
    if layer == "linear":
        x = b.add("linear", b.add("flatten", "x", shape=(width * 36,)), shape=(width,), bias=1)
    elif layer == "add":
        x = b.add("add", "x", "x")
    else:
        x = b.conv("x", width, groups=width if layer == "depthwise" else 1, bias=1)
    b.add(kind, x, **({"slope": 0.2} if kind == "leaky_relu" else {}))
    network = with_weights(b.graph)
    ends_in = layer != "add" and kind not in ("hard_sigmoid", "tanh", "gelu")
    assert (b.graph.output in layers(network)) != ends_in
    agrees(network)


def test_not_where_another_reads_the_layer_too(sketch, with_weights):
    b = sketch(3, 6, 6)
    x = b.conv("x", 4)
    b.add("add", b.add("relu", x), x)
    network = with_weights(b.graph)
    assert layers(network) == {
        "x": "Input", "conv1": "Convolution", "conv1/split": "Split", "relu2": "ReLU", "add3": "BinaryOp"
    }  # fmt: skip
    agrees(network)


def test_a_product_with_its_own_sigmoid_is_one_layer(sketch, with_weights):
    b = sketch(3, 6, 6)
    x = b.add("silu", b.conv("x", 4))
    b.add("mul", x, b.add("sigmoid", x))
    network = with_weights(b.graph)
    assert layers(network) == {"x": "Input", "conv1": "Convolution", "silu2": "Swish", "mul4": "Swish"}
    agrees(network)


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize(
    ("k", "s", "p", "n"), [(3, 2, 1, 8), (2, 2, 1, 7), (3, 3, 0, 7), (3, 2, 0, 6), (2, 3, 0, 7), (4, 3, 2, 9)]
)
@pytest.mark.parametrize("ceil", [0, 1])
@pytest.mark.parametrize("width", [2, 8])
def test_pools_end_where_torchs_do(sketch, k, s, p, n, ceil, count, width):
    b = sketch(width, n, n)
    x = b.pool("avg_pool", "x", k, s, p, ceil, count_include_pad=count)
    b.add("concat", x, b.pool("max_pool", "x", k, s, p, ceil), shape=(2 * width, *b.shapes[x][1:]), axis=0)
    agrees(Network(b.graph, {}))


def test_windows_need_not_be_square(sketch, with_weights):
    b = sketch(3, 11, 8)
    window = {"kernel": (5, 2), "stride": (2, 1), "padding": (2, 0), "dilation": (1, 2)}
    x = b.add("conv", "x", shape=(16, 6, 6), **window, groups=1, bias=1)
    pool = {"kernel": (3, 2), "stride": (1, 2), "padding": (1, 0), "ceil": 0}
    x = b.add("max_pool", x, shape=(16, 6, 3), **pool)
    b.add("avg_pool", x, shape=(16, 6, 1), **pool, count_include_pad=1)
    agrees(with_weights(b.graph))


@pytest.mark.parametrize("sizes", [(3, 4), (2, 3, 4), (4, 8, 3), (2, 3, 4, 5)])
def test_every_order_of_axes(sizes):
    for perm in permutations(range(len(sizes))):
        shape = tuple(sizes[p] for p in perm)
        ops = (op("x", "input", (), sizes), op("turned", "transpose", ("x",), shape, perm=perm))
        agrees(Network(Graph(ops, "turned"), {}))


@pytest.mark.parametrize(
    ("shape", "axis", "bounds"),
    [
        ((6, 7, 8), 0, (2, 6, 1)), ((6, 7, 8), 1, (0, 7, 2)), ((6, 7, 8), 2, (1, 8, 3)), ((16, 7, 8), 0, (4, 12, 1)),
        ((16, 7, 8), 2, (1, 6, 2)), ((9,), 0, (2, 5, 1)), ((5, 9), 0, (1, 4, 1)), ((5, 9), 1, (0, 3, 1)),
        ((2, 8, 3, 5), 0, (1, 2, 1)), ((2, 8, 3, 5), 1, (4, 8, 1)), ((2, 8, 3, 5), 3, (1, 4, 1)),
    ],
)  # fmt: skip
def test_slices(shape, axis, bounds):
    start, stop, step = bounds
    made = list(shape)
    made[axis] = len(range(*bounds))
    ops = (
        op("x", "input", (), shape),
        op("part", "slice", ("x",), tuple(made), axis=axis, start=start, stop=stop, step=step),
    )
    agrees(Network(Graph(ops, "part"), {}))


@pytest.mark.parametrize(
    ("shape", "pads"),
    [
        ((5,), (1, 2)), ((4, 5), (1, 2, 0, 3)), ((4, 5, 6), (0, 0, 1, 2, 3, 0)), ((4, 5, 6), (3, 1, 0, 0, 0, 0)),
        ((16, 5, 6), (8, 8, 0, 0, 0, 0)), ((16, 5, 6), (1, 3, 0, 1, 1, 0)), ((3, 4, 5, 6), (0, 0, 1, 2, 1, 0, 0, 2)),
    ],
)  # fmt: skip
def test_pads(shape, pads):
    made = tuple(n + pads[2 * i] + pads[2 * i + 1] for i, n in enumerate(shape))
    agrees(Network(Graph((op("x", "input", (), shape), op("y", "pad", ("x",), made, pads=pads)), "y"), {}))


@pytest.mark.parametrize("kind", ["add", "sub", "mul"])
@pytest.mark.parametrize(
    "other",
    [(16, 4, 5), (16, 1, 1), (1, 4, 5), (16, 4, 1), (16, 1, 5), (1, 1, 5), (1, 4, 1), (1, 1, 1)],
)
@pytest.mark.parametrize("swap", [False, True])
def test_broadcasting_is_torchs(kind, other, swap):
    shape, size = (16, 4, 5), int(np.prod(other))
    ops = [op("x", "input", (), shape), op("flat", "flatten", ("x",), (320,))]
    ops.append(op("bent", "tanh", ("flat",), (320,)))
    ops.append(op("some", "slice", ("bent",), (size,), axis=0, start=0, stop=size, step=1))
    ops.append(op("other", "reshape", ("some",), other, to=other))
    ops.append(op("y", kind, ("other", "x") if swap else ("x", "other"), shape))
    agrees(Network(Graph(tuple(ops), "y"), {}))


@pytest.mark.parametrize("shape", [(7,), (1, 7), (3, 7), (2, 3, 7), (1, 1, 7), (2, 3, 2, 7)])
@pytest.mark.parametrize("width", [5, 16])
def test_dense_layers_act_on_the_last_axis(sketch, with_weights, shape, width):
    b = sketch(*shape)
    b.add("relu", b.add("linear", "x", shape=(*shape[:-1], width), bias=1))
    agrees(with_weights(b.graph))


@pytest.mark.parametrize("shape", [(16,), (4, 16), (16, 3), (16, 4, 5), (2, 3, 4, 5)])
def test_softmax_and_batch_norm_and_concat_on_any_axis(sketch, with_weights, shape):
    b = sketch(*shape)
    x = b.add("batch_norm", "x", eps=1e-3) if len(shape) in (1, 3) else "x"
    for axis in range(len(shape)):
        y = b.add("softmax", x, axis=axis)
        doubled = tuple(n * (1 + (i == axis)) for i, n in enumerate(b.shapes[x]))
        x = b.add("concat", x, y, shape=doubled, axis=axis)
    agrees(with_weights(b.graph))


@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("width", [3, 16])
def test_global_pools(sketch, keep, width):
    b = sketch(width, 5, 6)
    b.add("global_pool", "x", shape=(width, 1, 1) if keep else (width,), keep=keep)
    agrees(Network(b.graph, {}))


@pytest.mark.parametrize("names", [("logits", "input", "x"), ("a", "logits", "input"), ("input", "a b", "logits")])
def test_operators_may_have_any_names(names):
    ops = (op(names[0], "input", (), (4,)), op(names[1], "relu", names[:1], (4,)))
    network = Network(Graph((*ops, op(names[2], "add", names[:2], (4,))), names[2]), {})
    assert len(layers(network)) == 4
    agrees(network)


def test_what_is_not_needed_is_not_written(sketch, with_weights):
    b = sketch(3, 6, 6)
    x = b.conv("x", 4)
    b.add("relu", x)
    network = with_weights(Graph(b.graph.ops, x))
    assert layers(network) == {"x": "Input", "conv1": "Convolution"}
    agrees(network)


def test_a_network_may_do_nothing():
    agrees(Network(Graph((op("x", "input", (), (4,)),), "x"), {}))


def test_the_file_says_what_it_is(graphs, with_weights):
    network = with_weights(graphs["residual"])
    artifact = write(network, metadata={"licence": "MIT", "note": "two\nlines"})
    end = 8 + int.from_bytes(artifact.data[:8], "little")
    lines = artifact.data[8:end].decode().splitlines()
    assert artifact.format == "ncnn"
    assert artifact.graph is network.graph
    assert lines[0] == "7767517"
    assert json.loads(lines[-1].removeprefix("# ")) == {"licence": "MIT", "note": "two\nlines"}
    assert len(lines) == 3 + int(lines[1].split()[0])
    assert {o.name for o in network.graph if o.kind == "conv"} <= set(layers(network))


def test_the_bin_holds_the_parameters(sketch, with_weights):
    b = sketch(3, 8, 8)
    b.head(b.add("relu", b.conv("x", 4, bias=1)))
    network = with_weights(b.graph)
    data = write(network).data
    tags = 2  # four bytes before the weights of each layer
    assert len(data) - 8 - int.from_bytes(data[:8], "little") == 4 * (network.graph.total_params + tags)


def test_int8_is_refused(graphs, with_weights):
    network = with_weights(graphs["residual"])
    first = next(o for o in network.graph if o.kind == "conv")
    ops = tuple(replace(o, bits=8) if o is first else o for o in network.graph)
    with pytest.raises(ValueError, match=rf"no int8 form of operator '{first.name}' \(conv\)"):
        write(Network(Graph(ops, network.graph.output), network.weights))


@pytest.mark.parametrize(
    ("kind", "shape", "made", "attrs"),
    [
        ("slice", (4, 5, 6), (2, 5, 6), {"axis": 0, "start": 0, "stop": 4, "step": 2}),
        ("pad", (4, 5), (4, 3), {"pads": (0, 0, -1, -1)}),
        ("pad", (2, 2, 2, 2), (3, 2, 2, 2), {"pads": (1, 0, 0, 0, 0, 0, 0, 0)}),
        ("reshape", (4, 4), (2, 2, 1, 2, 2), {"to": (2, 2, 1, 2, 2)}),
    ],
)
def test_what_ncnn_cannot_express_is_said(kind, shape, made, attrs):
    ops = (op("x", "input", (), shape), op("odd", kind, ("x",), made, **attrs))
    with pytest.raises(ValueError, match=rf"operator 'odd' \({kind}\) has no form in ncnn"):
        write(Network(Graph(ops, "odd"), {}))
