"""Files of several inputs are networks of rows of them, which their own names put in order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray

from chipfit.core.data import Dataset, Split
from chipfit.core.errors import BadInput
from chipfit.core.graph import Network
from chipfit.core.ports import Ends, Port, packed, ports_of
from chipfit.export.onnx import write as write_ours
from chipfit.nets.build import build
from chipfit.nets.load import load_models
from onnx_files import write

IDS, MASK = Port("ids", (6,), True), Port("mask", (6,))

READER = """
reader (int64[n, t] ids, float[n, t] mask) => (float[n, 3] y) <float[10, 8] table, float[8, 8] v, float[8, 3] w>
{
    e = Gather (table, ids)
    last = Constant <value = int64[1] {2}> ()
    m = Unsqueeze (mask, last)
    k = Mul (e, m)
    h = MatMul (k, v)
    r = Relu (h)
    s = ReduceMean <axes = [1], keepdims = 0> (r)
    y = MatMul (s, w)
}
"""
PAIR = """
pair (float[1, 2, 8, 8] picture, float[1, 5] more) => (float[1, 3] y)
<float[4, 2, 3, 3] k, float[5, 4] v, float[4, 3] w>
{
    c = Conv <pads = [1, 1, 1, 1]> (picture, k)
    p = ReduceMean <axes = [2, 3], keepdims = 0> (c)
    q = MatMul (more, v)
    s = Add (p, q)
    r = Relu (s)
    y = MatMul (r, w)
}
"""


def read(path: str, *ports: Port) -> Network:
    (entry,) = load_models([path], ends=Ends(ports))
    return entry.network


def asked(rng: np.random.Generator, n: int) -> dict[str, NDArray[np.generic]]:
    return {"ids": rng.integers(0, 10, (n, 6)), "mask": rng.random((n, 6)).astype(np.float32)}


def theirs(path: str | bytes, parts: dict[str, NDArray[np.generic]]) -> NDArray[np.float32]:
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    rows = range(len(next(iter(parts.values()))))
    answers = [session.run(None, {name: part[n : n + 1] for name, part in parts.items()})[0] for n in rows]
    return np.concatenate(answers)


@pytest.mark.parametrize("order", [(IDS, MASK), (MASK, IDS)])
def test_inputs_are_taken_by_name_in_the_order_of_the_data(tmp_path: Path, order: tuple[Port, Port]) -> None:
    path = write(tmp_path / "m.onnx", READER)
    network = read(path, *order)
    assert ports_of(network.graph.ops[0]) == order
    parts = asked(np.random.default_rng(0), 7)
    with torch.no_grad():
        ours = build(network)(torch.from_numpy(packed(order, parts))).numpy()
    want = theirs(path, parts)
    assert np.abs(ours - want).max() <= 1e-5 * np.abs(want).max()


def test_the_file_that_is_written_has_the_inputs_by_name_again(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", READER)
    file = write_ours(read(path, MASK, IDS)).data
    parts = asked(np.random.default_rng(1), 3)
    want = theirs(path, parts)
    assert np.abs(theirs(file, parts) - want).max() <= 1e-5 * np.abs(want).max()


def test_a_file_that_says_all_shapes_needs_to_be_told_none(tmp_path: Path) -> None:
    network = read(write(tmp_path / "m.onnx", PAIR))
    assert ports_of(network.graph.ops[0]) == (Port("picture", (2, 8, 8)), Port("more", (5,)))
    assert network.graph.input_shape == (2 * 8 * 8 + 5,)


def test_a_tuple_is_taken_in_the_order_of_the_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ports = (Port("0", (2, 8, 8)), Port("1", (5,)))
    rows = rng.standard_normal((12, 133)).astype(np.float32)
    split = Split(rows, np.arange(12) % 3)
    data = Dataset("pairs", ("a", "b", "c"), (0.0,) * 133, (1.0,) * 133, split, split, lambda: split, ports=ports)
    (entry,) = load_models([write(tmp_path / "m.onnx", PAIR)], dataset=data)
    assert [p.name for p in ports_of(entry.network.graph.ops[0])] == ["picture", "more"]


@pytest.mark.parametrize(
    ("text", "ports", "said"),
    [
        (READER, (), r"leaves the shapes of its inputs open; .*--inputs ids=N:int --inputs mask=N$"),
        (READER, (IDS, Port("masq", (6,))), "takes no 'masq'; did you mean 'mask'"),
        (READER, (IDS,), r"takes 2 inputs \(ids, mask\), the data have 1"),
        (READER, (Port("0", (6,), True),), r"takes 2 inputs \(ids, mask\), the data have 1"),
        (READER, (Port("ids", (6,)), MASK), "takes whole numbers as 'ids', the data have others"),
        (READER, (IDS, Port("mask", (6, 2))), r"takes 'mask' of shape \?, not 6x2"),
        (
            "g (float[2, 4] x, float[3] k) => (float[2, 4] y) { y = Mul (x, x) }",
            (),
            r"inputs \(x \(2x4\), k \(3\)\) have no",
        ),
        (
            "g (float[2, 4] x, float k) => (float[2, 4] y) { y = Mul (x, k) }",
            (),
            r"inputs \(x \(2x4\), k \(\)\) have no",
        ),
        (PAIR, (Port("picture", (2, 8, 9)), Port("more", (5,))), "takes 'picture' of shape 2x8x8, not 2x8x9"),
        (
            "g (float[n, 4] x) => (float[n, 4] y) { y = Relu (x) }",
            (IDS, MASK),
            r"takes one input \(x\), the data have 2",
        ),
        (
            "g (bool[n, 4] b, float[n, 4] x) => (float[n, 4] y) { z = Relu (x) y = Where (b, x, z) }",
            (),
            "its input 'b' is bool; floats, int32, int64, uint8 and int8 are read",
        ),
    ],
)
def test_inputs_that_do_not_fit_are_said_in_one_line(
    tmp_path: Path, text: str, ports: tuple[Port, ...], said: str
) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        read(write(tmp_path / "m.onnx", text), *ports)
    assert "\n" not in str(caught.value)
