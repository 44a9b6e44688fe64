from __future__ import annotations

from dataclasses import replace

import onnx
import pytest

from chipfit.core.errors import BadInput
from chipfit.core.graph import KINDS, Graph, Op, op
from chipfit.device.accelerator.work import PRICED, WIDEST, Layer, Shrunk, Stream, Work, works
from chipfit.evaluate.onnx_counts import counted
from chipfit.export.formats import timing_artifact
from chipfit.nets.published import PUBLISHED, Sheet, published


def by_name(found: tuple[Work, ...]) -> dict[str, Work]:
    return {w.op: w for w in found}


@pytest.mark.parametrize("name", PUBLISHED)
def test_macs_are_those_of_the_graph(name: str) -> None:
    graph = published(name, size=64, classes=10) if name != "alexnet" else published(name)
    assert sum(w.macs for w in works(graph) if isinstance(w, Layer)) == graph.total_macs


def test_a_convolution_and_a_dense_layer() -> None:
    sheet = Sheet(12)
    x = sheet.unit("input", 8, 5, 2)
    y = sheet.dense(sheet.mean(x), 10)
    found = by_name(works(sheet.graph(y)))
    assert found["conv1"] == Layer("conv1", 8, 3, (6, 6), (5, 5), (2, 2), (2, 2), first=True)
    assert found["linear5"] == Layer("linear5", 10, 8, (1, 1))
    assert found["global_pool4"] == Stream("global_pool4", "global_pool", 8 * 36, 8)
    assert len(found) == 3


def test_a_dense_layer_on_several_rows_has_a_position_for_each() -> None:
    graph = Graph(
        (
            op("input", "input", (), (6, 5, 4)),
            op("flat", "reshape", ("input",), (30, 4), to=(30, 4)),
            op("fc", "linear", ("flat",), (30, 7), "fc", bias=0),
        ),
        "fc",
    )
    (layer,) = works(graph)
    assert layer == Layer("fc", 7, 4, (30, 1))


def test_what_follows_an_operator_is_fused_and_what_follows_a_view_streams() -> None:
    sheet = Sheet(8)
    a, b = sheet.conv("input", 4, 3), sheet.conv("input", 4, 1)
    joined = sheet.concat(a, b)
    out = sheet.act(sheet.norm(joined))
    found = works(sheet.graph(out))
    assert [w.op for w in found] == [a, b, "batch_norm4"]  # the ReLU is fused into the pass of the norm


def test_an_activation_of_what_others_read_too_streams() -> None:
    sheet = Sheet(8)
    a = sheet.conv("input", 4, 3)
    b = sheet.act(a)
    found = works(sheet.graph(sheet.add(a, b)))
    assert [w.op for w in found] == [a, b, "add3"]
    assert found[-1] == Stream("add3", "add", 2 * 4 * 64, 4 * 64)


def test_int8_operators_and_compressed_layers_have_fewer_bits_and_taps() -> None:
    sheet = Sheet(8)
    conv = sheet.conv("input", 4, 3)
    plain = sheet.graph(conv)
    int8 = Graph((plain.ops[0], replace(plain[conv], bits=8)), conv)
    (layer,) = works(int8)
    assert isinstance(layer, Layer)
    assert (layer.weight_bits, layer.value_bits, layer.taps) == (8, 8, 9)
    (layer,) = works(plain, {conv: Shrunk(kept=5, weight_bits=4)})
    assert isinstance(layer, Layer)
    assert (layer.weight_bits, layer.value_bits, layer.taps) == (4, WIDEST, 5)
    assert layer.kept_macs * 9 == layer.macs * 5


@pytest.mark.parametrize(
    ("shrunk", "said"),
    [
        ({"conv9": Shrunk()}, "'conv9' is no operator of the network; its layers: conv1"),
        ({"conv1": Shrunk(kept=10)}, "10 taps are to be kept of 'conv1', which has 9"),
        ({"conv1": Shrunk(weight_bits=0)}, "'conv1' is to have 0 bits; give 1 to 16"),
        ({"conv1": Shrunk(value_bits=17)}, "17 bits"),
    ],
)
def test_compression_that_cannot_be_is_named(shrunk: dict[str, Shrunk], said: str) -> None:
    sheet = Sheet(8)
    with pytest.raises(BadInput, match=said):
        works(sheet.graph(sheet.conv("input", 4, 3)), shrunk)


def test_every_kind_with_a_rule_is_one_of_ours() -> None:
    assert PRICED <= KINDS


def test_operators_without_a_rule_are_named() -> None:
    foreign = [Op(f"node{i}", kind, ("input",), (3, 8, 8), (("macs", 0),)) for i, kind in enumerate(["Einsum"] * 6)]
    graph = Graph((op("input", "input", (), (3, 8, 8)), *foreign), "node5")
    with pytest.raises(BadInput, match=r"no rule for Einsum 'node0', .* and 2 more; fit it to a CPU"):
        works(graph)


def test_macs_are_those_of_the_exported_file() -> None:
    graph = published("mobilenet_v2", size=64, classes=10)
    exported = counted(onnx.load_model_from_string(timing_artifact(graph, "onnx").data))
    assert sum(w.macs for w in works(graph) if isinstance(w, Layer)) == exported.total_macs
