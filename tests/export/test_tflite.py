"""TensorFlow Lite files answer as the networks do, in float and in int8, with either set of LiteRT's kernels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

import made_up
from chipfit.core.graph import Graph, Network, op
from chipfit.device.processor import Processor
from chipfit.export.formats import timing_bytes

litert = pytest.importorskip("ai_edge_litert.interpreter")
schema = pytest.importorskip("ai_edge_litert.schema_py_generated")

from chipfit.core.types import Artifact  # noqa: E402
from chipfit.device.litert import LiteRt, LiteRtBuiltin  # noqa: E402
from chipfit.export.tflite import write  # noqa: E402

Answer = Callable[[bytes, NDArray[np.float32]], NDArray[np.float32]]


@pytest.fixture(params=[LiteRt, LiteRtBuiltin], ids=lambda kind: kind.name, scope="module")
def answer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answer]:
    kind: type[Processor] = request.param
    folder = made_up.calibrated(kind, tmp_path_factory.mktemp("cache"))
    with kind(timing_bytes, cache_dir=folder) as device:
        yield lambda data, x: device.run(Artifact("tflite", data, _NOTHING), x)


_NOTHING = Graph((op("x", "input", (), (1,)),), "x")


def inputs(network: Network, n: int = 3) -> NDArray[np.float32]:
    return np.random.default_rng(7).normal(size=(n, *network.graph.input_shape)).astype(np.float32)


def operators(data: bytes) -> Counter[str]:
    """How many operators of each kind a file has."""
    model = schema.ModelT.InitFromPackedBuf(data)
    kinds = {v: k for k, v in vars(schema.BuiltinOperator).items()}
    return Counter(kinds[model.operatorCodes[o.opcodeIndex].builtinCode] for o in model.subgraphs[0].operators)


def test_outputs_agree_with_torch(network, evaluate, answer):
    x = inputs(network)
    want = evaluate(network, x)[network.graph.output]
    np.testing.assert_allclose(answer(write(network).data, x), want, rtol=1e-4, atol=1e-5 * np.abs(want).max())


def test_int8_outputs_are_near(network, int8, real_ranges, evaluate, answer):
    x = inputs(network, 16)
    want = evaluate(network, x)[network.graph.output]
    got = answer(write(int8(network), ranges=real_ranges(network)).data, x)
    assert np.abs(got - want).mean() < 0.02 * np.abs(want).max()


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize(
    ("k", "s", "p", "n"),
    [(3, 2, 1, 8), (2, 2, 1, 7), (3, 3, 0, 7), (3, 2, 0, 6), (2, 3, 0, 7), (4, 3, 2, 9), (3, 1, 1, 6)],
)
@pytest.mark.parametrize("ceil", [0, 1])
@pytest.mark.parametrize("bits", [32, 8])
def test_pools_end_where_torchs_do(sketch, evaluate, answer, int8, real_ranges, k, s, p, n, ceil, count, bits):
    b = sketch(2, n, n)
    x = b.pool("avg_pool", "x", k, s, p, ceil, count_include_pad=count)
    b.add("concat", x, b.pool("max_pool", "x", k, s, p, ceil), shape=(4, *b.shapes[x][1:]), axis=0)
    network = Network(b.graph, {})
    x = inputs(network)
    want = evaluate(network, x)[b.graph.output]
    made = write(int8(network) if bits == 8 else network, ranges=real_ranges(network)).data
    np.testing.assert_allclose(answer(made, x), want, atol=1e-5 if bits == 32 else 0.1)


@pytest.mark.parametrize(
    ("k", "s", "d", "n"), [(3, 2, 1, 8), (3, 2, 1, 7), (5, 2, 1, 9), (3, 1, 2, 7), (1, 2, 1, 6), (2, 1, 1, 5)]
)
@pytest.mark.parametrize("groups", [1, 4])
def test_convolutions_end_where_torchs_do(sketch, evaluate, with_weights, answer, k, s, d, n, groups):
    b = sketch(4, n, n)
    b.conv("x", 8, k, s, groups, 1, d)
    network = with_weights(b.graph)
    x = inputs(network)
    np.testing.assert_allclose(
        answer(write(network).data, x), evaluate(network, x)[b.graph.output], rtol=1e-4, atol=1e-5
    )


def test_relus_are_part_of_the_operators_before_them(graphs, with_weights):
    found = operators(write(with_weights(graphs["residual"])).data)
    assert found["RELU"] == 0
    assert found["CONV_2D"] == sum(o.kind == "conv" for o in graphs["residual"])
    assert found["TRANSPOSE"] == 0


def test_a_flatten_that_dense_layers_read_is_not_transposed(graphs, with_weights):
    assert operators(write(with_weights(graphs["pooled"])).data)["TRANSPOSE"] == 0


def test_what_is_all_int8_is_converted_at_the_ends_only(graphs, with_weights, int8, real_ranges):
    network = with_weights(graphs["mobile"])
    found = operators(write(int8(network), ranges=real_ranges(network)).data)
    assert (found["QUANTIZE"], found["DEQUANTIZE"]) == (1, 1)


def test_shared_arrays_are_written_once(sketch, with_weights):
    b = sketch(3, 8, 8)
    b.conv(b.conv("x", 3), 3)
    first, second = b.ops[1:]
    again = op("again", "conv", second.inputs, second.shape, first.weights, **dict(second.attrs))
    one = len(write(with_weights(Graph((b.ops[0], first), first.name))).data)
    assert len(write(with_weights(Graph((b.ops[0], first, again), "again"))).data) < one + 400


def test_the_file_keeps_its_notes(graphs, with_weights):
    artifact = write(with_weights(graphs["residual"]), metadata={"licence": "MIT"}, name="small")
    model = schema.ModelT.InitFromPackedBuf(artifact.data)
    assert artifact.format == "tflite"
    assert model.subgraphs[0].name == b"small"
    (note,) = model.metadata
    assert (note.name, bytes(model.buffers[note.buffer].data)) == (b"licence", b"MIT")
    runner = litert.Interpreter(model_content=artifact.data).get_signature_runner()
    assert set(runner.get_input_details()) == {"input"}
    assert set(runner.get_output_details()) == {"logits"}


def test_a_network_may_do_nothing(answer):
    x = np.arange(4, dtype=np.float32).reshape(1, 4)
    assert (answer(write(Network(Graph((op("x", "input", (), (4,)),), "x"), {})).data, x) == x).all()


def test_a_range_that_is_missing_is_named(graphs, with_weights, int8, real_ranges):
    network = int8(with_weights(graphs["residual"]))
    known = real_ranges(network)
    del known[network.graph.output]
    with pytest.raises(ValueError, match=network.graph.output):
        write(network, ranges=known)
