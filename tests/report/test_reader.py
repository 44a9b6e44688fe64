"""predict.py reads pictures as the training set was read, and several inputs by their names."""

from __future__ import annotations

import subprocess
import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image
from torch import nn

import chipfit
from chipfit.core.ports import Port, packed
from chipfit.data.decode import decode
from chipfit.data.depth import Depth, noted
from chipfit.data.folder import read_folder
from chipfit.report.card import predict_source
from data.files import deep_png, empty_png, png, saved

RNG = np.random.default_rng(0)
COLOUR = Image.fromarray(RNG.integers(0, 256, (9, 14, 3), np.uint8))
GREY = COLOUR.convert("L")
MASK = Image.fromarray(RNG.integers(0, 256, (9, 14), np.uint8))


def script(shape: tuple[int, ...], depth: Depth | None = None, **options: Any) -> types.ModuleType:
    """predict.py as a module."""
    source = predict_source("onnx", shape, (0.0,) * shape[0], (1.0,) * shape[0], depth=depth, **options)
    module = types.ModuleType("predict")
    module.__file__ = "predict.py"
    exec(compile(source, "predict.py", "exec"), module.__dict__)
    return module


def loaded(folder: Path, size: tuple[int, int]) -> tuple[NDArray[np.uint8], Depth | None]:
    """The pictures in a folder as the training set has them, by name in order, and how deep ones were read."""
    found = decode(read_folder(folder).pictures, size, "folder")
    return np.asarray(found.pictures), noted(found.notes)


def turned(orientation: int, kind: str = "JPEG", picture: Image.Image = COLOUR) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(picture, kind, exif=exif)


def with_alpha(mode: str) -> Image.Image:
    picture = COLOUR.convert(mode)
    picture.putalpha(MASK)
    return picture


def see_through() -> bytes:
    picture = COLOUR.quantize(8)
    return saved(picture, "PNG", transparency=2)


def deep(top: int, dtype: type = np.uint16) -> Image.Image:
    values = RNG.integers(0, top, (9, 14)).astype(dtype)
    values[0, 0] = top - 1
    return Image.fromarray(values)


PICTURES: dict[str, Callable[[], bytes]] = {
    **{f"turned {n}.jpg": (lambda n=n: turned(n)) for n in range(1, 10)},  # type: ignore[misc]
    "turned grey.jpg": lambda: turned(6, picture=GREY),
    "turned.tif": lambda: turned(6, "TIFF"),
    "turned deep.png": lambda: turned(6, "PNG", deep(65536)),
    "turned deep.tif": lambda: turned(8, "TIFF", deep(65536)),
    "colour.png": lambda: saved(COLOUR, "PNG"),
    "grey.png": lambda: saved(GREY, "PNG"),
    "bits.png": lambda: saved(GREY.convert("1"), "PNG"),
    "grey alpha.png": lambda: saved(with_alpha("L"), "PNG"),
    "alpha.png": lambda: saved(with_alpha("RGB"), "PNG"),
    "palette.png": lambda: saved(COLOUR.quantize(16), "PNG"),
    "see-through palette.png": see_through,
    "frames.gif": lambda: saved(COLOUR, "GIF", save_all=True, append_images=[COLOUR.rotate(180)]),
    "cmyk.jpg": lambda: saved(COLOUR.convert("CMYK"), "JPEG"),
    "16 bits.png": lambda: saved(deep(65536), "PNG"),
    "12 bits.png": lambda: saved(deep(4096), "PNG"),
    "8 bits of 16.png": lambda: saved(deep(200), "PNG"),
    "32 bits.tif": lambda: saved(deep(2**24, np.int32), "TIFF"),
    "floats.tif": lambda: saved(Image.fromarray(RNG.random((9, 14)).astype(np.float32)), "TIFF"),
    "bright floats.tif": lambda: saved(Image.fromarray((RNG.random((9, 14)) * 20).astype(np.float32)), "TIFF"),
    "whole floats.tif": lambda: saved(deep(4096, np.float32), "TIFF"),
    "deep colour.png": lambda: deep_png(RNG.integers(0, 65536, (9, 14, 3)).astype(np.uint16), 2),
    "deep colour of 12 bits.png": lambda: deep_png(RNG.integers(0, 4096, (9, 14, 4)).astype(np.uint16), 6),
}


@pytest.mark.parametrize("size", [(9, 14), (5, 6), (20, 17)])
@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_read_as_the_training_set_was(tmp_path: Path, name: str, size: tuple[int, int]) -> None:
    place = tmp_path / name
    place.write_bytes(PICTURES[name]())
    (want,), depth = loaded(tmp_path, size)
    for rule in (depth, None):
        got = script((len(want), *size), rule).read_picture(place)
        assert got.dtype == np.uint8
        np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(script((3, *size), depth).read_picture(place), np.broadcast_to(want, (3, *size)))


@pytest.mark.parametrize(
    "values",
    [
        [RNG.integers(0, top, (9, 14)).astype(np.uint16) for top in (40, 4000, 900)],
        [(RNG.random((9, 14)) * top).astype(np.float32) for top in (0.4, 3.5, 1.0)],
        [RNG.integers(0, 200, (9, 14)).astype(np.uint16) for _ in range(3)],
    ],
)
def test_deep_pictures_follow_the_rule_of_the_whole_training_set(tmp_path: Path, values: list[NDArray[Any]]) -> None:
    for n, v in enumerate(values):
        (tmp_path / f"{n}.tif").write_bytes(saved(Image.fromarray(v), "TIFF"))
    want, depth = loaded(tmp_path, (9, 14))
    assert depth is not None
    told = dict(script((1, 9, 14), depth).read(tmp_path))
    assert list(told) == ["0.tif", "1.tif", "2.tif"]
    np.testing.assert_array_equal(np.stack(list(told.values())), want)


def test_a_run_ships_the_rule_of_its_pictures(tmp_path: Path) -> None:
    for n in range(40):
        place = tmp_path / "data" / "ab"[n % 2] / f"{n}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        deep(4096).save(place)
    net = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2)).eval()
    chipfit.fit(
        net, data=str(tmp_path / "data"), device="null", limits={"size_mb": "95%"}, train=False, baselines=False,
        out=tmp_path / "run",
    )  # fmt: skip
    assert "\nSHIFT = 4  # " in (tmp_path / "run" / "best" / "predict.py").read_text()


def test_a_picture_brighter_than_the_training_set_is_white_there(tmp_path: Path) -> None:
    Image.fromarray(np.array([[100, 4095, 65535]], np.uint16)).save(tmp_path / "a.png")
    got = script((1, 1, 3), Depth(4095.0, 0.0, 8)).read_picture(tmp_path / "a.png")
    assert got.ravel().tolist() == [6, 255, 255]


def shipped(folder: Path, shape: tuple[int, ...], **options: Any) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A function that runs predict.py in a folder."""
    means, deviations = (0.0,) * shape[0], (1.0,) * shape[0]
    (folder / "predict.py").write_text(predict_source("onnx", shape, means, deviations, task="regression", **options))

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(folder / "predict.py"), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, cwd=folder)

    return run


def model(folder: Path, nodes: list[onnx.NodeProto], inputs: dict[str, tuple[int, tuple[int, ...]]]) -> None:
    """model.onnx of these inputs, name: (type, shape), which answers with "y"."""
    given = [helper.make_tensor_value_info(name, kind, (1, *shape)) for name, (kind, shape) in inputs.items()]
    answer = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "tiny", given, [answer])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(made, folder / "model.onnx")


def test_every_picture_in_a_folder_is_predicted_by_its_name(tmp_path: Path) -> None:
    model(tmp_path, [helper.make_node("ReduceMax", ["x"], ["y"], keepdims=0, axes=[1, 2, 3])], {"x": (1, (3, 4, 4))})
    run = shipped(tmp_path, (3, 4, 4))
    pics = tmp_path / "pics"
    for name, value in (("b.png", 51), ("cats/a.JPG", 255), (".hidden.png", 0), ("notes.txt", 0)):
        (pics / name).parent.mkdir(parents=True, exist_ok=True)
        (pics / name).write_bytes(saved(Image.new("L", (4, 4), value), "PNG"))
    done = run(pics)
    assert (done.stdout.splitlines(), done.stderr) == (["b.png: 0.2", "cats/a.JPG: 1."], "")
    (pics / "a.png").write_bytes(b"none")
    (pics / "c.png").write_bytes(png()[:60])
    done = run(pics)
    assert done.returncode == 1
    assert done.stdout.splitlines() == ["b.png: 0.2", "cats/a.JPG: 1."]
    first, second = done.stderr.splitlines()
    assert first.endswith("a.png is neither a picture nor a .npy file")
    assert "c.png cannot be read: " in second
    (tmp_path / "empty").mkdir()
    assert "empty is a folder without pictures (.apng, " in run(tmp_path / "empty").stderr
    assert "none is not there; give a picture, a folder of pictures or a .npy file" in run(tmp_path / "none").stderr
    (tmp_path / "bad.npy").write_bytes(b"none")
    assert run(tmp_path / "bad.npy").stderr.startswith(f"{tmp_path}/bad.npy cannot be read as a .npy file")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lambda: saved(Image.fromarray(np.full((5, 6), -3, np.int32)), "TIFF"), "holds negative, NaN or infinite"),
        (
            lambda: saved(Image.fromarray(np.full((5, 6), np.nan, np.float32)), "TIFF"),
            "holds negative, NaN or infinite",
        ),
        (lambda: deep_png(np.ones((5, 6, 2), np.uint16), 4), "grey of 16 bits with alpha; save it without alpha"),
        (lambda: empty_png(6, 5000), "truncated"),
    ],
)
def test_what_the_training_set_would_refuse_is_refused(
    tmp_path: Path, content: Callable[[], bytes], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.png").write_bytes(content())
    with pytest.raises(SystemExit):
        list(script((1, 4, 4)).read(tmp_path / "a.png"))
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


def test_the_rule_of_deep_pictures_is_read_from_its_note() -> None:
    for depth in (Depth(65535.0, 0.0, 3), Depth(2.0**24 - 1, 0.0, 3), Depth(40.0, 0.0, 3), Depth(3.5, 4.0, 3)):
        found = noted(["a note", depth.note()])
        assert found is not None
        assert (found.bits, found.unit, found.pictures) == (depth.bits, depth.unit, 3)
    assert noted(["2 pictures in CMYK were read as RGB"]) is None


PORTS = (Port("meta", (2,)), Port("image", (1, 2, 2)), Port("ids", (3,), True))
ROWS = {
    "meta": RNG.normal(size=(4, 2)), "image": RNG.integers(0, 256, (4, 1, 2, 2), np.uint8),
    "ids": RNG.integers(0, 9, (4, 3)),
}  # fmt: skip


@pytest.fixture
def several(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """predict.py beside a file that answers with its inputs, side by side."""
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("Cast", ["ids"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Concat", ["meta", "flat", "floats"], ["y"], axis=1),
    ]
    kinds = {p.name: (TensorProto.INT64 if p.whole else TensorProto.FLOAT, p.shape) for p in PORTS}
    model(tmp_path, nodes, kinds)
    return shipped(tmp_path, (9,), pixels=False, ports=PORTS)


def told(rows: NDArray[np.float32]) -> list[str]:
    return [f"{n}: {np.array2string(row, precision=5, threshold=50)}" for n, row in enumerate(rows)]


def test_several_inputs_come_by_name(tmp_path: Path, several: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    want = packed(PORTS, ROWS)
    np.savez(tmp_path / "rows.npz", labels=np.zeros(4), **ROWS)
    done = several("rows.npz")
    assert done.stdout.rstrip("\n") == "\n".join(told(want)), done.stderr
    np.savez(tmp_path / "one.npz", **{name: values[0] for name, values in ROWS.items()})
    assert several("one.npz").stdout.rstrip("\n") == told(want)[0]


WANTED = "give a .npz file that holds meta (2,), image (1, 2, 2), ids (3,) of whole numbers, or stacks of those"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"meta": None, "ids": None}, "a.npz lacks meta, ids (it holds image); "),
        ({"image": np.zeros((4, 2, 2))}, "a.npz: image has shape (4, 2, 2); "),
        ({"ids": np.zeros((4, 3))}, "a.npz: ids holds float64; "),
        ({"meta": np.array([["a", "b"]] * 4)}, "a.npz: meta holds <U1; "),
        ({"meta": np.zeros((3, 2))}, "a.npz holds different numbers of rows (meta 3, image 4, ids 4); "),
        (
            {"meta": np.array([None] * 4)},
            "a.npz cannot be read (Object arrays cannot be loaded when allow_pickle=False)",
        ),
    ],
)
def test_inputs_that_are_missing_or_wrong_are_named_in_one_line(
    tmp_path: Path,
    several: Callable[..., subprocess.CompletedProcess[str]],
    changed: dict[str, Any],
    said: str,
) -> None:
    np.savez(tmp_path / "a.npz", **{name: v for name, v in {**ROWS, **changed}.items() if v is not None})
    done = several("a.npz")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(said)
    assert done.stderr.endswith(f"{WANTED}\n")
    assert done.stderr.count("\n") == 1


def test_other_files_are_refused_in_one_line(
    tmp_path: Path, several: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    np.save(tmp_path / "a.npy", np.zeros((1, 9)))
    (tmp_path / "b.npz").write_bytes(b"PK\x03\x04 none")
    (tmp_path / "c.npz").write_bytes(b"")
    (tmp_path / "npy.npz").write_bytes((tmp_path / "a.npy").read_bytes())
    for name, said in (
        ("a.npy", f"a.npy is no .npz file; the model takes 3 inputs: {WANTED}\n"),
        (".", f". is a folder; the model takes 3 inputs: {WANTED}\n"),
        ("b.npz", "b.npz cannot be read ("),
        ("c.npz", "c.npz cannot be read ("),
        ("npy.npz", "npy.npz cannot be read ("),
        ("none.npz", "none.npz is not there; give a .npz file\n"),
    ):
        done = several(name)
        assert done.stderr.startswith(said)
        assert done.stderr.count("\n") == 1


def test_the_script_says_of_shapes_what_they_are() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pictures = predict_source("onnx", (3, 8, 8), (0.0,), (1.0,))
        rows = predict_source("onnx", (5,), (0.0,), (1.0,), pixels=False)
        two = predict_source("tflite", (9,), (0.0,), (1.0,), pixels=False, ports=PORTS)
    assert "INPUT_SHAPE = (3, 8, 8)  # (channels, height, width)\n" in pictures
    assert "INPUT_SHAPE = (5,)\n" in rows
    assert "picture" not in rows.partition("import")[0]
    assert "INPUT_SHAPE" not in two
    assert "INPUTS = {'meta': (2,), 'image': (1, 2, 2), 'ids': (3,)}  # name: shape of one row\n" in two
    assert "WHOLE = ('ids',)" in two
    assert "run(input=" in two, "files of this format take the row itself"
