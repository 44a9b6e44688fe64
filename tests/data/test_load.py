from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chipfit.core.errors import BadInput
from chipfit.data.load import load_data


def test_a_name_a_folder_and_a_function_are_told_apart(tmp_path: Path) -> None:
    for c in "ab":
        (tmp_path / "set" / c).mkdir(parents=True)
        for k in range(4):
            Image.fromarray(np.full((4, 4), 10 * k, np.uint8)).save(tmp_path / "set" / c / f"{k}.png")
    (tmp_path / "mine.py").write_text(
        "import numpy as np\ndef loaders():\n    x = np.zeros((9, 1, 4, 4), np.uint8)\n"
        "    return dict(train=[(x, [0, 1, 2] * 3)])\n"
    )
    assert load_data("digits").name == "digits"
    assert load_data(str(tmp_path / "set")).classes == ("a", "b")
    assert load_data(f"{tmp_path}/mine.py:loaders").classes == ("0", "1", "2")


def test_resize_and_normalize_hold_for_every_part() -> None:
    plain, d = load_data("digits"), load_data("digits", resize=(16, 12), normalize=((0.5,), (0.25,)))
    assert d.input_shape == (1, 16, 12)
    assert d.validation.inputs.shape[1:] == d.open_test().inputs.shape[1:] == (1, 16, 12)
    assert (d.mean, d.std) == ((0.5,), (0.25,))
    np.testing.assert_array_equal(d.open_test().targets, plain.open_test().targets)
    assert any("resized to 16x12" in n for n in d.notes)
    assert d.digest() != plain.digest()
    # Bilinear resizing keeps the mean of a picture, edges aside.
    assert float(d.train.inputs.mean()) == pytest.approx(float(plain.train.inputs.mean()), rel=0.05)


def test_normalize_holds_for_pictures_and_own_loaders(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import numpy as np\ndef loaders():\n    return dict(train=[np.zeros((9, 3, 4, 4), np.float32)])\n"
    )
    d = load_data(f"{tmp_path}/mine.py:loaders", normalize=((0.5,), (0.25,)))
    assert float(d.normalise(d.train.inputs).max()) == -2.0
    with pytest.raises(BadInput, match="--resize 8x8 is for uint8 pictures; these inputs are float32"):
        load_data(f"{tmp_path}/mine.py:loaders", resize=(8, 8))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("digit", "data 'digit' is unknown; did you mean 'digits'"),
        ("cifar", "data 'cifar' is unknown; give fashion-mnist, digits, a folder or zip"),
        ("no/such/folder", "data 'no/such/folder' does not exist"),
        ("absent.zip", "data 'absent.zip' does not exist"),
        ("absent.py:loaders", "absent.py' does not exist"),
        ("absent.py", "names no function; write it like absent.py:loaders"),
        (__file__.replace(".py", ".txt"), "does not exist"),
    ],
)
def test_what_is_not_there_is_told_from_what_is_misspelt(spec: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        load_data(spec)


def test_what_is_neither_folder_nor_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.zip")
    for spec in (str(tmp_path / "pipe.zip"), "/dev/zero", "/dev/null"):
        with pytest.raises(BadInput, match="is neither a folder nor a file; give fashion-mnist, digits"):
            load_data(spec)


@pytest.mark.parametrize("spec", ["x" * 300, "a/" * 3000, "null\0.zip", "~nobody-of-this-name/x"])
def test_a_name_that_no_file_can_have_is_one_line(spec: str) -> None:
    with pytest.raises(BadInput, match="cannot be opened|does not exist|is unknown") as caught:
        load_data(spec)
    assert "\n" not in str(caught.value)
    assert "\0" not in str(caught.value)


def test_a_path_and_a_size_may_be_python_objects(tmp_path: Path) -> None:
    for c in "ab":
        (tmp_path / c).mkdir()
        for k in range(4):
            Image.fromarray(np.full((4, 4), 10 * k + ord(c), np.uint8)).save(tmp_path / c / f"{k}.png")
    assert load_data(tmp_path, resize=(3, 5)).input_shape == (1, 3, 5)
    for spec in (None, 3, {"train": []}):
        with pytest.raises(BadInput, match="data is an? .*; give a name or a path"):
            load_data(spec)  # type: ignore[arg-type]
    for size in ((0, 3), (3,), "32", (5000, 5), (2.5, 3), True):
        with pytest.raises(BadInput, match=r"is not a size; give \(height, width\)"):
            load_data("digits", resize=size)  # type: ignore[arg-type]


def test_loading_data_needs_no_torch() -> None:
    code = "import sys; from chipfit.data.load import load_data; load_data('digits'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
