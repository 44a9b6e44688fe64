"""Zips of strangers: names in every form, nothing outside, and bombs that are told before they go off."""

from __future__ import annotations

import stat
import struct
import unicodedata
import zipfile
from pathlib import Path

import pytest

from chipfit.core.data import Dataset
from chipfit.core.errors import BadInput
from chipfit.data.archive import opened_zip, place_of
from chipfit.data.pictures import load
from data.files import png, zipped


def read(path: Path) -> Dataset:
    return load(path, resize=None, normalize=None)


@pytest.mark.parametrize(
    "form", ["{}/{}", "pics\\{}\\{}", "./{}/{}", "{}//{}", "/{}/{}", "C:\\data\\{}\\{}", "x/../{}/{}", ".\\\\{}/{}"]
)
def test_names_are_brought_to_one_form_before_they_are_cut(tmp_path: Path, form: str) -> None:
    entries = {form.format(c, f"{i}.png"): png(10 * k + i) for k, c in enumerate("ab") for i in range(4)}
    d = read(zipped(tmp_path / "x.zip", entries))
    assert d.classes == ("a", "b")
    assert len(d.train) + len(d.validation) + len(d.open_test()) == 8


def test_folders_in_a_zip_of_windows_may_end_in_a_backslash(tmp_path: Path) -> None:
    entries = {"s\\": b"", "s\\a\\": b"", "s\\b\\": b""}
    entries |= {f"s\\{c}\\{i}.png": png(10 * k + i) for k, c in enumerate("ab") for i in range(4)}
    assert read(zipped(tmp_path / "x.zip", entries)).classes == ("a", "b")


def test_names_that_lead_out_are_passed_over(tmp_path: Path) -> None:
    entries = {f"{c}/{i}.png": png(10 * k + i) for k, c in enumerate("ab") for i in range(4)}
    entries |= {"../../evil.png": png(77), "a/../../evil.png": png(78)}
    d = read(zipped(tmp_path / "x.zip", entries))
    assert len(d.train) + len(d.validation) + len(d.open_test()) == 8
    assert "2 names that lead out of the zip passed over, '../../evil.png' first" in d.notes
    assert not list(tmp_path.rglob("evil.png"))


@pytest.mark.parametrize("flagged", [True, False])
def test_accents_of_macos_are_read_whether_the_zip_says_utf8_or_not(tmp_path: Path, flagged: bool) -> None:
    info = zipfile.ZipInfo("x")
    apart = unicodedata.normalize("NFD", "é/1.png")
    info.filename = apart if flagged else apart.encode("utf-8").decode("cp437")
    info.flag_bits = 0x800 if flagged else 0
    assert place_of(info) == ("é", "1.png")


def test_links_hidden_files_and_repeated_names_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    entries = {f"{c}/{i}.png": png(10 * k + i) for k, c in enumerate("ab") for i in range(4)}
    zipped(path, {**entries, "__MACOSX/a/._0.png": b"x", "a/.DS_Store": b"x", "notes.txt": b"x", "inner.zip": b"PK"})
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("a/link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a/0.png", png(99))
    d = read(path)
    assert len(d.train) + len(d.validation) + len(d.open_test()) == 8
    assert "2 hidden files or folders passed over, '__MACOSX/a/._0.png' first" in d.notes
    assert "1 links in the zip passed over, 'a/link.png' first" in d.notes
    assert "1 names that stand again further on in the zip passed over, 'a/0.png' first" in d.notes
    assert "2 files that are no pictures passed over: 1 .txt, 1 .zip" in d.notes


def test_one_place_written_in_two_ways_is_one_file(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    entries = {f"{c}/{i}.png": png(10 * k + i) for k, c in enumerate("ab") for i in range(4)}
    zipped(path, {**entries, **{name.replace("/", "\\"): content for name, content in entries.items()}})
    d = read(path)
    assert len(d.train) + len(d.validation) + len(d.open_test()) == 8
    assert "8 names that stand again further on in the zip passed over, 'a/0.png' first" in d.notes


def test_a_zip_of_zeros_is_told_from_its_directory(tmp_path: Path) -> None:
    path = tmp_path / "zeros.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/0.png", bytes(1000))
    claimed(path, 2**31)
    with pytest.raises(BadInput, match=r"zeros.zip' of 0.0 MB unpacks to 2.1 GB, at most 1.1 GB are possible"):
        read(path)


def test_one_large_entry_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "zeros.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0.png", bytes(1000))
        for k in range(1, 9):
            archive.writestr(f"{k}.png", png(k))
    claimed(path, 2**29)
    with pytest.raises(BadInput, match=r"1 of 9 pictures cannot be read: 0.png \(has more than 268 MB\)"):
        read(path)


def test_entries_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"a/0.png": png(1), "a/1.png": png(2)})
    content = bytearray(path.read_bytes())
    first, second = (m for m in range(len(content)) if content[m : m + 4] == b"PK\x01\x02")
    content[second + 42 : second + 46] = content[first + 42 : first + 46]  # where the entry begins
    path.write_bytes(content)
    with pytest.raises(BadInput, match="has entries that share bytes, as bombs have"):
        read(path)


def test_what_is_no_zip_is_told_in_one_line(tmp_path: Path) -> None:
    whole = zipped(tmp_path / "x.zip", {"a/0.png": png()}).read_bytes()
    broken = [b"", b"PK\x05\x06", whole[: len(whole) // 2], whole[:-4] + b"\xff" * 4, b"\x1f\x8b" + bytes(100)]
    for n, content in enumerate(broken):
        path = tmp_path / f"{n}.zip"
        path.write_bytes(content)
        with pytest.raises(BadInput, match=r"is not a zip file \(.*\); |holds no pictures") as e:
            read(path)
        assert "\n" not in str(e.value)


def test_an_encrypted_zip_is_told(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"a/0.png": png()})
    content = bytearray(path.read_bytes())
    at = content.find(b"PK\x01\x02")
    content[at + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(BadInput, match="is encrypted; unpack it and give the folder"):
        read(path)


def claimed(path: Path, size: int) -> None:
    """The directory says that the one entry unpacks to so many bytes."""
    content = bytearray(path.read_bytes())
    at = content.find(b"PK\x01\x02")
    content[at + 24 : at + 28] = struct.pack("<I", size)
    path.write_bytes(content)
    with zipfile.ZipFile(path) as archive:
        assert archive.infolist()[0].file_size == size


def test_the_pictures_of_a_zip_are_read_while_it_is_open(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"a/0.png": png(3)})
    with opened_zip(path) as tree:
        assert tree.pictures[0].read() == png(3)
