"""Folders of strangers: links, pipes, devices, names; each real file is read once, and nothing else is opened."""

from __future__ import annotations

import os
import socket
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from chipfit.core.errors import BadInput
from chipfit.data import limits
from chipfit.data.folder import read_folder
from chipfit.data.pictures import load
from data.files import png, two_classes


def names(root: Path) -> list[str]:
    return [f.name for f in read_folder(root).pictures]


def notes(root: Path) -> str:
    return "\n".join(read_folder(root).notes)


def test_links_that_loop_give_each_picture_once(tmp_path: Path) -> None:
    root = two_classes(tmp_path / "set")
    plain = names(root)
    (root / "a" / "up").symlink_to("..")
    (root / "a" / "again").symlink_to(root / "b")
    (root / "a" / "self").symlink_to("self")
    (root / "b" / "9.png").symlink_to("0.png")
    assert names(root) == plain
    assert "3 links to what is read under another name passed over, 'a/again' first" in notes(root)
    assert "1 names that lead nowhere passed over, 'a/self' first" in notes(root)


def test_links_out_of_the_folder_are_followed_once(tmp_path: Path) -> None:
    root = two_classes(tmp_path / "set")
    elsewhere = tmp_path / "elsewhere"
    two_classes(elsewhere, 2)
    (root / "c").symlink_to(elsewhere / "a")
    (root / "d").symlink_to(elsewhere / "a")
    (root / "a" / "one.png").symlink_to(elsewhere / "b" / "1.png")
    assert [n for n in names(root) if n[0] in "cd" or "one" in n] == ["a/one.png", "c/0.png", "c/1.png"]


def test_a_second_name_of_a_file_is_passed_over(tmp_path: Path) -> None:
    root = two_classes(tmp_path / "set")
    os.link(root / "a" / "0.png", root / "b" / "same.png")
    assert len(names(root)) == 8
    assert "1 second names of a file passed over" in notes(root)


def test_pipes_sockets_and_devices_are_never_opened(tmp_path: Path) -> None:
    root = two_classes(tmp_path / "set")
    plain = names(root)
    os.mkfifo(root / "a" / "pipe.png")
    os.mkfifo(root / "a" / "pipe")
    (root / "a" / "zero.png").symlink_to("/dev/zero")
    (root / "b" / "gone.png").symlink_to(tmp_path / "gone")
    with socket.socket(socket.AF_UNIX) as s:
        here = os.getcwd()
        os.chdir(root / "b")  # a socket's path may have 108 bytes
        try:
            s.bind("s.png")
        finally:
            os.chdir(here)
        assert names(root) == plain
    assert "4 pipes, sockets or devices passed over" in notes(root)
    assert "1 names that lead nowhere passed over, 'b/gone.png' first" in notes(root)


def test_what_is_no_picture_is_counted_by_its_suffix(tmp_path: Path) -> None:
    root = two_classes(tmp_path / "set")
    for name in ("x.txt", "y.TXT", "z.heic", "README", "Thumbs.db", ".DS_Store"):
        (root / "a" / name).write_bytes(b"nothing")
    (root / "__MACOSX").mkdir()
    (root / "__MACOSX" / "._0.png").write_bytes(b"nothing")
    (root / ".git").mkdir()
    assert len(names(root)) == 8
    assert "4 files that are no pictures passed over: 2 .txt, 1 .heic, 1 without a suffix" in notes(root)
    assert "4 hidden files or folders passed over" in notes(root)


@pytest.mark.parametrize("name", ["x.PNG", "x.Jpeg", "x.jfif", "x.JPE", "x", "x.tiff"])
def test_pictures_are_known_by_any_of_their_suffixes_and_without_one_by_their_beginning(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_bytes(png())
    assert names(tmp_path) == [name]


def test_one_name_in_two_forms_is_one_class(tmp_path: Path) -> None:
    for k, form in enumerate(("NFC", "NFD")):
        for c in ("é", "ü"):
            folder = tmp_path / unicodedata.normalize(form, c)
            folder.mkdir()
            for i in range(3):
                (folder / f"{form}{i}.png").write_bytes(png(10 * k + i + ord(c)))
    d = load(tmp_path, resize=None, normalize=None)
    assert d.classes == ("é", "ü")
    assert len(d.train) + len(d.validation) + len(d.open_test()) == 12


@pytest.mark.parametrize(("name", "said"), [(b"caf\xe9", r"caf\\xe9"), (b"two\nlines", r"two\\nlines")])
def test_a_class_without_a_name_for_the_report_is_told_when_it_is_loaded(
    tmp_path: Path, name: bytes, said: str
) -> None:
    two_classes(tmp_path / "set")
    os.rename(os.fsencode(tmp_path / "set" / "a"), os.fsencode(tmp_path / "set") + b"/" + name)
    with pytest.raises(BadInput, match=f"class folder '{said}' is not UTF-8, or holds control characters") as e:
        load(tmp_path / "set", resize=None, normalize=None)
    assert "\n" not in str(e.value)


def test_a_file_whose_name_is_no_text_is_read_all_the_same(tmp_path: Path) -> None:
    root = two_classes(tmp_path / "set")
    Path(os.fsdecode(os.fsencode(root / "a") + b"/\xff.png")).write_bytes(png(9))
    assert "a/\\xff.png" in names(root)
    d = load(root, resize=None, normalize=None)
    str((d.name, d.notes)).encode("utf-8")


@pytest.fixture
def bottom(tmp_path: Path) -> Iterator[Path]:
    """A class folder with a picture 1,200 folders below it: taken down again, since pytest's own sweep is recursive."""
    two_classes(tmp_path / "set")
    here, depth = os.getcwd(), 1200
    os.chdir(tmp_path / "set" / "a")
    for _ in range(depth):
        os.mkdir("d")
        os.chdir("d")
    Path("x.png").write_bytes(png(7))
    lowest = os.open(".", os.O_RDONLY)
    os.chdir(here)
    yield tmp_path / "set"
    os.fchdir(lowest)
    os.close(lowest)
    os.unlink("x.png")
    for _ in range(depth):
        os.chdir("..")
        os.rmdir("d")
    os.chdir(here)


def test_folders_may_be_deeper_than_recursion(bottom: Path) -> None:
    assert len(read_folder(bottom).pictures) in (8, 9)  # as deep as the system lets a path be


def test_more_files_than_a_data_set_may_have_end_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FILES", 5)
    with pytest.raises(BadInput, match="holds more than 5 files and folders; give a smaller folder"):
        read_folder(two_classes(tmp_path))


def test_a_picture_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = two_classes(tmp_path / "set")

    def refused(path: str) -> bytes:
        if path.endswith("b/2.png"):
            raise PermissionError(13, "Permission denied")
        return Path(path).read_bytes()

    monkeypatch.setattr("chipfit.data.folder._read", refused)
    with pytest.raises(BadInput, match=r"1 of 8 pictures cannot be read: b/2.png \(\[Errno 13\] Permission denied\)"):
        load(root, resize=None, normalize=None)


def test_what_may_not_be_read_is_counted_or_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, listed = two_classes(tmp_path / "set"), os.scandir

    def refused(at: str | Path) -> object:
        if str(at).endswith("/b"):
            raise PermissionError(13, "Permission denied")
        return listed(at)

    monkeypatch.setattr(os, "scandir", refused)
    assert "1 folders that cannot be opened passed over, 'b' first" in notes(root)
    with pytest.raises(BadInput, match=r"cannot be opened \(Permission denied\); give a folder that you may read"):
        read_folder(root / "b")
