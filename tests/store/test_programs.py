"""The library of programs is worth having and never worth stopping for."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from chipfit.core.errors import BadInput, Note
from chipfit.store.programs import FILE, Known, ProgramLibrary, Use

USE = Use("aaaa1111", "pwconv(x, M)", "conv 3x3 16x9x9 -> 16x9x9, float32", "cpu-1", "onnxruntime", 2.5, 0.01)
OTHER = replace(USE, program="aaaa2222", text="dwconv(x, KxK); pwconv(_, M)", speedup=4.0)


def filled(folder: Path, *uses: Use) -> Path:
    place = folder / FILE
    with ProgramLibrary(place) as library:
        for use in uses:
            library.keep(use)
    return place


def test_what_is_kept_is_there_for_the_next(tmp_path: Path) -> None:
    with ProgramLibrary(filled(tmp_path, USE, OTHER)) as library:
        assert library.programs() == (Known("aaaa2222", OTHER.text, (OTHER,)), Known("aaaa1111", USE.text, (USE,)))
        assert library.find("aaaa1").uses == (USE,)


def test_a_later_use_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    later, elsewhere = replace(USE, speedup=3.0), replace(USE, device="cpu-2", speedup=1.5)
    with ProgramLibrary(filled(tmp_path, USE, OTHER, later, elsewhere)) as library:
        first, second = library.programs()
        assert first.uses == (later, elsewhere)  # the fastest first, the program of most uses first
        assert second.uses == (OTHER,)
        assert library.programs("cpu-2") == (Known("aaaa1111", USE.text, (elsewhere,)),)
        assert library.programs("cpu-3") == ()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("aaa", "too short to tell; give 4 letters"),
        ("aaaa", "2 programs begin with 'aaaa'"),
        ("bbbb", "no program 'bbbb'"),
    ],
)
def test_a_name_that_is_no_one_program_is_said(tmp_path: Path, name: str, said: str) -> None:
    with ProgramLibrary(filled(tmp_path, USE, OTHER)) as library, pytest.raises(BadInput, match=said):
        library.find(name)


@pytest.mark.parametrize("wrong", [{"speedup": 0.0}, {"speedup": float("nan")}, {"damage": float("inf")}])
def test_what_was_not_measured_is_not_kept(tmp_path: Path, wrong: dict[str, float]) -> None:
    with ProgramLibrary(tmp_path / FILE) as library, pytest.raises(BadInput, match="measure both"):
        library.keep(replace(USE, **wrong))  # type: ignore[arg-type]


def test_a_damaged_file_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database" * 99)
    with pytest.warns(Note, match=r"programs\.db is damaged \(.+\); it was set aside .* programs are found again"):
        library = ProgramLibrary(tmp_path / FILE)
    library.keep(USE)
    assert library.programs() == ()
    assert (tmp_path / f"{FILE}.damaged").exists()
    library.close()


def test_an_edited_row_sets_the_file_aside(tmp_path: Path) -> None:
    place = filled(tmp_path, USE)
    with sqlite3.connect(place) as connection:
        connection.execute("UPDATE uses SET value = replace(value, '2.5', '9.5')")
    connection.close()
    library = ProgramLibrary(place)
    with pytest.warns(Note, match=r"was changed after it was written.*programs are found again"):
        assert library.programs() == ()


def test_a_place_that_cannot_be_used_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.warns(Note, match="programs are not kept: .*XDG_CACHE_HOME"):
        library = ProgramLibrary(tmp_path / "cache" / FILE)
    library.keep(USE)
    assert library.programs() == ()
