from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chipfit.core.data import Dataset
from chipfit.core.errors import BadInput
from chipfit.data.pictures import load
from chipfit.data.split import fingerprints


def picture(seed: int, mode: str = "RGB", size: tuple[int, int] = (6, 5)) -> Image.Image:
    """(width, height) noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(pixels).convert(mode)


def fill(folder: Path, n: int, first: int = 0, mode: str = "RGB", suffix: str = ".png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(n):
        picture(first + k, mode).save(folder / f"{k:03d}{suffix}")


def read(path: Path, resize: tuple[int, int] | None = None) -> Dataset:
    return load(path, resize=resize, normalize=None)


def pack(folder: Path, to: Path, wrapped: str = "") -> Path:
    with zipfile.ZipFile(to, "w") as z:
        for f in sorted(folder.rglob("*")):
            z.write(f, f"{wrapped}{f.relative_to(folder)}")
    return to


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """Two classes, 20 pictures each, no parts."""
    fill(tmp_path / "set" / "cat", 20)
    fill(tmp_path / "set" / "bird", 20, first=100)
    return tmp_path / "set"


def test_class_folders_are_sorted_and_split_into_disjoint_parts(flat: Path) -> None:
    d = read(flat)
    assert d.classes == ("bird", "cat")
    assert d.input_shape == (3, 5, 6)
    test = d.open_test()
    assert (len(d.train), len(d.validation), len(test)) == (32, 4, 4)
    prints = [set(fingerprints(p)) for p in (d.train, d.validation, test)]
    assert sum(map(len, prints)) == len(set.union(*prints)) == 40
    birds = {np.asarray(picture(100 + k)).transpose(2, 0, 1).tobytes() for k in range(20)}
    for part in (d.train, d.validation, test):
        assert part.targets is not None
        assert [x.tobytes() in birds for x in part.inputs] == [t == 0 for t in part.targets]


def test_a_zip_wrapped_in_a_folder_reads_like_the_folder(flat: Path, tmp_path: Path) -> None:
    (flat / "__MACOSX").mkdir()
    (flat / "cat" / ".hidden.png").write_bytes(b"no picture")
    (flat / "readme.txt").write_text("no picture")
    packed = read(pack(flat, tmp_path / "set.zip", wrapped="some/where/"))
    folder = read(flat)
    assert packed.digest() == folder.digest()
    assert packed.name == folder.name == "set"


def test_parts_are_taken_as_they_are_and_validation_is_cut_where_it_is_missing(tmp_path: Path) -> None:
    for first, part, n in ((0, "Train", 20), (500, "test", 3)):
        fill(tmp_path / part / "cat", n, first)
        fill(tmp_path / part / "bird", n, first + 100)
    d = read(tmp_path)
    assert (len(d.train), len(d.validation), len(d.open_test())) == (36, 4, 6)
    last = {np.asarray(picture(k)).transpose(2, 0, 1).tobytes() for k in (18, 19, 118, 119)}
    assert {x.tobytes() for x in d.validation.inputs} == last
    assert "validation: the last tenth of each class of train" in d.notes
    fill(tmp_path / "valid" / "cat", 2, 900)
    three = read(tmp_path)
    assert (len(three.train), len(three.validation), len(three.open_test())) == (40, 2, 6)
    assert "validation has no pictures of class 'bird'" in three.notes


def test_pictures_without_class_folders_have_no_labels(tmp_path: Path) -> None:
    fill(tmp_path / "photos", 10)
    for d in (read(tmp_path / "photos"), read(pack(tmp_path, tmp_path / "photos.zip"))):
        assert not d.labelled
        assert d.classes == ()
        assert (len(d.train), len(d.validation), len(d.open_test())) == (8, 1, 1)


def test_pixels_arrive_exactly_and_the_shift_follows_the_height(flat: Path) -> None:
    d = read(flat)
    assert (d.flip, d.shift) == (True, 1)
    first = min(x.tobytes() for x in d.train.inputs)
    all_pixels = [np.asarray(picture(k + f)).transpose(2, 0, 1).tobytes() for k in range(20) for f in (0, 100)]
    assert first in all_pixels
    assert read(flat, resize=(48, 40)).shift == 4


@pytest.mark.parametrize(
    ("mode", "channels"), [("L", 1), ("1", 1), ("LA", 1), ("RGB", 3), ("RGBA", 3), ("P", 3), ("CMYK", 3)]
)
def test_every_mode_becomes_grey_or_rgb(tmp_path: Path, mode: str, channels: int) -> None:
    suffix = ".jpg" if mode == "CMYK" else ".png"
    fill(tmp_path / "a", 5, 0, mode, suffix)
    fill(tmp_path / "b", 5, 50, mode, suffix)
    assert read(tmp_path).input_shape == (channels, 5, 6)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    deep = (np.arange(30, dtype=np.uint16) * 2000).reshape(5, 6)
    for c in "ab":
        (tmp_path / c).mkdir()
        for k in range(3):
            Image.fromarray(deep).save(tmp_path / c / f"{k}.png")
    assert np.array_equal(read(tmp_path).train.inputs[0, 0], deep >> 8)


def test_grey_among_colour_is_repeated_and_told(flat: Path) -> None:
    picture(7, "L").save(flat / "cat" / "grey.png")
    d = read(flat)
    assert d.input_shape[0] == 3
    assert "1 grey picture among coloured ones was read as RGB" in d.notes


def test_resize_takes_pictures_of_different_sizes(flat: Path) -> None:
    picture(7, size=(9, 4)).save(flat / "cat" / "wide.png")
    with pytest.raises(BadInput, match=r"cat/\d+.png 5x6|cat/wide.png 4x9.*--resize HEIGHTxWIDTH"):
        read(flat)
    d = read(flat, resize=(4, 8))
    assert d.input_shape == (3, 4, 8)
    assert any("resized to 4x8 (height x width)" in n for n in d.notes)


def test_loose_pictures_beside_class_folders_are_told(flat: Path) -> None:
    fill(flat, 3, first=700)
    d = read(flat)
    assert len(d.train) + len(d.validation) + len(d.open_test()) == 40
    assert "3 pictures outside the class folders left out: 3 beside them" in d.notes


def _empty_class(flat: Path) -> None:
    (flat / "dog").mkdir()


def _broken(flat: Path) -> None:
    (flat / "cat" / "000.png").write_bytes(b"no picture at all")
    cut = io.BytesIO()
    picture(3, size=(64, 64)).save(cut, "PNG")
    (flat / "bird" / "000.png").write_bytes(cut.getvalue()[:400])
    (flat / "bird" / "001.png").write_bytes(b"")


def _nothing(flat: Path) -> None:
    shutil.rmtree(flat)
    flat.mkdir()
    (flat / "readme.txt").write_text("no pictures here")


def _one_class(flat: Path) -> None:
    (flat / "train").mkdir()
    (flat / "cat").rename(flat / "train" / "cat")


def _no_train(flat: Path) -> None:
    (flat / "cat").rename(flat / "test")
    (flat / "bird").rename(flat / "val")


def _strange_class(flat: Path) -> None:
    fill(flat / "train" / "cat", 2)
    fill(flat / "train" / "bird", 2)
    fill(flat / "test" / "brid", 2)


def _two_validations(flat: Path) -> None:
    for part in ("train", "val", "valid"):
        fill(flat / part / "cat", 2)


def _empty_part(flat: Path) -> None:
    fill(flat / "train" / "cat", 2)
    fill(flat / "train" / "bird", 2)
    (flat / "test").mkdir()


def _nan(flat: Path) -> None:
    Image.fromarray(np.full((5, 6), np.nan, np.float32)).save(flat / "cat" / "deep.tiff")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_empty_class, "class folder 'dog' holds no pictures; fill or remove it"),
        (_broken, r"3 of 40 pictures cannot be read: bird/000.png \(.*\), bird/001.png \(not a picture\), cat/000.png"),
        (_nothing, "holds no pictures; give a folder or zip of .bmp, "),
        (_one_class, "train has one class folder, 'cat'; give two or more"),
        (_no_train, "has test, val but no train folder"),
        (_strange_class, "class folder 'brid' of 'test' is not one of train: bird, cat"),
        (_two_validations, "two folders for validation: 'val' and 'valid'; keep one"),
        (_empty_part, "'test' holds no pictures of the classes of train; fill it"),
        (_nan, r"1 of 41 pictures cannot be read: cat/deep.tiff \(holds NaN or infinite values\)"),
    ],
)
def test_what_cannot_be_used_is_named_in_one_line(flat: Path, spoil: Callable[[Path], None], said: str) -> None:
    spoil(flat)
    with pytest.raises(BadInput, match=said) as caught:
        read(flat)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_zip_and_a_zip_with_a_damaged_picture(flat: Path, tmp_path: Path) -> None:
    (tmp_path / "no.zip").write_bytes(b"PK nothing")
    with pytest.raises(BadInput, match="is not a zip file"):
        read(tmp_path / "no.zip")
    path = pack(flat, tmp_path / "set.zip")
    content = bytearray(path.read_bytes())
    at = content.find(b"IDAT") + 20
    content[at] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(BadInput, match="1 of 40 pictures cannot be read: bird/000.png .*CRC"):
        read(path)


def test_the_cifar_zip_has_its_known_statistics_and_order(shared: Path) -> None:
    d = read(shared / "data" / "cifar10_jpeg.zip")
    assert d.classes[:3] == ("airplane", "automobile", "bird")
    assert (len(d.train), len(d.validation), len(d.open_test())) == (9000, 1000, 2000)
    assert d.mean == pytest.approx((0.4926, 0.4824, 0.4464), abs=1e-3)
    assert d.std == pytest.approx((0.2464, 0.2444, 0.2617), abs=1e-3)
    assert d.input_shape == (3, 32, 32)
    prints = [set(fingerprints(p)) for p in (d.train, d.validation, d.open_test())]
    assert sum(map(len, prints)) == len(set.union(*prints)) == 12_000
