"""ONNX files of other makers as models: read, edited, trained again.

    python benchmarks/onnx_files.py [--file PATH:C,H,W | --file PATH:TOKENS]... [--json] [--quick] [--full]

Three files are made of networks of the zoo by other exporters: PyTorch's of today, PyTorch's of before (operator set
13), and ONNX Runtime's quantisation of a file (QDQ). They are scored on Fashion-MNIST, and so large that the budget is
more than what any network of their depth costs. Files of packages are given with --file; their data are pictures of
Fashion-MNIST put side by side, or bytes of Python files where they take tokens, each with what a file that classifies
answers itself, else without labels; then nothing is trained.

    files           how many there were; of packages the recorded rows have one of `rapidocr-onnxruntime` 1.4.4
                    (PaddlePaddle's converter)
    read_error_max  largest difference of the network that is trained from the file in ONNX Runtime, on rows of the data
                    alone and together, as a share of the largest answer; of a quantised file from its float reading
    edited          files whose result is within 60 % of the latency of the better of fp32 and int8
    loss_max        points that the trained results lose, of files with real labels
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from harness import Rows, arguments, at_least, at_most, finish, table
from numpy.typing import NDArray
from onnxruntime import quantization

import chipfit
from chipfit.core.data import Dataset, Split
from chipfit.data.load import load_data
from chipfit.export.onnx import write
from chipfit.nets.answers import relative_error
from chipfit.nets.build import build
from chipfit.nets.faithful import least_scale
from chipfit.nets.load import load_models
from chipfit.nets.onnx.held import Runtime
from chipfit.nets.onnx.read import load
from chipfit.nets.zoo import load_zoo

Floats = NDArray[np.float32]
BUDGET = "60%"
ROWS = {"train": 6000, "validation": 1000, "test": 2000}
SMALL = {"train": 800, "validation": 200, "test": 200}
EPOCHS = 4.0


@dataclass(frozen=True, slots=True)
class Case:
    """A file and how it comes about, its data, and whether their labels are real."""

    make: Callable[[Path], Path]
    data: Callable[[Path], Dataset]
    real: bool


def fashion(_: Path) -> Dataset:
    """Some of Fashion-MNIST."""
    whole = load_data("fashion-mnist")
    parts = {"train": whole.train, "validation": whole.validation, "test": whole.open_test()}
    cut = {name: part.take(slice(0, ROWS[name])) for name, part in parts.items()}
    return Dataset(
        "fashion", whole.classes, whole.mean, whole.std, cut["train"], cut["validation"], lambda: cut["test"]
    )


def today(path: Path) -> Path:
    """PyTorch's exporter."""
    return _exported("resnet20", path, dynamo=True)


def before(path: Path) -> Path:
    """PyTorch's exporter of scripts, operator set 13."""
    return _exported("mobilenetv2", path, dynamo=False)


def _exported(name: str, path: Path, *, dynamo: bool) -> Path:
    module = torch.nn.Sequential(build(load_zoo(f"fashion-mnist/{name}").network)).eval()
    x = torch.zeros(2, 1, 28, 28)
    how: dict[str, Any] = {"dynamo": False, "opset_version": 13, "input_names": ["x"], "dynamic_axes": {"x": {0: "n"}}}
    if dynamo:
        how = {"dynamo": True, "dynamic_shapes": ({0: torch.export.Dim("n")},), "verbose": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (x,), path, **how)
    return path


class Calibration(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Rows of Fashion-MNIST, one at a time."""

    def __init__(self) -> None:
        data = load_data("fashion-mnist")
        rows = data.normalise(data.calibration(64).inputs)
        self.left: Iterator[Floats] = iter(np.split(rows, len(rows)))

    def get_next(self) -> dict[str, Floats] | None:
        """The next."""
        row = next(self.left, None)
        return None if row is None else {"input": row}


def quantised(path: Path) -> Path:
    """ONNX Runtime's quantisation."""
    plain = path.with_suffix(".plain.onnx")
    plain.write_bytes(write(load_zoo("fashion-mnist/resnet20").network).data)
    quantization.quantize_static(
        plain, path, Calibration(), quant_format=quantization.QuantFormat.QDQ, per_channel=True
    )
    return path


def given(path: Path, shape: tuple[int, ...]) -> Case:
    """A file that is there, for pictures of a shape or so many tokens, with its own answers as labels."""

    def data(_: Path) -> Dataset:
        n = sum(SMALL.values())
        inputs = _pictures(shape, n) if len(shape) == 3 else _bytes(shape[0], n)
        session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        name, numbers = session.get_inputs()[0].name, np.int32 if "int32" in session.get_inputs()[0].type else None
        fed = inputs if numbers is None else inputs.astype(numbers)
        answers = np.concatenate([session.run(None, {name: x})[0] for x in np.split(fed, n // 20)])
        labels = answers.argmax(1) if answers.ndim == 2 else None
        ends = np.cumsum(list(SMALL.values()))
        train, validation, test = (
            Split(inputs[a:b], None if labels is None else labels[a:b])
            for a, b in zip([0, *ends[:-1]], ends, strict=True)
        )
        classes = tuple(str(n) for n in range(answers.shape[1])) if labels is not None else ()
        return Dataset(path.stem, classes, (0.0,), (1.0,), train, validation, lambda: test)

    return Case(lambda _: path, data, real=False)


def _bytes(length: int, n: int) -> NDArray[np.int64]:
    """The first bytes of some windows of Python files, as numbers (n, length)."""
    files = sorted(Path(chipfit.__file__).parent.rglob("*.py"))
    text, rng = np.frombuffer(b"".join(f.read_bytes() for f in files), np.uint8), np.random.default_rng(0)
    return np.stack([text[at : at + length] for at in rng.integers(0, len(text) - length, n)]).astype(np.int64)


def _pictures(shape: tuple[int, ...], n: int) -> Floats:
    """Pictures of Fashion-MNIST side by side, half of them upside down, as float (n, C, H, W)."""
    channels, height, width = shape
    whole = load_data("fashion-mnist")
    rows = whole.normalise(whole.train.take(slice(0, 4000)).inputs)[:, 0]
    rng, size = np.random.default_rng(0), min(height, width)
    places = (np.arange(size) * 28 // size)[:, None], np.arange(size) * 28 // size
    found = np.zeros((n, 1, height, width), np.float32)
    for picture in found[:, 0]:
        for left in range(0, width - size + 1, size):
            picture[:size, left : left + size] = rows[rng.integers(len(rows))][places]
        if rng.integers(2):
            picture[:] = picture[::-1, ::-1]
    return np.repeat(found, channels, 1)


def read_error(path: Path, data: Dataset) -> float:
    """Of the network that is trained from the file, on rows of the data: together, and one alone."""
    (entry,) = load_models([str(path)], dataset=data)
    file = load(path, data.input_shape)
    runtime = Runtime(str(path), file.model, file.module.made_for)
    x = data.normalise(data.validation.inputs[:16])
    built = build(entry.network).eval()
    worst = 0.0
    for rows in (x, x[:1]):
        want = runtime.answers(rows)
        with torch.no_grad():
            got = built(torch.from_numpy(rows)).numpy()
        worst = max(worst, relative_error(want, got, ("row",) * len(rows), least_scale(entry.network.graph)))
    return worst


def row(case: Case, name: str, epochs: float) -> dict[str, Any]:
    """A file read, edited and trained again."""
    with tempfile.TemporaryDirectory() as folder:
        path = case.make(Path(folder) / f"{name}.onnx")
        data = case.data(path)
        error = read_error(path, data)
        how: dict[str, Any] = {"epochs": epochs, "accelerator": "cpu"} if data.labelled else {"train": False}
        result = chipfit.fit(
            str(path), data=data, device="onnxruntime", budgets=BUDGET, baselines=False, out=Path(folder) / "run", **how
        )
    best, came = result.best, next(m for m in result.models if m.role == "zoo")
    assert best is not None
    return {
        "file": name, "real_labels": case.real, "read_error": error, "original": came.test_quality,
        "fitted": best.test_quality, "latency_ms": best.latency_ms, "held": bool(best.meets_budget),
    }  # fmt: skip


def targets(rows: list[dict[str, Any]]) -> list[Any]:
    """What is promised of six files."""
    real = [100 * (r["original"] - r["fitted"]) for r in rows if r["real_labels"]]
    return [
        at_least("files", len(rows), 6),
        at_most("read_error_max", max(r["read_error"] for r in rows), 1e-4),
        at_least("edited", sum(r["held"] for r in rows), len(rows)),
        at_most("loss_max", max(real, default=0.0), 2.0),
    ]


def main() -> None:
    """The benchmark."""
    files = [sys.argv.pop(i + 1) for i in reversed(range(len(sys.argv) - 1)) if sys.argv[i] == "--file"]
    sys.argv = [word for word in sys.argv if word != "--file"]
    options = arguments((__doc__ or "").splitlines()[0])
    cases = {"torch": Case(today, fashion, True), "torchscript": Case(before, fashion, True)}
    cases["onnxruntime-int8"] = Case(quantised, fashion, True)
    for text in files:
        path, _, shape = text.rpartition(":")
        cases[Path(path).stem] = given(Path(path), tuple(map(int, shape.split(","))))
    rows: Rows = options.rows("onnx_files")
    epochs = options.pick(quick=0.5, here=1.0, whole=EPOCHS)
    for name, case in cases.items():
        rows.get(name, lambda c=case, n=name: row(c, n, epochs))
    found = list(rows.rows.values())
    columns = ["file", "read_error", "original", "fitted", "latency_ms", "held"]
    table(columns, [[r[c] for c in columns] for r in found])
    finish("onnx_files", rows, targets(found), options)


if __name__ == "__main__":
    main()
