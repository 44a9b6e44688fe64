"""The user's measurements are worth having and never worth stopping for."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from chipfit.core.errors import ChipfitError, Note
from chipfit.core.types import Measurement
from chipfit.store.memory import MeasurementTable
from chipfit.store.user_memory import UserMemory

MS = Measurement("latency_ms", 0.5, "measured", "cpu-1")


def filled(folder: Path) -> Path:
    place = folder / "measurements.db"
    memory = UserMemory(place)
    memory.put("k", MS)
    memory.close()
    return place


def test_what_is_put_is_got_by_the_next(tmp_path: Path) -> None:
    memory = UserMemory(filled(tmp_path))
    assert memory.get("k") == MS
    assert memory.get("other") is None
    memory.close()


@pytest.mark.parametrize("data", [b"no database" * 99, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_file_is_set_aside(tmp_path: Path, data: bytes) -> None:
    place = tmp_path / "measurements.db"
    place.write_bytes(data)
    with pytest.warns(Note, match=r"measurements\.db is damaged \(.+\); it was set aside as measurements\.db\.damaged"):
        memory = UserMemory(place)
    memory.put("k", MS)
    assert memory.get("k") == MS
    memory.close()
    assert (tmp_path / "measurements.db.damaged").read_bytes() == data


def test_an_edited_value_sets_the_file_aside(tmp_path: Path) -> None:
    place = filled(tmp_path)
    with sqlite3.connect(place) as connection:
        connection.execute("UPDATE measurements SET value = '{}'")
    connection.close()
    memory = UserMemory(place)
    with pytest.warns(Note, match="measurements:k was changed"):
        assert memory.get("k") is None
    memory.put("k", MS)
    assert memory.get("k") == MS
    memory.close()


def test_a_place_that_cannot_be_used_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.warns(Note, match="not remembered beyond this command: .*XDG_CACHE_HOME"):
        memory = UserMemory(tmp_path / "cache" / "measurements.db")
    memory.put("k", MS)
    assert memory.get("k") == MS
    memory.close()


def test_a_disk_that_fills_up_is_noted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = UserMemory(filled(tmp_path))

    def full(self: MeasurementTable, key: str, measurement: Measurement) -> None:
        raise ChipfitError("measurements.db cannot be used: database or disk is full")

    monkeypatch.setattr(MeasurementTable, "put", full)
    with pytest.warns(Note, match="disk is full"):
        memory.put("new", MS)
    memory.put("newer", MS)  # a second note would be an error here
    assert (memory.get("new"), memory.get("newer")) == (MS, MS)
    memory.close()
