"""Every rule computes what ONNX Runtime computes, in two batch sizes, and as a graph."""

from __future__ import annotations

from pathlib import Path

import pytest
from onnx import defs

from chipfit.core.errors import BadInput
from chipfit.nets.faithful import traced
from chipfit.nets.onnx.read import load
from chipfit.nets.onnx.table import RULES
from onnx_files import write

CASES = """
conv_asymmetric | 17 | 4, 9, 8 | float[6, 2, 3, 2] w, float[6] b
    y = Conv <group = 2, pads = [0, 1, 1, 2], dilations = [1, 2]> (x, w, b)
conv_same_lower | 17 | 4, 9, 8 | float[6, 4, 3, 3] w
    y = Conv <auto_pad = "SAME_LOWER", strides = [2, 2]> (x, w)
conv_1d | 17 | 4, 10 | float[6, 4, 3] w
    y = Conv <pads = [1, 1]> (x, w)
conv_3d | 17 | 2, 4, 6, 6 | float[3, 2, 3, 3, 3] w
    y = Conv <pads = [1, 1, 1, 1, 1, 1]> (x, w)
transposed | 17 | 4, 9, 8 | float[4, 3, 3, 3] w, float[3] b
    y = ConvTranspose <strides = [2, 2], pads = [1, 1, 1, 1], output_padding = [1, 1]> (x, w, b)
transposed_same | 17 | 4, 9, 8 | float[4, 3, 4, 4] w
    y = ConvTranspose <strides = [2, 2], auto_pad = "SAME_UPPER"> (x, w)
transposed_uneven | 17 | 4, 9, 8 | float[4, 3, 4, 4] w
    y = ConvTranspose <strides = [2, 2], pads = [0, 1, 2, 1]> (x, w)
gemm | 17 | 6 | float[6, 5] w, float[1, 5] b
    y = Gemm <alpha = 0.5, beta = 2.0> (x, w, b)
gemm_turned | 17 | 6 | float[5, 6] w, float[1] b
    y = Gemm <transB = 1> (x, w, b)
matmul_many | 17 | 4, 9, 8 | float[4, 8, 5] w
    y = MatMul (x, w)
matmul_left | 17 | 4, 9, 8 | float[5, 9] w
    y = MatMul (w, x)
norms | 17 | 4, 9, 8 | float[4] s, float[4] t, float[8] g
    a = InstanceNormalization (x, s, t)  b = LayerNormalization (a, g)  y = LpNormalization <axis = 1> (b)
lrn | 17 | 4, 9, 8 | -
    y = LRN <size = 3> (x)
prelu | 17 | 4, 9, 8 | float[4, 1, 1] s, float[8] t
    a = PRelu (x, s)  y = PRelu (a, t)
pointwise | 17 | 4, 9, 8 | -
    a = Elu <alpha = 0.5> (x)  b = LeakyRelu (a)  c = Selu (b)  d = HardSigmoid (c)  e = Softplus (d)
    f = ThresholdedRelu <alpha = 0.5> (e)  g = Celu (x)  h = Softsign (g)  i = Shrink (h)  y = Sum (a, f, i)
functions | 17 | 4, 9, 8 | -
    a = Abs (x)  o = Constant <value = float {1.0}> ()  b = Add (a, o)  c = Sqrt (b)  d = Log (c)
    e = Reciprocal (b)  f = Erf (d)  g = Neg (e)  h = Sub (o, g)  i = Div (o, h)  j = Pow (b, i)  k = Floor (x)
    y = Sum (f, j, k)
extrema | 17 | 4, 9, 8 | float[4, 1, 1] w
    a = Max (x, w)  b = Min (a, w, x)  y = Mean (a, b)
choice | 17 | 4, 9, 8 | float[8] w
    c = Greater (x, w)  n = Not (c)  d = Less (x, w)  e = Or (n, d)  y = Where (e, x, w)
max_pools | 17 | 4, 9, 8 | -
    a = MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [0, 0, 1, 1]> (x)
    y = MaxPool <kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1> (a)
average_pools | 17 | 4, 9, 8 | -
    a = AveragePool <kernel_shape = [3, 3], strides = [2, 2], pads = [0, 0, 1, 1]> (x)
    y = AveragePool <kernel_shape = [2, 2], auto_pad = "SAME_UPPER"> (a)
average_counting | 17 | 4, 9, 8 | -
    y = AveragePool <kernel_shape = [3, 3], pads = [1, 0, 1, 1], count_include_pad = 1> (x)
pool_1d | 17 | 4, 10 | -
    a = MaxPool <kernel_shape = [2]> (x)  y = GlobalAveragePool (a)
whole_pools | 17 | 4, 9, 8 | -
    a = GlobalAveragePool (x)  b = GlobalMaxPool (x)  y = Concat <axis = 1> (a, b)
reductions | 17 | 4, 9, 8 | -
    a = ReduceL2 <axes = [1], keepdims = 0> (x)  b = ReduceMax <axes = [-1]> (a)
    c = ReduceLogSumExp <axes = [1]> (b)  d = ReduceSumSquare <axes = [2, 3]> (x)
    e = ReduceL1 <axes = [1]> (d)  z = Constant <value = int64[1] {1}> ()  f = Squeeze (e, z)  y = Mul (c, f)
views | 17 | 4, 9, 8 | -
    s = Constant <value = int64[4] {0, -1, 4, 2}> ()  a = Reshape (x, s)
    b = Transpose <perm = [0, 2, 1, 3]> (a)  f = Flatten <axis = 2> (b)
    t = Constant <value = int64[2] {-1, 288}> ()  y = Reshape (f, t)
slices | 17 | 4, 9, 8 | -
    s = Constant <value = int64[2] {1, -1}> ()  e = Constant <value = int64[2] {9, -9}> ()
    a = Constant <value = int64[2] {2, 3}> ()  t = Constant <value = int64[2] {2, -2}> ()
    y = Slice (x, s, e, a, t)
split | 17 | 4, 9, 8 | -
    n = Constant <value = int64[2] {1, 3}> ()  a, b = Split <axis = 1> (x, n)  c = Sigmoid (b)  y = Mul (a, c)
gather | 17 | 4, 9, 8 | -
    i = Constant <value = int64 {-1}> ()  a = Gather <axis = 3> (x, i)
    j = Constant <value = int64[3] {3, 0, 1}> ()  y = Gather <axis = 1> (a, j)
shapes | 17 | 4, 9, 8 | -
    s = Shape (x)  i = Constant <value = int64[1] {0}> ()  n = Gather (s, i)
    m = Constant <value = int64[1] {-1}> ()  t = Concat <axis = 0> (n, m)  y = Reshape (x, t)
pads | 17 | 4, 9, 8 | -
    p = Constant <value = int64[8] {0, 0, 1, 0, 0, 0, 0, 2}> ()  v = Constant <value = float {1.5}> ()
    a = Pad (x, p, v)  y = Pad <mode = "reflect"> (a, p)
expand | 17 | 4, 9, 8 | -
    m = ReduceMean <axes = [1]> (x)  s = Constant <value = int64[4] {1, 3, 1, 1}> ()  y = Expand (m, s)
tile | 17 | 4, 9, 8 | -
    s = Constant <value = int64[4] {1, 2, 1, 1}> ()  y = Tile (x, s)
depth | 17 | 4, 9, 8 | -
    a = DepthToSpace <blocksize = 2> (x)  b = SpaceToDepth <blocksize = 2> (a)
    y = DepthToSpace <blocksize = 2, mode = "CRD"> (b)
nearest | 17 | 4, 9, 8 | -
    r = Constant <value = float[0] {}> ()  s = Constant <value = float[4] {1., 1., 2., 3.}> ()
    a = Resize <coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"> (x, r, s)
    u = Constant <value = float[4] {1., 1., 0.4, 0.7}> ()  y = Resize (a, r, u)
linear | 17 | 4, 9, 8 | -
    r = Constant <value = float[0] {}> ()  s = Constant <value = float[4] {1., 1., 2., 2.}> ()
    a = Resize <mode = "linear"> (x, r, s)
    b = Resize <mode = "linear", coordinate_transformation_mode = "align_corners"> (a, r, s)
    y = Resize <mode = "linear", coordinate_transformation_mode = "asymmetric"> (b, r, s)
cubic | 17 | 4, 9, 8 | -
    r = Constant <value = float[0] {}> ()  s = Constant <value = float[4] {1., 1., 2., 2.}> ()
    a = Resize <mode = "cubic"> (x, r, s)  y = Resize <mode = "cubic", cubic_coeff_a = -0.5> (a, r, s)
einsum | 17 | 4, 9, 8 | float[8, 3] w
    y = Einsum <equation = "nchw,wd->nchd"> (x, w)
sums | 17 | 4, 9, 8 | -
    i = Constant <value = int64 {2}> ()  a = CumSum (x, i)  u = Constant <value = int64 {0}> ()
    y = Trilu <upper = 0> (a, u)
shares | 17 | 4, 9, 8 | -
    a = Softmax <axis = 1> (x)  y = LogSoftmax (a)
places | 17 | 4, 9, 8 | -
    i = ArgMax <axis = 1, keepdims = 0> (x)  f = Cast <to = 1> (i)  a = Constant <value = int64[1] {1}> ()
    g = Unsqueeze (f, a)  y = Add (x, g)
elements | 17 | 4, 9, 8 | -
    i = ArgMin <axis = 2> (x)  y = GatherElements <axis = 2> (x, i)
moved_batch | 17 | 6, 8 | float[8, 8] w
    t = Transpose <perm = [1, 0, 2]> (x)  q = MatMul (t, w)  s = Constant <value = int64[3] {6, 2, 4}> ()
    h = Reshape (q, s)  k = Transpose <perm = [1, 0, 2]> (h)  l = Transpose <perm = [0, 2, 1]> (k)  m = MatMul (k, l)
    p = Softmax (m)  v = MatMul (p, k)  b = Transpose <perm = [1, 0, 2]> (v)
    r = Constant <value = int64[3] {6, 1, 8}> ()  a = Reshape (b, r)  y = Transpose <perm = [1, 0, 2]> (a)
gelu_by_tanh | 17 | 6 | float[6, 6] w
    x1 = MatMul (x, w)  c = Constant <value = float {0.044715}> ()  a = Mul (c, x1)  b = Mul (x1, a)  d = Mul (x1, b)
    e = Add (x1, d)  f = Constant <value = float {0.7978845}> ()  g = Mul (f, e)  h = Tanh (g)
    o = Constant <value = float {1.0}> ()  i = Add (o, h)  j = Constant <value = float {0.5}> ()  k = Mul (j, i)
    y = Mul (x1, k)
sizes_of_shapes | 17 | 4, 9, 8 | -
    s = Shape (x)  z = ConstantOfShape <value = float[1] {1.0}> (s)  a = Add (x, z)
    p = Constant <value = int64[8] {0, 0, 1, 0, 0, 0, 1, 0}> ()  o = Constant <value = int64 {0}> ()  i = Gather (s, o)
    n = Sub (i, i)  q = Add (p, n)  y = Pad (a, q)
clip_pad_9 | 9 | 4, 9, 8 | -
    a = Clip <min = 0.0, max = 6.0> (x)  b = Pad <pads = [0, 0, 1, 1, 0, 0, 1, 1], value = 0.5> (a)
    c = Slice <axes = [2], starts = [1], ends = [100]> (b)  d = Unsqueeze <axes = [1]> (c)
    e = Squeeze <axes = [1]> (d)  y = Softmax <axis = 1> (e)
reductions_9 | 9 | 4, 9, 8 | -
    a = ReduceSum <axes = [2], keepdims = 0> (x)  b, c = Split <axis = 1, split = [1, 3]> (a)  d = Mul (b, c)
    y = Dropout (d)
upsample_9 | 9 | 4, 9, 8 | -
    s = Constant <value = float[4] {1., 1., 2., 2.}> ()  a = Upsample (x, s)
    y = Upsample <mode = "linear"> (a, s)
resize_10 | 10 | 4, 9, 8 | -
    s = Constant <value = float[4] {1., 1., 2., 2.}> ()  y = Resize (x, s)
upsample_7 | 7 | 4, 9, 8 | -
    y = Upsample <scales = [1., 1., 2., 2.]> (x)
sizes_18 | 18 | 4, 9, 8 | -
    t = Constant <value = int64[2] {7, 13}> ()  y = Resize <axes = [2, 3]> (x, , , t)
reduce_18 | 18 | 4, 9, 8 | -
    i = Constant <value = int64[2] {2, 3}> ()  a = ReduceMean <keepdims = 0> (x, i)
    n = Constant <value = int64[1] {1}> ()  y = ReduceL2 (a, n)
groups_18 | 18 | 4, 9, 8 | float[2] s, float[2] t
    y = GroupNormalization <num_groups = 2> (x, s, t)
groups_21 | 21 | 4, 9, 8 | float[4] s, float[4] t
    y = GroupNormalization <num_groups = 2> (x, s, t)
gelu_20 | 20 | 4, 9, 8 | -
    a = Gelu (x)  b = Gelu <approximate = "tanh"> (a)  y = Mish (b)
"""
"""Of each case name, operator set, shape of the input, and weights; below it the nodes."""


def _cases() -> dict[str, tuple[str, str, str, str]]:
    found: dict[str, tuple[str, str, str, str]] = {}
    name = ""
    for line in CASES.strip().splitlines():
        if line.startswith(" "):
            *head, nodes = found[name]
            found[name] = (*head, f"{nodes} {line}")
        else:
            name, opset, shape, weights = line.split(" | ")
            found[name] = (opset, shape, weights, "")
    return found


ALL = _cases()


def hold(path: str) -> list[str]:
    file = load(Path(path), None)
    network, answers = traced(path, file.module, file.shape)
    file.held(answers)
    return [o.kind for o in network.graph]


FIXED = frozenset(
    {
        "moved_batch",
        "sizes_of_shapes",
        "gemm",
        "matmul_many",
        "views",
        "split",
        "gather",
        "pads",
        "expand",
        "tile",
        "linear",
        "clip_pad_9",
    }
)
"""Cases that are tried with the batch fixed to 1, too."""


@pytest.mark.parametrize(
    ("name", "batch"),
    [*((name, "n") for name in ALL if name != "moved_batch"), *((name, "1") for name in sorted(FIXED))],
)
def test_a_rule_computes_what_the_runtime_computes(tmp_path: Path, name: str, batch: str) -> None:
    opset, shape, weights, nodes = ALL[name]
    held = "" if weights == "-" else f"<{weights}>"
    hold(write(tmp_path / "m.onnx", f"g (float[{batch}, {shape}] x) => (float[] y) {held} {{ {nodes} }}", int(opset)))


def test_rules_are_of_operators_that_there_are() -> None:
    known = {schema.name for schema in defs.get_all_schemas()}
    assert not set(RULES) - known - {"SimplifiedLayerNormalization"}


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ("y = Softmax <axis = 1, odd = 3> (x)", "operator 'Softmax' with odd=3 "),
        (
            "a, j = MaxPool <kernel_shape = [2, 2]> (x) b = Cast <to = 1> (j) y = Add (a, b)",
            "'MaxPool' with output 'j', which is read",
        ),
        ('y = Resize <mode = "linear", antialias = 1> (x, r, s)', "'Resize' with antialias=1"),
        ("y = CumSum <reverse = 1> (x, i)", "'CumSum' with reverse=1"),
    ],
)
def test_an_attribute_that_no_rule_carries_is_refused(tmp_path: Path, nodes: str, said: str) -> None:
    constants = (
        "r = Constant <value = float[0] {}> () s = Constant <value = float[4] {1., 1., 2., 2.}> () "
        "i = Constant <value = int64 {2}> ()"
    )
    path = write(tmp_path / "m.onnx", f"g (float[n, 4, 8, 8] x) => (float[n, 4, 8, 8] y) {{ {constants} {nodes} }}", 18)
    with pytest.raises(BadInput, match=said):
        load(Path(path), None)
