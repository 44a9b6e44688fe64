"""ONNX files that chipfit did not make: small ones in ONNX's own text form, and the classic graphs of its wheel."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import parser

HEAD = '<ir_version: 8, opset_import: ["" : {opset}]>\n'

BRANCHES = """
branches (float[batch, 4] x, int64 rate) => (float[batch, 4] y) {
    high = Constant <value = int64 {16000}> ()
    c = Equal (rate, high)
    w = Constant <value = float[4, 4] {1.,0.,0.,0., 0.,1.,0.,0., 0.,0.,1.,0., 0.,0.,0.,1.}> ()
    y = If (c) <
        then_branch = wide () => (float[batch, 4] a) { a1 = MatMul (x, w) a2 = MatMul (a1, w) a = MatMul (a2, w) },
        else_branch = small () => (float[batch, 4] b) { b = MatMul (x, w) }
    >
}
"""
"""A rate of zero, which is what devices feed, takes the small branch: 16 MACs."""

LSTM = """
lstm (float[3, 1, 5] x) => (float[3, 1, 1, 2] y)
<float[1, 8, 5] w, float[1, 8, 2] r>
{ y = LSTM <hidden_size = 2> (x, w, r) }
"""

TOKENS = """
tokens (int64[n, 6] ids, float[n, 6] mask) => (float[n, 6, 4] y)
<float[10, 4] table>
{
    e = Gather (table, ids)
    axes = Constant <value = int64[1] {2}> ()
    m = Unsqueeze (mask, axes)
    y = Mul (e, m)
}
"""


def write(path: Path, text: str, opset: int = 17) -> str:
    """The path of a file with this graph; tensors that are declared and not computed become random weights."""
    model = parser.parse_model(HEAD.format(opset=opset) + text)
    rng, made = np.random.default_rng(0), {o for n in model.graph.node for o in n.output}
    for weight in (v for v in model.graph.value_info if v.name not in made):
        shape = [d.dim_value for d in weight.type.tensor_type.shape.dim]
        model.graph.initializer.append(
            onnx.numpy_helper.from_array(rng.standard_normal(shape, np.float32), weight.name)
        )
    del model.graph.value_info[:]
    path.write_bytes(model.SerializeToString())
    return str(path)


def light(name: str) -> str:
    """The path of one of the graphs of ImageNet networks in the onnx wheel."""
    spec = find_spec("onnx")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / "backend" / "test" / "data" / "light" / f"light_{name}.onnx"
    if not path.is_file():
        pytest.skip(f"onnx {onnx.__version__} has no light_{name}.onnx")
    return str(path)
