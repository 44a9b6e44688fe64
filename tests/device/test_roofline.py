from __future__ import annotations

import pytest

from chipfit.core.graph import Graph, Op, op
from chipfit.device.roofline import Roofline, by_operator, op_times, owner, probe, traffic

ROOF = Roofline(macs_per_ms=100.0, macs8_per_ms=400.0, bytes_per_ms=1000.0, launch_ms=0.5)
WINDOW = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1, "bias": 0}


def _block() -> Graph:
    """A residual block: conv1, relu1, conv2 and a shortcut convolution, added, relu2."""
    shape, k3, k1 = (2, 4, 4), (3, 3), (1, 1)
    ops = (
        op("x", "input", (), shape),
        op("conv1", "conv", ("x",), shape, "conv1", kernel=k3, **WINDOW),
        op("bn1", "batch_norm", ("conv1",), shape, "bn1", eps=1e-5),
        op("relu1", "relu", ("bn1",), shape),
        op("conv2", "conv", ("relu1",), shape, "conv2", kernel=k3, **WINDOW),
        op("short", "conv", ("x",), shape, "short", kernel=k1, **WINDOW),
        op("sum", "add", ("conv2", "short"), shape),
        op("relu2", "relu", ("sum",), shape),
    )
    return Graph(ops, "relu2")


@pytest.mark.parametrize(
    ("macs", "moved", "bits", "name"),
    [(200, 1000, 32, "compute"), (200, 1000, 8, "memory"), (100, 2000, 32, "memory"), (1, 1, 32, "launch")],
)
def test_the_largest_bound_names_the_bottleneck(macs: int, moved: int, bits: int, name: str) -> None:
    assert ROOF.bottleneck(macs, moved, bits) == name


def test_traffic_by_hand() -> None:
    g = _block()
    # conv1 in fp32: reads 2x4x4, writes 2x4x4, weights 2x2x3x3
    assert traffic(g, g["conv1"]) == 4 * (32 + 32 + 36)
    assert traffic(g, g["sum"]) == 4 * 3 * 32


def test_a_node_is_its_operator_s_with_what_the_runtime_added_to_the_name() -> None:
    g = _block()
    names = {
        "conv1": "conv1",
        "conv1_nchwc": "conv1",
        "conv1_token_6": "conv1",
        "fused conv1": "conv1",
        "conv1/weight_dq": "conv1",
        "conv12": None,
        "ReorderInput": None,
        "Transpose_token_x": None,
    }
    assert {n: owner(n, g) for n in names} == names


def test_the_longer_name_wins() -> None:
    ops = (op("x", "input", (), (1,)), op("a", "relu", ("x",), (1,)), op("a.b", "relu", ("a",), (1,)))
    assert owner("a.b_nchwc", Graph(ops, "a.b")) == "a.b"


def test_fused_nodes_are_found_by_the_way_back() -> None:
    # as ONNX Runtime names them: conv1 with relu1, the shortcut alone, conv2 with add and relu2
    nodes = [("relu1_nchwc", "Conv", 30.0), ("short_nchwc", "Conv", 10.0), ("relu2_nchwc", "Conv", 50.0)]
    rows = op_times([*nodes, ("ReorderOutput", "ReorderOutput", 10.0)], _block(), 2.0, ROOF)
    assert [(r.op, r.kind) for r in rows[:2]] == [("conv2", "conv"), ("conv1", "conv")]
    assert {r.op for r in rows[2:]} == {"short", "ReorderOutput"}
    assert sum(r.ms for r in rows) == pytest.approx(2.0)
    assert rows[0].ms == pytest.approx(1.0)
    assert rows[0].macs == 2 * 2 * 9 * 16


def test_a_file_of_others_has_its_own_kinds() -> None:
    ops = (
        op("x", "input", (), (1, 2, 4, 4)),
        Op("constant w", "Constant", (), (2, 2, 3, 3), (("macs", 0),)),
        Op("c1", "Conv", ("x", "constant w"), (1, 2, 4, 4), (("macs", 576),)),
        Op("r1", "Relu", ("c1",), (1, 2, 4, 4), (("macs", 0),)),
    )
    (row,) = op_times([("r1_nchwc", "Conv", 30.0)], Graph(ops, "r1"), 2.0, ROOF)
    assert (row.op, row.kind, row.macs, row.bytes) == ("c1", "Conv", 576, 4 * (32 + 36 + 32))


def test_parts_of_one_operator_are_added_up() -> None:
    nodes = [("conv1", "QLinearConv", 6.0), ("conv1/q", "QuantizeLinear", 2.0), ("sum", "Add", 2.0)]
    rows = op_times(nodes, _block(), 1.0, ROOF)
    assert [(r.op, round(r.ms, 6)) for r in rows] == [("conv1", 0.8), ("sum", 0.2)]


def test_probing_by_hand() -> None:
    # 2 convolutions 128 -> 128, 3x3, 28x28 in 2 ms (fp32) and 1 ms (int8); 8 adds of 1 MB in 1 ms; 33 calls in 0.4
    found = probe(lambda files: [2.0, 1.0, 1.0, 0.08, 0.4][: len(files)])
    macs = 2 * 128 * 128 * 9 * 28 * 28
    assert found.macs_per_ms == macs / 2
    assert found.macs8_per_ms == macs
    assert found.bytes_per_ms == 8 * 2 * 2**20
    assert found.launch_ms == pytest.approx(0.01)


@pytest.mark.parametrize("kind", ["Conv", "Convolution", "CONV_2D", "Conv2D", "DEPTHWISE_CONV_2D"])
def test_every_runtime_s_word_for_a_convolution_leads_to_it(kind: str) -> None:
    found = by_operator([("relu1", kind, 2.0), ("relu1", "Relu", 1.0)], _block())
    assert found == {("conv1", "conv"): 2.0, ("relu1", "relu"): 1.0}


@pytest.mark.parametrize("kind", ["Gemm", "MatMul", "FullyConnected", "FULLY_CONNECTED"])
def test_every_runtime_s_word_for_a_dense_layer_leads_to_it(kind: str) -> None:
    ops = (op("x", "input", (), (4,)), op("fc", "linear", ("x",), (4,), "fc", bias=1), op("act", "relu", ("fc",), (4,)))
    assert by_operator([("act", kind, 2.0)], Graph(ops, "act")) == {("fc", "linear"): 2.0}
