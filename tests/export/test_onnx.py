from __future__ import annotations

import numpy as np
import onnx
import pytest

from chipfit.core.graph import KINDS, Graph, Network, op
from chipfit.export.dummy import dummy_ranges, random_weights
from chipfit.export.onnx import write
from one_operator import CASES, CONSTANTS, by_kind


def inputs(network: Network, n: int = 1) -> np.ndarray:
    return np.random.default_rng(7).normal(size=(n, *network.graph.input_shape)).astype(np.float32)


def test_the_graphs_of_these_tests_hold_every_kind(graphs):
    held = frozenset(o.kind for g in graphs.values() for o in g)
    assert held | by_kind(CASES) | by_kind(CONSTANTS) == KINDS


def test_outputs_agree_with_torch(network, evaluate, run):
    artifact = write(network)
    onnx.checker.check_model(artifact.data, full_check=True)
    x = inputs(network)
    want = evaluate(network, x)[network.graph.output]
    np.testing.assert_allclose(run(artifact.data, x), want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize("bits", [32, 8])
def test_an_open_batch_axis_takes_any_batch(network, evaluate, run, int8, real_ranges, bits):
    if bits == 8:
        network = int8(network)
    data = write(network, ranges=real_ranges(network), batch=None).data
    onnx.checker.check_model(data, full_check=True)
    x = inputs(network, 7)
    together = run(data, x)
    alone = np.concatenate([run(data, x[i : i + 1]) for i in range(7)])
    assert together.shape == (7, 10)
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-4 * np.abs(alone).max())


def test_the_file_says_what_it_is(graphs, with_weights):
    network = with_weights(graphs["residual"])
    artifact = write(network, batch=3, name="small", metadata={"chipfit.run": "7", "licence": "MIT"})
    model = onnx.load_from_string(artifact.data)
    assert artifact.format == "onnx"
    assert artifact.graph is network.graph
    assert model.graph.name == "small"
    assert {p.key: p.value for p in model.metadata_props} == {"chipfit.run": "7", "licence": "MIT"}
    ends = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in (*model.graph.input, *model.graph.output)
    }
    assert ends == {"input": [3, 3, 16, 16], "logits": [3, 10]}
    assert model.ir_version <= 10
    assert model.opset_import[0].version == 18


def test_nodes_are_named_like_the_operators_they_are(graphs, with_weights):
    graph = graphs["residual"]
    names = {n.name: n.op_type for n in onnx.load_from_string(write(with_weights(graph)).data).graph.node}
    assert {o.name for o in graph if o.kind not in ("input", "batch_norm")} <= set(names)
    assert {names[o.name] for o in graph if o.kind == "conv"} == {"Conv"}


def test_parameters_in_the_file_are_those_of_the_graph(sketch, with_weights):
    b = sketch(3, 8, 8)
    b.head(b.add("relu", b.conv("x", 4, bias=1)))
    network = with_weights(b.graph)
    model = onnx.load_from_string(write(network).data)
    assert sum(int(np.prod(t.dims)) for t in model.graph.initializer) == network.graph.total_params


def test_shared_arrays_are_written_once(sketch, with_weights):
    b = sketch(3, 8, 8)
    b.conv(b.conv("x", 3), 3)
    first, second = b.ops[1:]
    graph = Graph(
        (b.ops[0], first, op("again", "conv", second.inputs, second.shape, first.weights, **dict(second.attrs))),
        "again",
    )
    model = onnx.load_from_string(write(with_weights(graph)).data)
    assert [t.name for t in model.graph.initializer] == [f"{first.name}.weight"]


@pytest.mark.parametrize("bits", [32, 8])
@pytest.mark.parametrize("names", [("logits", "input", "x"), ("a", "logits", "input"), ("input", "a", "logits")])
def test_operators_may_have_the_names_of_the_files_ends(names, bits, run):
    ops = (op(names[0], "input", (), (4,)), op(names[1], "relu", names[:1], (4,), bits=bits))
    graph = Graph((*ops, op(names[2], "add", names[:2], (4,), bits=bits)), names[2])
    x = np.array([[-1, -0.5, 0.5, 1]], np.float32)
    got = run(write(Network(graph, {}), ranges=dict.fromkeys(names, (-2.0, 2.0))).data, x)
    np.testing.assert_allclose(got, [[-1, -0.5, 1, 2]], atol=0.02)


def test_a_network_may_do_nothing(run):
    x = np.arange(4, dtype=np.float32).reshape(1, 4)
    assert (run(write(Network(Graph((op("x", "input", (), (4,)),), "x"), {})).data, x) == x).all()


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize(
    ("k", "s", "p", "n"), [(3, 2, 1, 8), (2, 2, 1, 7), (3, 3, 0, 7), (3, 2, 0, 6), (2, 3, 0, 7), (4, 3, 2, 9)]
)
@pytest.mark.parametrize("ceil", [0, 1])
def test_pools_end_where_torchs_do(sketch, evaluate, run, k, s, p, n, ceil, count):
    b = sketch(2, n, n)
    x = b.pool("avg_pool", "x", k, s, p, ceil, count_include_pad=count)
    b.add("concat", x, b.pool("max_pool", "x", k, s, p, ceil), shape=(4, *b.shapes[x][1:]), axis=0)
    network = Network(b.graph, {})
    x = inputs(network)
    np.testing.assert_allclose(run(write(network).data, x), evaluate(network, x)[b.graph.output], rtol=1e-5, atol=1e-6)


def test_random_networks_can_be_timed(network, int8, run):
    graph = network.graph
    weights = random_weights(graph, np.random.default_rng(0))
    assert {k: a.shape for k, a in weights.items()} == {k: a.shape for k, a in network.weights.items()}
    assert all(a.dtype == np.float32 for a in weights.values())
    for timed in (Network(graph, weights), int8(Network(graph, weights))):
        y = run(write(timed, ranges=dummy_ranges(graph)).data, inputs(timed))
        assert np.isfinite(y).all()
        assert np.ptp(y) > 0
        assert np.abs(y).max() < 1e3
