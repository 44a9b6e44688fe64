"""Files that chipfit did not make: what is open in them, and what their operators cost."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from chipfit.core.errors import BadInput
from chipfit.core.graph import Graph
from chipfit.evaluate.counts import peak_memory_mb
from chipfit.evaluate.onnx_file import read
from onnx_files import BRANCHES, LSTM, TOKENS, light, write

CONV = (
    "conv (float[{dims}] x) => (float[N, 4, H, W] y) <float[4, 3, 3, 3] w> {{ y = Conv <pads = [1, 1, 1, 1]> (x, w) }}"
)


def kinds(graph: Graph) -> list[str]:
    return [o.kind for o in graph]


def shapes(path: str, shape: tuple[int, ...] | None = None) -> dict[str, tuple[int, ...]]:
    """What a file's inputs are fixed to."""
    return {o.name: o.shape for o in read(path, shape).graph if o.kind == "input"}


@pytest.mark.parametrize(
    ("name", "mmacs"),
    [
        ("bvlc_alexnet", 654.560), ("densenet121", 2834.162), ("inception_v1", 1431.556), ("inception_v2", 2018.852),
        ("resnet50", 4089.184), ("shufflenet", 124.665), ("squeezenet", 349.152), ("vgg19", 19632.062),
        ("zfnet512", 1481.727),
    ],
)  # fmt: skip
def test_macs_of_the_classic_networks(name: str, mmacs: float) -> None:
    assert read(light(name)).graph.total_macs / 1e6 == pytest.approx(mmacs, abs=6e-4)


def test_counts_of_squeezenet() -> None:
    graph = read(light("squeezenet")).graph
    assert graph.total_params == 1_235_496  # as published for SqueezeNet 1.1
    # the first convolution's output and its ReLU, in place, beside the max pool's
    assert peak_memory_mb(graph) == pytest.approx(4 * 64 * (111**2 + 55**2) / 1e6, rel=0.01)


@pytest.mark.parametrize(
    ("dims", "given", "fixed"),
    [
        ("N, 3, 8, 8", None, (1, 3, 8, 8)),
        ("N, 3, 8, 8", (5, 3, 8, 8), (5, 3, 8, 8)),
        ("N, 3, H, W", (3, 6, 4), (1, 3, 6, 4)),
        ("N, 3, H, W", (2, 3, 6, 4), (2, 3, 6, 4)),
        ("1, 3, 8, 8", (3, 8, 8), (1, 3, 8, 8)),
    ],
)
def test_open_dimensions_get_values(
    tmp_path: Path, dims: str, given: tuple[int, ...] | None, fixed: tuple[int, ...]
) -> None:
    path = write(tmp_path / "m.onnx", CONV.format(dims=dims))
    assert shapes(path, given) == {"x": fixed}
    size = fixed[0] * fixed[2] * fixed[3]
    assert read(path, given).graph.total_macs == 4 * 27 * size


@pytest.mark.parametrize(
    ("dims", "given", "said"),
    [
        ("N, 3, H, W", None, r"input 'x' is \(N, 3, H, W\); say what is open: --input-shape 3,N,N"),
        ("N, 3, H, W", (1, 8, 8), r"input 'x' is \(N, 3, H, W\), which --input-shape 1,8,8 does not fit"),
        ("N, 3, 8, 8", (3, 4, 4), "does not fit"),
        ("N, 3, H, W", (8, 8), "does not fit"),
    ],
)
def test_a_shape_that_is_missing_or_wrong(tmp_path: Path, dims: str, given: tuple[int, ...] | None, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        read(write(tmp_path / "m.onnx", CONV.format(dims=dims)), given)


def test_dimensions_of_one_name_are_equal_and_the_rest_is_one(tmp_path: Path) -> None:
    fed = "float[2, batch, 8] h, float[batch, T] x, float[T] m, float[3, ?] z, int64 r"
    path = write(tmp_path / "m.onnx", f"g ({fed}) => (float[batch, T] y) {{ y = Mul (x, m) }}")
    assert shapes(path, (7,)) == {"x": (1, 7), "h": (2, 1, 8), "m": (7,), "z": (3, 1), "r": ()}
    with pytest.raises(BadInput, match=r"input 'x' is \(batch, T\)"):
        read(path)


def test_question_marks_and_negative_values_are_open(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    write(path, CONV.format(dims="N, 3, H, W"))
    model = onnx.load(path)
    first, _, *others = model.graph.input[0].type.tensor_type.shape.dim
    first.dim_value = -1
    for d in others:  # as one exporter names what it does not know: not one size
        d.dim_param = "?"
    onnx.save(model, path)
    assert shapes(str(path), (3, 4, 6)) == {"x": (1, 3, 4, 6)}
    with pytest.raises(BadInput, match=r"is \(\?, 3, \?, \?\)"):
        read(str(path))


def test_nodes_are_called_by_their_outputs_each_by_its_own(tmp_path: Path) -> None:
    text = """
    g (float[1, 4] x, bool c) => (float[1, 4] y) {
        a = Relu (x)
        y = If (c) <
            then_branch = one () => (float[1, 4] b) { b = Abs (a) },
            else_branch = two () => (float[1, 4] b) { b = Neg (a) }
        >
    }"""
    model = onnx.load_from_string(read(write(tmp_path / "m.onnx", text)).data)
    inner = [a.g.node[0].name for a in model.graph.node[1].attribute]
    assert [n.name for n in model.graph.node] + inner == ["a", "y", "b", "b:2"]


def test_a_branch_is_the_one_that_zeros_take(tmp_path: Path) -> None:
    graph = read(write(tmp_path / "m.onnx", BRANCHES)).graph
    assert kinds(graph) == ["input", "input", "Constant", "MatMul", "If"]
    assert (graph.total_macs, graph.total_params) == (16, 16)


def test_of_branches_that_are_not_known_the_larger_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", BRANCHES.replace("int64 rate", "float rate").replace("int64 {16", "float {16"))
    assert read(path).graph.total_macs == 48


@pytest.mark.parametrize(
    ("text", "macs"),
    [
        (LSTM, 3 * (8 * 5 + 8 * 2)),
        ("g (float[2, 5] x) => (float[2, 3] y) <float[3, 5] w> { y = Gemm <transB = 1> (x, w) }", 30),
        ("g (float[2, 5] x) => (float[2, 3] y) <float[5, 3] w> { y = Gemm (x, w) }", 30),
        ("g (float[2, 4, 5] a, float[2, 5, 3] b) => (float[2, 4, 3] y) { y = MatMul (a, b) }", 120),
        ("g (float[1, 6, 5, 5] x) => (float[1, 8, 10, 10] y) <float[6, 4, 2, 2] w> "
         "{ y = ConvTranspose <strides = [2, 2], group = 2> (x, w) }", 150 * 16),
        ("g (float[1, 6, 9] x) => (float[1, 4, 7] y) <float[4, 3, 3] w> { y = Conv <group = 2> (x, w) }", 28 * 9),
    ],
)  # fmt: skip
def test_macs_by_hand(tmp_path: Path, text: str, macs: int) -> None:
    assert read(write(tmp_path / "m.onnx", text)).graph.total_macs == macs


def test_shapes_that_are_computed_are_followed(tmp_path: Path) -> None:
    text = """
    g (float[n, 4, 6] x) => (float[n, 3] y) <float[24, 3] w> {
        s = Shape (x)
        zero = Constant <value = int64 {0}> ()
        n = Gather (s, zero)
        axes = Constant <value = int64[1] {0}> ()
        n1 = Unsqueeze (n, axes)
        rest = Constant <value = int64[1] {24}> ()
        flip = Concat <axis = 0> (rest, n1)
        last = Constant <value = int64[1] {-1}> ()
        far = Constant <value = int64[1] {-9}> ()
        to = Slice (flip, last, far, axes, last)
        f = Reshape (x, to)
        y = MatMul (f, w)
    }"""
    graph = read(write(tmp_path / "m.onnx", text)).graph
    assert graph.total_macs == 72
    assert kinds(graph) == ["input", "Reshape", "Constant", "MatMul"], "arithmetic of shapes is folded"


def test_several_inputs_and_whole_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", TOKENS)
    assert shapes(path) == {"ids": (1, 6), "mask": (1, 6)}
    assert read(path).graph.total_params == 40


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("g (string[1] x) => (string[1] y) { y = Identity (x) }", "'x' holds object; only numbers"),
        ("g (float[4] x) => (seq(float[4]) y) { y = SequenceConstruct (x) }", "'y' is of sequence type; only tensors"),
        ("g (float[4] x) => (float[4] x) { }", "holds no operators"),
    ],
)
def test_what_cannot_be_fed(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        read(write(tmp_path / "m.onnx", text))


@pytest.mark.parametrize(("data", "said"), [(b"no model", "is not a whole ONNX file"), (None, "No such file")])
def test_what_is_no_file(tmp_path: Path, data: bytes | None, said: str) -> None:
    path = tmp_path / "m.onnx"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(BadInput, match=said) as caught:
        read(str(path))
    assert "\n" not in str(caught.value)


def test_weights_beside_the_file_are_read_too(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    write(path, "g (float[1, 64] x) => (float[1, 64] y) <float[64, 64] w> { y = MatMul (x, w) }")
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="m.data")
    assert path.stat().st_size < 1000
    assert read(str(path)).size_mb > 4 * 64**2 / 1e6
    (tmp_path / "m.data").unlink()
    with pytest.raises(BadInput, match=r"m\.onnx"):
        read(str(path))
