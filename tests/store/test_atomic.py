"""A file is the old one or the new one."""

import os
from pathlib import Path

import pytest

from chipfit.core.errors import ChipfitError
from chipfit.store.atomic import write_atomically


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    place = tmp_path / "report.html"
    write_atomically(place, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ChipfitError, match=r"could not write .*report.html: No space left on device"):
        write_atomically(place, b"new")
    assert place.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_a_folder_that_is_not_there(tmp_path: Path):
    with pytest.raises(ChipfitError, match="No such file or directory"):
        write_atomically(tmp_path / "none" / "a", b"")
