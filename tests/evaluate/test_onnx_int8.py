"""Files in int8, as ONNX Runtime's quantiser makes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from chipfit.core.errors import ChipfitError
from chipfit.evaluate.onnx_file import read
from chipfit.evaluate.onnx_int8 import quantised
from onnx_files import BRANCHES, TOKENS, light, write

MLP = """
mlp (float[n, 8] x) => (float[n, 4] y) <float[8, 16] w1, float[1, 16] b1, float[16, 4] w2> {
    a = MatMul (x, w1)
    b = Add (a, b1)
    c = Relu (b)
    y = MatMul (c, w2)
}
"""


def weights(model: onnx.ModelProto) -> list[tuple[tuple[int, ...], int]]:
    """(shape, number of scales) of each array of int8."""
    arrays = {t.name: t for t in model.graph.initializer}
    found = []
    for n in model.graph.node:
        if n.op_type == "DequantizeLinear" and n.input[0] in arrays:
            t, scale = (arrays[i] for i in n.input[:2])
            if t.data_type == onnx.TensorProto.INT8:
                found.append((tuple(t.dims), int(np.prod(scale.dims))))
    return found


@pytest.mark.parametrize("name", ["squeezenet", "shufflenet"])
def test_an_old_graph_without_initialisers(name: str) -> None:
    model = onnx.load_from_string(quantised(read(light(name))).data)
    assert {o.version for o in model.opset_import if not o.domain} == {13}
    made = weights(model)
    assert len(made) == sum(n.op_type in ("Conv", "Gemm") for n in model.graph.node) > 20
    assert all(scales == shape[0] for shape, scales in made), "a scale for each channel"
    assert ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def test_it_still_computes_what_the_file_does(tmp_path: Path) -> None:
    file = read(write(tmp_path / "m.onnx", MLP), (8,))
    int8 = quantised(file)
    x = np.random.default_rng(0).standard_normal((1, 8), np.float32)  # what it was calibrated on
    one, other = (
        ort.InferenceSession(f.data, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0] for f in (file, int8)
    )
    assert np.abs(one - other).max() < 0.05 * np.abs(one).max()
    assert one.tolist() != other.tolist()


@pytest.mark.parametrize("narrow", [False, True])
def test_weights_of_seven_bits_where_kernels_saturate(tmp_path: Path, narrow: bool) -> None:
    model = onnx.load_from_string(quantised(read(write(tmp_path / "m.onnx", MLP)), reduce_range=narrow).data)
    largest = max(
        int(np.abs(onnx.numpy_helper.to_array(t).astype(int)).max())
        for t in model.graph.initializer
        if t.data_type == onnx.TensorProto.INT8 and np.prod(t.dims) > 16
    )
    assert largest == (64 if narrow else 127)


def test_whole_numbers_are_fed_too(tmp_path: Path) -> None:
    assert b"QuantizeLinear" in quantised(read(write(tmp_path / "m.onnx", TOKENS))).data


@pytest.mark.parametrize(
    ("text", "opset", "said"),
    [
        (BRANCHES, 17, "no operator that ONNX Runtime quantises outside an If"),
        ("g (float[1, 4] x) => (float[1, 4] y) { y = Exp (x) }", 17, "no operator that ONNX Runtime quantises"),
        ("g (float[1, 4] x) => (float[1, 4] y) { y = Nonsense (x) }", 17, "constants cannot be folded: .*Nonsense"),
        ("g (float[1, 4] x) => (float[1, 4] y) { y = Nonsense (x) }", 9, "operator set 13: .*Nonsense"),
        ("g (float[1, 3] x) => (float[1, 3] y) { m = Reshape (x, x) y = Relu (m) }", 17, "it cannot be|constants"),
    ],
)
def test_why_a_file_cannot_be_quantised(tmp_path: Path, text: str, opset: int, said: str) -> None:
    with pytest.raises(ChipfitError, match=said) as caught:
        quantised(read(write(tmp_path / "m.onnx", text, opset)))
    assert "\n" not in str(caught.value)
