"""The model card says what was measured; predict.py runs the file as the card says."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from chipfit.core.reference import Reference, Version
from chipfit.core.types import Measurement
from chipfit.report.budget import parse_budget
from chipfit.report.card import _changed, model_card, predict_source
from chipfit.report.row import Row
from chipfit.report.view import DatasetFact, RunView, view
from chipfit.store.store import Store

MEAN, STD = (0.5, 0.25), (0.5, 2.0)


def test_the_card_of_a_whole_run(whole_run: Path):
    with Store(whole_run, read_only=True) as store:
        card = model_card(view(store))
    for line in (
        "# Model card: ours (resnet20)",
        "| | before: resnet20 | after: ours (resnet20) |",
        "| test accuracy, % | 93.50 ± 0.25 (measured) | 92.90 ± 0.26 (measured) |",
        "| latency, ms | 0.9700 ± 0.0058 (measured) | 0.4120 ± 0.0025 (measured) |",
        "| latency as predicted, ms | – | 0.4033 (predicted) |",
        "- pictures are scaled to 0..1, then normalised with mean [0.286] and std [0.353]",
        "- lenet5, `conv1`: its 6 channels are no more than one kernel block of 8",
        "- `conv1`: int8 was slower: 0.031 ms against 0.024 ms",
        "- fashion-mnist, digest `9f86d081884c7d65`, licence MIT",
        "- the test split was opened 1 time: the report's before/after table",
        "- latency measured on `epyc-7763-ort-1.31-1t`, protocol canary ratio v1, 1 thread, 40 blocks",
        "- seed 0",
        "- chipfit 0.1.0, torch 2.13.0, onnx 1.23.2, onnxruntime 1.31.1",
        "- zoo weights: CC0-1.0",
    ):
        assert line in card.splitlines(), line
    assert "- residual blocks dropped: " in card


def test_a_card_leaves_out_what_is_not_known():
    final = Row("k", "final", "m", "a|b", "", (Measurement("latency_ms", 1.0, "simulated"),))
    card = model_card(RunView(Path("run"), (final,), finished=True, dataset=DatasetFact(classes=10)))
    assert "| | before: – | after: a\\|b (m) |" in card
    assert "| latency, ms | – | 1 (simulated) |" in card
    assert "- output: one logit for each of 10 classes" in card
    assert "accuracy" not in card
    assert "## Data" not in card
    assert "no final model yet" in model_card(RunView(Path("run")))


def test_names_are_words_and_never_markup():
    evil = "<img src=x onerror=alert(1)> *bold* [a](b) `c` a|b _d_ latency_ms"
    final = Row("k", "final", evil, "ours", "latency_ms<=1", (Measurement("latency_ms", 1.0, "measured"),))
    facts = DatasetFact(name=evil, classes=(evil, "b"), licence=evil, notes=(evil,), input_shape=(1, 2, 2))
    run = RunView(
        Path("run"), (final,), dataset=facts, untouched=((evil, evil, evil),), kept_fp32=((evil, evil),),
        licences={evil: evil}, warnings=(evil,),
    )  # fmt: skip
    card = model_card(run)
    outside = re.sub(r"`[^`]*`", "", card.replace(r"\`", ""))
    assert "<img" not in outside
    assert not re.search(r"(?<!\\)[*\[]", outside)
    assert "&lt;img src=x onerror=alert(1)&gt; \\*bold\\* \\[a\\](b) \\`c\\` a\\|b \\_d\\_ latency_ms" in card


def test_the_card_says_how_inputs_are_prepared_as_it_is():
    floats = DatasetFact(name="mfcc", input_shape=(1, 49, 10), mean=(0.5,), std=(2.0,), pixels=False)
    card = model_card(RunView(Path("run"), (Row("k", "final", "m", "ours", ""),), dataset=floats))
    assert "- inputs are taken as the data have them, not scaled, then normalised with mean [0.5] and std [2.0]" in card
    assert "pictures" not in card
    features = DatasetFact(name="rows", input_shape=(5,), mean=(0.0,), std=(1.0,), pixels=False)
    card = model_card(RunView(Path("run"), (Row("k", "final", "m", "ours", ""),), dataset=features))
    assert "- shape 5 (features), float32" in card
    two = DatasetFact(name="rows", input_shape=(7,), mean=(0.0,), std=(1.0,), inputs=("a=5", "ids=2:int"))
    card = model_card(RunView(Path("run"), (Row("k", "final", "m", "ours", ""),), dataset=two))
    assert "- 2 inputs: a=5, ids=2:int" in card
    assert "shape 7" not in card


def test_the_card_has_float_and_int8_before_and_counts_sites_of_all():
    def ms(value: float) -> tuple[Measurement, ...]:
        return (Measurement("latency_ms", value, "measured", "here"),)

    rows = (
        Row("a", "zoo", "net", "net", "", ms(0.5)),
        Row("b", "baseline", "net", "net int8", "", ms(0.2), sites=(4, 4)),
        Row("c", "final", "net", "ours", "latency_ms <= 0.1", ms(0.09), edits=(["precision", "a", 8],) * 3,
            sites=(3, 4), steps=(769, 1460), origin="from net, found for latency_ms <= 0.09"),
    )  # fmt: skip
    pair = (Version("net", 32, {"latency_ms": 0.5}), Version("net", 8, {"latency_ms": 0.2}))
    budgets = (parse_budget("latency_ms <= 0.1", {}),)
    floor = parse_budget("macs <= 9", {})
    card = model_card(RunView(Path("run"), rows, budgets=budgets, floor=floor, reference=Reference.of(pair)))
    for line in (
        "| | before: net | before: net int8 | after: ours (from net, found for latency_ms &lt;= 0.09) |",
        "| latency, ms | 0.5 (measured) | 0.2 (measured) | 0.09 (measured) |",
        "- latency ≤ 0.1 ms: held",
        "- macs ≤ 9: not held",
        "- 50 % of net int8, 0.2 ms (fp32 0.5 ms)",
        "- sites in int8: 3 of 4",
        "- trained for 769 of 1460 steps",
    ):
        assert line in card.splitlines(), line


def test_the_card_counts_edits_of_every_kind():
    edits = (["skip", "a"], ["width", "b", [0]], ["width", "c", [0]], ["folded", "d", 4])
    card = model_card(RunView(Path("run"), (Row("c", "final", "net", "ours", "", edits=edits),)))
    for line in ("- residual blocks dropped: 1", "- channel groups narrowed: 2", "- folded: 1"):
        assert line in card.splitlines(), line


def test_a_model_of_floats_takes_no_bytes_and_no_pictures(tmp_path: Path):
    write_model(tmp_path, (1, 4, 4))
    source = predict_source("onnx", (1, 4, 4), (0.0,), (1.0,), pixels=False)
    (tmp_path / "predict.py").write_text(source)
    assert "0..255" not in source
    Image.new("L", (4, 4)).save(tmp_path / "picture.png")
    np.save(tmp_path / "bytes.npy", np.zeros((1, 4, 4), np.uint8))
    np.save(tmp_path / "floats.npy", np.zeros((1, 4, 4), np.float32))
    assert "not pictures; give a .npy file" in predicted(tmp_path, tmp_path / "picture.png").stderr
    assert "holds uint8; give float32, as the data" in predicted(tmp_path, tmp_path / "bytes.npy").stderr
    assert predicted(tmp_path, tmp_path / "floats.npy").returncode == 0


def write_model(path: Path, shape: tuple[int, ...], batch: int | str = 1) -> NDArray[np.float32]:
    """An ONNX file of one linear layer over the flat input; returns its weights (features, 3)."""
    weights = np.random.default_rng(0).normal(size=(int(np.prod(shape)), 3)).astype(np.float32)
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (batch, *shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (batch, 3))],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path / "model.onnx")
    return weights


def predicted(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(folder / "predict.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd="/")


def expected(
    inputs: NDArray[np.float64], weights: NDArray[np.float32], names: tuple[str, ...], top: int = 3
) -> list[str]:
    """The lines that predict.py must print for inputs (n, C, H, W) scaled to 0..1."""
    x = (inputs - np.reshape(MEAN, (1, 2, 1, 1))) / np.reshape(STD, (1, 2, 1, 1))
    logits = x.reshape(len(x), -1) @ weights
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    best = np.argsort(-shares, 1)[:, :top]
    return [
        f"{n}: " + ", ".join(f"{names[i]} {100 * shares[n, i]:.1f}%" for i in order) for n, order in enumerate(best)
    ]


@pytest.fixture
def two_channels(tmp_path: Path) -> tuple[Path, NDArray[np.float32]]:
    weights = write_model(tmp_path, (2, 4, 4))
    (tmp_path / "predict.py").write_text(predict_source("onnx", (2, 4, 4), MEAN, STD, ("cat", "dog", "it's")))
    return tmp_path, weights


def test_arrays_are_normalised_as_stated_and_classes_named(two_channels: tuple[Path, NDArray[np.float32]]):
    folder, weights = two_channels
    inputs = np.random.default_rng(1).integers(0, 256, (3, 2, 4, 4)).astype(np.uint8)
    np.save(folder / "bytes.npy", inputs)
    np.save(folder / "floats.npy", (inputs / 255).astype(np.float32))
    np.save(folder / "one.npy", inputs[0])
    names = ("cat", "dog", "it's")
    assert predicted(folder, folder / "bytes.npy").stdout.splitlines() == expected(inputs / 255, weights, names)
    assert predicted(folder, folder / "floats.npy").stdout.splitlines() == expected(inputs / 255, weights, names)
    top = predicted(folder, folder / "one.npy", "--top", 1).stdout.splitlines()
    assert top == expected(inputs[:1] / 255, weights, names, 1)


def test_inputs_that_do_not_fit_are_refused_in_one_line(two_channels: tuple[Path, NDArray[np.float32]]):
    folder, _ = two_channels
    np.save(folder / "shape.npy", np.zeros((5, 4, 4), np.uint8))
    np.save(folder / "type.npy", np.zeros((2, 4, 4), np.int64))
    Image.new("L", (4, 4)).save(folder / "picture.png")
    for name, words in (
        ("shape.npy", "has shape (5, 4, 4); the model takes (2, 4, 4)"),
        ("type.npy", "holds int64; give uint8 (0..255) or float32 (0..1)"),
        ("picture.png", "takes arrays of shape (2, 4, 4), not pictures"),
        ("none.npy", "is not there"),
    ):
        done = predicted(folder, folder / name)
        assert done.returncode == 1
        assert words in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_pictures_are_turned_into_the_models_channels_and_size(tmp_path: Path, channels: int, mode: str):
    weights = write_model(tmp_path, (channels, 4, 6), "n")
    (tmp_path / "predict.py").write_text(predict_source("onnx", (channels, 4, 6), (0.5,) * channels, (0.5,) * channels))
    pixels = np.random.default_rng(2).integers(0, 256, (8, 12, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    small = np.asarray(Image.fromarray(pixels).convert(mode).resize((6, 4), Image.Resampling.BILINEAR))
    x = (small.reshape(4, 6, channels).transpose(2, 0, 1) / 255 - 0.5) / 0.5
    logits = x.reshape(-1) @ weights
    done = predicted(tmp_path, tmp_path / "picture.png")
    assert done.stdout.startswith(f"0: {logits.argmax()} {100 * np.exp(logits).max() / np.exp(logits).sum():.1f}%")
    (tmp_path / "noise.png").write_bytes(b"none")
    assert "is neither a picture nor a .npy file" in predicted(tmp_path, tmp_path / "noise.png").stderr


def test_rows_of_features_and_grey_pictures_without_a_channel_axis(tmp_path: Path):
    for shape, given in (((5,), (4, 5)), ((1, 4, 4), (4, 4)), ((1, 4, 4), (2, 4, 4))):
        write_model(tmp_path, shape)
        (tmp_path / "predict.py").write_text(predict_source("onnx", shape, (0.0,), (1.0,), (), "model.onnx"))
        np.save(tmp_path / "x.npy", np.ones(given, np.float32))
        done = predicted(tmp_path, tmp_path / "x.npy")
        assert len(done.stdout.splitlines()) == np.prod(given) // np.prod(shape), done.stderr


def test_operators_in_int8_by_themselves_are_not_counted_as_sites():
    """One layer of a site in int8 does not make the site one."""
    edits = (["precision", "a", 8, True], ["precision", "b", 8, True])
    final = Row("c", "final", "net", "ours", "", (), edits=edits, sites=(1, 2))
    assert _changed(final) == ["operators in int8: 2"]


def test_programs_are_listed_as_formulas() -> None:
    edits = (["swap", "conv1", "dwconv(x, KxK); pwconv(_, M)"], ["swap", "conv2", "conv(x, KxK, M)"])
    final = Row("c", "final", "net", "ours", "", (), edits=edits)
    assert _changed(final) == [
        "layers computed by programs: 2",
        "`conv1` is computed by `dwconv(x, KxK); pwconv(_, M)`",
        "`conv2` is computed by `conv(x, KxK, M)`",
    ]
