"""Files of bytes are networks of the same whole numbers as float32, and are held against the bytes' answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray

import chipfit
from chipfit.api import inputs
from chipfit.api.config import Config
from chipfit.core.data import Dataset, Split
from chipfit.core.errors import BadInput, Note
from chipfit.core.ports import Ends, Port
from chipfit.export.onnx import write as write_ours
from chipfit.nets.build import build
from chipfit.nets.load import Entry, load_models
from onnx_files import write

PICTURES = """
pictures ({kind}[n, {shape}] x) => (float[n, 4] y)
<float[3, 1, 1] m, float[32, 3, 3, 3] k, float[32, 4] v>
{{
    f = Cast <to = {to}> (x)
    {turned} = {turn} (f)
    d = Sub ({turned}, m)
    c = Conv (d, k)
    r = Relu (c)
    p = ReduceMean <axes = [2, 3], keepdims = 0> (r)
    y = MatMul (p, v)
}}
"""
SIDE = 8
SHAPE = (3, SIDE, SIDE)
PIXELS = (0.0,) * 3, (1 / 255,) * 3


def of_pictures(path: Path, kind: str = "uint8", to: int = 1, nhwc: bool = False) -> str:
    shape, turn = ("8, 8, 3", "Transpose <perm = [0, 3, 1, 2]>") if nhwc else ("3, 8, 8", "Identity")
    return write(path, PICTURES.format(kind=kind, to=to, shape=shape, turned="t", turn=turn))


def theirs(path: str, x: NDArray[Any]) -> NDArray[np.float32]:
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


def of_data(mean: tuple[float, ...], std: tuple[float, ...], dtype: str = "uint8") -> Dataset:
    x = np.random.default_rng(0).integers(0, 256, (60, *SHAPE)).astype(dtype)
    split = Split(x, np.arange(60) % 4)
    return Dataset("pixels", ("a", "b", "c", "d"), mean, std, split, split, lambda: split)


def read(path: str, dataset: Dataset | None = None) -> Entry:
    (entry,) = load_models([path], input_shape=SHAPE, dataset=dataset)
    return entry


@pytest.mark.parametrize("nhwc", [False, True])
@pytest.mark.parametrize(("kind", "least"), [("uint8", 0), ("int8", -128)])
def test_the_network_answers_to_whole_numbers_as_the_file_does_to_bytes(
    tmp_path: Path, kind: str, least: int, nhwc: bool
) -> None:
    path = of_pictures(tmp_path / "m.onnx", kind, nhwc=nhwc)
    entry = read(path)
    x = np.random.default_rng(1).integers(least, least + 256, (5, *SHAPE)).astype(kind)
    want = theirs(path, np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if nhwc else x)
    with torch.no_grad():
        ours = build(entry.network)(torch.from_numpy(x.astype(np.float32))).numpy()
    assert np.abs(ours - want).max() <= 1e-5 * np.abs(want).max()
    assert not {"transpose", "opaque"} & {o.kind for o in entry.network.graph}
    again = ort.InferenceSession(write_ours(entry.network).data)
    assert again.get_inputs()[0].type == "tensor(float)"
    assert any(f"takes float32 of {least}..{least + 255} in the place of bytes" in note for note in entry.notes)


@pytest.mark.parametrize(
    ("mean", "std", "dtype", "said"),
    [
        (*PIXELS, "uint8", "takes float32 of 0..255 in the place of bytes, so does the file that is written"),
        ((0.0,) * 3, (1.0,) * 3, "float32", "takes float32 of 0..255 in the place of bytes, so does the file"),
        (
            (0.0,) * 3,
            (1.0,) * 3,
            "uint8",
            "the data reach it as 0..1; give pixels with --normalize 0,0.00392156863, or",
        ),
        ((0.5,) * 3, (0.25,) * 3, "uint8", "the data reach it as -2..2; give pixels"),
    ],
)
def test_data_that_are_no_bytes_when_they_reach_it_are_told(
    tmp_path: Path, mean: tuple[float, ...], std: tuple[float, ...], dtype: str, said: str
) -> None:
    (note,) = read(of_pictures(tmp_path / "m.onnx"), of_data(mean, std, dtype)).notes
    assert said in note
    assert "\n" not in note


def test_bytes_beside_another_input(tmp_path: Path) -> None:
    text = """
    two (uint8[n, 6] x, float[n, 4] more) => (float[n, 3] y) <float[6, 3] v, float[4, 3] w>
    { f = Cast <to = 1> (x) a = MatMul (f, v) b = MatMul (more, w) y = Add (a, b) }
    """
    ports = (Port("more", (4,)), Port("x", (6,)))
    (entry,) = load_models([write(tmp_path / "m.onnx", text)], ends=Ends(ports))
    assert "takes float32 of 0..255 in the place of bytes as x" in entry.notes[0]


@pytest.mark.parametrize(
    ("node", "kind"), [("f = Div (x, x)", "Div"), ("f = Cast <to = 7> (x)", "Cast"), ("f = Relu (x)", "Relu")]
)
def test_what_computes_with_bytes_is_refused(tmp_path: Path, node: str, kind: str) -> None:
    text = f"b (uint8[n, 8] x) => (float[n, 2] y) <float[8, 2] w> {{ {node} g = Cast <to = 1> (f) y = MatMul (g, w) }}"
    with pytest.raises(BadInput, match=rf"operator '{kind}' \(node 'f'\) computes with the bytes that go in; export"):
        load_models([write(tmp_path / "b.onnx", text)])


def test_a_fit_without_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = of_pictures(tmp_path / "m.onnx", nhwc=True)
    x = np.random.default_rng(2).integers(0, 256, (120, *SHAPE)).astype(np.uint8)
    answers = theirs(path, np.ascontiguousarray(x.transpose(0, 2, 3, 1)))
    parts = [Split(x[n : n + 40], answers[n : n + 40].argmax(1)) for n in (0, 40, 80)]
    classes = ("a", "b", "c", "d")
    data = Dataset("pixels", classes, *PIXELS, parts[0], parts[1], lambda: parts[2])
    with pytest.warns(Note, match=r"takes float32 of 0\.\.255"), pytest.warns(Note, match="takes pictures"):
        result = chipfit.fit(
            path, data=data, limits={"size_mb": 0.01}, device="null", train=False, bits=[32], time="1m",
            baselines=False, out="run",
        )  # fmt: skip
    assert result.best is not None
    assert "in the place of bytes, so does the file that is written" in Path("run/report.html").read_text()


@pytest.mark.filterwarnings("ignore::chipfit.core.errors.Note")
def test_pixels_reach_a_file_of_bytes_as_they_are_where_nothing_else_is_said(tmp_path: Path) -> None:
    x = np.random.default_rng(2).integers(0, 256, (60, *SHAPE)).astype(np.uint8)
    parts = {"train": (x[:40], np.arange(40) % 4), "validation": (x[40:], np.arange(20) % 4)}
    path = str(of_pictures(tmp_path / "m.onnx", nhwc=True))
    config = Config.of({"models": [path], "data": "object:data", "train": False, "max": "size_mb=1"})
    found = inputs.load(config, inputs.Given.of(path, parts)).dataset
    np.testing.assert_allclose(found.normalise(x[:2]), x[:2].astype(np.float32), atol=1e-3)
    assert "pixels are given as 0..255, as the model takes bytes" in found.notes
    told = Config.of({**config.plain(), "normalize": "0.5,0.5"})
    assert inputs.load(told, inputs.Given.of(path, parts)).dataset.mean == (0.5,) * 3
