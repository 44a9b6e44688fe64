"""Whole files of other makers' style become the network that they are."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import chipfit
from chipfit.core.data import Dataset, Split
from chipfit.core.errors import BadInput, Note
from chipfit.core.graph import Network
from chipfit.core.ports import Ends
from chipfit.export.formats import unwritable
from chipfit.export.lower import prepared
from chipfit.export.onnx import write as write_ours
from chipfit.nets.build import build
from chipfit.nets.faithful import traced
from chipfit.nets.load import load_models
from chipfit.nets.onnx.order import sort_nodes
from chipfit.nets.onnx.read import load
from chipfit.nets.trace import trace
from onnx_files import LSTM, light, write

KERAS = """
keras (float[N, 8, 8, 3] image) => (float[N, 4] out)
<
    float[8, 3, 3, 3] k1, float[8] b1, float[8] scale, float[8] shift, float[8] mean,
    float[8, 1, 3, 3] k2, float[16, 8, 1, 1] k3, float[16, 1, 1] b3, float[16, 4] k4, float[4] b4, float[4, 1, 1, 4] a
>
{
    x = Transpose <perm = [0, 3, 1, 2]> (image)
    c1 = Conv <auto_pad = "SAME_UPPER", strides = [2, 2]> (x, k1, b1)
    three = Constant <value = float {3.0}> ()
    zero = Constant <value = float {0.0}> ()
    six = Constant <value = float {6.0}> ()
    s1 = Add (c1, three)
    s2 = Clip (s1, zero, six)
    s3 = Mul (c1, s2)
    swish = Div (s3, six)
    c2 = Conv <auto_pad = "SAME_UPPER", group = 8> (swish, k2)
    variance = Mul (scale, scale)
    n = BatchNormalization <epsilon = 0.001> (c2, scale, shift, mean, variance)
    r = Clip (n, zero, six)
    c3 = Conv (r, k3)
    c4 = Add (c3, b3)
    t = Transpose <perm = [0, 2, 3, 1]> (c4)
    axes = Constant <value = int64[2] {1, 2}> ()
    g = ReduceMean <axes = [1, 2], keepdims = 0> (t)
    d = MatMul (g, k4)
    l = Add (d, b4)
    out = Softmax <axis = -1> (l)
}
"""
"""As tf2onnx writes a small MobileNet: pictures (H, W, C), pads by word, a hard swish in pieces."""


def entry_network(path: str, shape: tuple[int, ...] | None = None) -> Network:
    """The network of a file, held against the file as `load_models` does."""
    file = load(Path(path), shape)
    network, answers = traced(path, file.module, file.shape)
    file.held(answers)
    return network


def kinds(network: Network) -> list[str]:
    return [o.kind for o in network.graph]


def run(path: str, x: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {session.get_inputs()[0].name: x})
    return np.asarray(answer)


def test_a_file_in_the_style_of_keras(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", KERAS.replace("float[4, 1, 1, 4] a", "float[1] a").replace(", float[1] a", ""))
    network = entry_network(path)
    assert network.graph.input_shape == (8, 8, 3)
    assert "opaque" not in kinds(network)
    assert {"conv", "hard_swish", "relu6", "batch_norm", "linear", "softmax"} <= set(kinds(network))
    head = next(o for o in network.graph if o.kind == "linear")
    assert head["bias"] == 1, "MatMul and Add are one layer"
    assert all(o["bias"] for o in network.graph if o.kind == "conv" and o["groups"] == 1), "so are Conv and Add"


def test_pictures_with_channels_last_take_those_of_the_data(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", KERAS.replace(", float[4, 1, 1, 4] a", ""))
    (entry,) = load_models([path], input_shape=(3, 8, 8))
    assert entry.network.graph.input_shape == (3, 8, 8)
    assert "transpose" not in kinds(entry.network)[:3], "the two in front meet and vanish"
    assert entry.notes == ("takes pictures (C, H, W) in the place of (H, W, C), so does the file that is written",)
    assert entry.source == path
    assert entry.answers is not None
    want = run(path, entry.answers.inputs.transpose(0, 2, 3, 1))
    np.testing.assert_allclose(build(entry.network)(torch.from_numpy(entry.answers.inputs)).detach(), want, atol=1e-5)


@pytest.mark.parametrize(
    ("reduction", "kind", "opset"),
    [
        ("ReduceMean <axes = [1, 2], keepdims = 0> (t)", "global_pool", 13),
        ("ReduceMean <axes = [-2, -3], keepdims = 0> (t)", "global_pool", 17),
        ("ReduceMean <keepdims = 0> (t, axes)", "global_pool", 18),
        ("ReduceMax <axes = [1, 2], keepdims = 0> (t)", "global_max_pool", 13),
        ("ReduceMean <axes = [1, 3], keepdims = 0> (t)", "reduce_mean", 13),
    ],
)
def test_a_mean_over_all_places_of_a_turned_map_is_a_pool(
    tmp_path: Path, reduction: str, kind: str, opset: int
) -> None:
    text = f"""
    g (float[n, 3, 8, 8] x) => (float[n, 2] y) <float[6, 3, 3, 3] k, float[6, 2] w> {{
        c = Conv (x, k)
        t = Transpose <perm = [0, 2, 3, 1]> (c)
        axes = Constant <value = int64[2] {{1, 2}}> ()
        g = {reduction}
        y = MatMul (g, w)
    }}
    """
    network = entry_network(write(tmp_path / "m.onnx", text, opset))
    if kind == "reduce_mean":
        assert kinds(network) == ["input", "conv", "transpose", "reduce_mean", "linear"]
        return
    assert kinds(network) == ["input", "conv", kind, "linear"]
    assert not unwritable(prepared(network)[0].graph, "ncnn")
    pytest.importorskip("ai_edge_litert.schema_py_generated")
    assert not unwritable(prepared(network)[0].graph, "tflite")


class Mixed(nn.Module):
    """Conventional layers and what exporters write apart."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.SiLU())
        self.block = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.norm = nn.LayerNorm(8)
        self.up = nn.Linear(8, 16)
        self.head = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = x + nn.functional.hardswish(self.block(x))
        rows = x.flatten(2).transpose(1, 2)
        rows = nn.functional.gelu(self.up(self.norm(rows)))
        answer: torch.Tensor = self.head(rows.mean(1))
        return answer


@pytest.mark.parametrize("open_batch", [True, False])
def test_a_file_of_torchs_exporter(tmp_path: Path, open_batch: bool) -> None:
    torch.manual_seed(0)
    module, path = Mixed().eval(), tmp_path / "m.onnx"
    shapes = ({0: torch.export.Dim("n")},) if open_batch else None
    x = torch.randn(2 if open_batch else 1, 3, 8, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about names that it uses itself
        torch.onnx.export(module, (x,), path, dynamo=True, dynamic_shapes=shapes, verbose=False)
    network = entry_network(str(path))
    assert "opaque" not in kinds(network)
    assert {"stem.0", "block", "up", "head"} & {o.name for o in network.graph}
    assert {"gelu", "layer_norm", "linear", "conv"} <= set(kinds(network))
    many = torch.randn(5, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(build(network)(many), module(many), rtol=1e-4, atol=1e-5)


def test_a_file_of_ours_is_the_network_that_it_was_made_of(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = trace(Mixed().eval(), (3, 8, 8))
    path = tmp_path / "ours.onnx"
    path.write_bytes(write_ours(network).data)
    again = entry_network(str(path))
    assert {"conv", "silu", "gelu", "layer_norm"} <= set(kinds(again))
    assert again.graph.total_macs == network.graph.total_macs
    x = torch.randn(3, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(build(again)(x), build(network)(x), rtol=1e-4, atol=1e-5)


def test_a_classic_network_of_fixed_batch(tmp_path: Path) -> None:
    """Its weights are constants of one value, under which logits are all alike: it gets some that differ."""
    model = onnx.load(light("squeezenet"))
    rng = np.random.default_rng(0)
    for node in [n for n in model.graph.node if n.op_type == "ConstantOfShape"]:
        shape = next(numpy_helper.to_array(t) for t in model.graph.initializer if t.name == node.input[0])
        weight = rng.standard_normal(shape, np.float32) / np.sqrt(max(np.prod(shape[1:]), 1))
        model.graph.initializer.append(numpy_helper.from_array(weight.astype(np.float32), node.output[0]))
        model.graph.node.remove(node)
    path = tmp_path / "squeezenet.onnx"
    path.write_bytes(model.SerializeToString())
    network = entry_network(str(path))
    assert sum(o.kind == "conv" for o in network.graph) == 26
    assert network.graph.total_params == 1_235_496


def test_tokens_and_recurrent_layers(tmp_path: Path) -> None:
    text = """
    words (int64[n, 6] ids) => (float[n, 3] y)
    <float[10, 4] table, float[1, 20, 4] w, float[1, 20, 5] r, float[1, 40] b, float[3, 5] head>
    {
        e = Gather (table, ids)
        steps = Transpose <perm = [1, 0, 2]> (e)
        all, last = LSTM <hidden_size = 5> (steps, w, r, b)
        axes = Constant <value = int64[1] {0}> ()
        state = Squeeze (last, axes)
        y = Gemm <transB = 1> (state, head)
    }
    """
    (entry,) = load_models([write(tmp_path / "m.onnx", text)], input_shape=(6,))
    assert entry.network.graph.ops[0].get("integer") == 1
    assert {"embedding", "linear", "opaque"} <= set(kinds(entry.network))


def quantised(path: Path, network: Path, operators: list[str] | None = None) -> str:
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            rng = np.random.default_rng(0)
            self.left = iter([{"input": rng.standard_normal((1, 3, 8, 8), np.float32)} for _ in range(8)])

        def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[type-arg]
            return next(self.left, None)

    quantization.quantize_static(network, path, Reader(), quant_format=quantization.QuantFormat.QDQ, per_channel=True)
    return str(path)


def test_a_quantised_file_is_read_as_its_float_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    network = trace(nn.Sequential(*layers, nn.Linear(8, 4)).eval(), (3, 8, 8))
    plain = tmp_path / "plain.onnx"
    plain.write_bytes(write_ours(network).data)
    path = quantised(tmp_path / "int8.onnx", plain)
    again = entry_network(path)
    assert [k for k in kinds(again) if k in ("relu", "relu6")], "a clamp that the grid stood for is there again"
    x = torch.randn(4, 3, 8, 8)
    with torch.no_grad():
        got, want = build(again)(x), build(network)(x)
    assert float((got - want).abs().max()) < 0.05 * float(want.abs().max())
    rows = Split(np.random.default_rng(1).standard_normal((40, 3, 8, 8), np.float32), np.zeros(40, np.int64))
    data = Dataset("rows", ("a", "b"), (0.0,) * 3, (1.0,) * 3, rows, rows, lambda: rows)
    (entry,) = load_models([path], dataset=data)
    said = re.search(
        r"the float network of an int8 file; the file's own answers are (\S+) % of the largest", entry.notes[0]
    )
    assert said is not None
    assert 0 < float(said[1]) < 10


def test_half_precision_is_read_as_float32(tmp_path: Path) -> None:
    text = "g (float16[n, 6] x) => (float16[n, 4] y) { a = MatMul (x, w) y = Relu (a) }"
    model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 17]>\n' + text)
    w = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float16)
    model.graph.initializer.append(numpy_helper.from_array(w, "w"))
    path = tmp_path / "half.onnx"
    path.write_bytes(model.SerializeToString())
    network = entry_network(str(path))
    assert next(iter(network.weights.values())).dtype == np.float32


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LSTM, "is read wrongly|answers with|mixes|batch"),
        (
            "g (float[n, 4] x) => (float[n, 4] y, float[n, 4] z) { y = Relu (x) z = Tanh (x) }",
            "2 values: y, z; .*--output",
        ),
        ("g (float[n, 4] x) => (float[n, 4] y) { y = Relu (z) }", "reads 'z', which nothing makes"),
        ("g (float[n, T] x) => (float[n, T] y) { y = Relu (x) }", "leaves the shape of its input open"),
        ("g (float[n, 4] x) => (float[n, 4] y) { y = HannWindow (x) }", "'HannWindow' has no rule"),
        ("g (float[n, 4] x) => (float[n, 4] y) { y = com.microsoft.Gelu (x) }", "of 'com.microsoft' is none of ONNX's"),
        ("g (float[n, 4] x) => (float[m] y) { y = NonZero (x) }", "'NonZero' has no rule"),
        (
            "g (string[n, 4] x) => (string[n, 4] y) { y = Identity (x) }",
            "is string; floats, int32, int64, uint8 and int8 are",
        ),
        ("g (float[n, 4] x) => (float[4] y) <float[4] w> { y = Relu (w) }", "does not depend on what goes in"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        entry_network(write(tmp_path / "m.onnx", text))
    assert "\n" not in str(caught.value)


def test_one_of_several_outputs(tmp_path: Path) -> None:
    weights = "<float[4, 3] v, float[4, 2] w>"
    text = f"g (float[n, 4] x) => (float[n, 3] a, float[n, 2] b) {weights} {{ a = MatMul (x, v) b = MatMul (x, w) }}"
    path = write(tmp_path / "m.onnx", text)
    for said in ("b", "1"):
        (entry,) = load_models([path], input_shape=(4,), ends=Ends(output=said))
        assert entry.network.graph[entry.network.graph.output].shape == (2,)
        assert entry.notes == ("output b; a dropped",)
    with pytest.warns(Note, match="m: output b; a dropped"):
        chipfit.check(path, limits={"size_mb": 1}, device="null", input_shape=(4,), output="b")
    with pytest.raises(BadInput, match="has no output 'c'; it answers a, b"):
        load_models([path], input_shape=(4,), ends=Ends(output="c"))


def test_a_gelu_in_pieces_is_one(tmp_path: Path) -> None:
    text = """
    g (float[n, 6] x) => (float[n, 6] y) <float[6, 6] w> {
        x1 = MatMul (x, w)
        r = Constant <value = float {1.4142135}> ()
        a = Div (x1, r)
        b = Erf (a)
        o = Constant <value = float {1.0}> ()
        c = Add (b, o)
        d = Mul (x1, c)
        h = Constant <value = float {0.5}> ()
        y = Mul (d, h)
    }
    """
    assert kinds(entry_network(write(tmp_path / "m.onnx", text))) == ["input", "linear", "gelu"]


def test_control_flow_on_data_is_refused_and_a_decided_branch_is_taken(tmp_path: Path) -> None:
    branch = """
    g (float[n, 4] x) => (float[n, 4] y) <float[4, 4] w> {{
        {condition}
        y = If (c) <
            then_branch = a () => (float[n, 4] p) {{ p = MatMul (x, w) }},
            else_branch = b () => (float[n, 4] q) {{ q = Relu (x) }}
        >
    }}
    """
    known = branch.format(condition="c = Constant <value = bool {1}> ()")
    assert "linear" in kinds(entry_network(write(tmp_path / "known.onnx", known)))
    unknown = branch.format(
        condition="m = ReduceMax <keepdims = 0> (x) z = Constant <value = float {0.0}> () c = Greater (m, z)"
    )
    with pytest.raises(BadInput, match="'If' .* is control flow"):
        entry_network(write(tmp_path / "unknown.onnx", unknown))


def test_weights_beside_the_file(tmp_path: Path) -> None:
    w = numpy_helper.from_array(np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 64])], [w],
    )  # fmt: skip
    path = tmp_path / "m.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    assert "linear" in kinds(entry_network(str(path)))
    data = (tmp_path / "w.bin").read_bytes()
    (tmp_path / "w.bin").write_bytes(data[:100])
    with pytest.raises(BadInput, match="'w.bin' is cut short: weights 'w'"):
        entry_network(str(path))
    (tmp_path / "w.bin").unlink()
    with pytest.raises(BadInput, match="its weights are in 'w.bin', which is not beside it"):
        entry_network(str(path))
    escaping = onnx.load(path, load_external_data=False)
    for place in ("../w.bin", "/etc/passwd"):
        escaping.graph.initializer[0].external_data[0].value = place
        path.write_bytes(escaping.SerializeToString())
        with pytest.raises(BadInput, match="outside of the file's folder"):
            entry_network(str(path))


def test_nodes_in_any_order_are_sorted_and_a_circle_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "keras.onnx", KERAS)
    model = onnx.load(path)
    order = [n.output[0] for n in model.graph.node]
    sort_nodes(path, model.graph)
    assert [n.output[0] for n in model.graph.node] == order
    nodes = list(model.graph.node)[::-1]
    shuffled = helper.make_graph(nodes, "g", model.graph.input, model.graph.output, model.graph.initializer)
    other = helper.make_model(shuffled, opset_imports=model.opset_import, ir_version=8)
    (tmp_path / "shuffled.onnx").write_bytes(other.SerializeToString())
    network = entry_network(str(tmp_path / "shuffled.onnx"), (8, 8, 3))
    assert sorted(kinds(network)) == sorted(kinds(entry_network(path, (8, 8, 3))))
    other.graph.node[-1].input[0] = other.graph.node[0].output[0]
    with pytest.raises(BadInput, match=r"c.onnx: node .* waits for its own output: its nodes run in a circle"):
        sort_nodes("c.onnx", other.graph)
