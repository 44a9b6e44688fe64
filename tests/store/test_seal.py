"""Whatever is edited in a run's database by hand is told in one line, and a run's folder that goes is noticed."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from chipfit.core.errors import ChipfitError, Damaged
from chipfit.core.types import Candidate, Measurement, Trial
from chipfit.store.store import Store

MS = Measurement("latency_ms", 0.5, "measured", "cpu-1")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with a row of every kind."""
    folder = tmp_path / "run"
    with Store(folder) as store:
        store.set_fact("config", {"seed": 0})
        store.append(Trial(Candidate({"width": 8}), (MS,), None, {"role": "zoo"}))
        store.remember("k", MS)
    return folder


def edit(run: Path, statement: str) -> None:
    """What a user with an editor for sqlite files does."""
    with sqlite3.connect(run / "run.db") as connection:
        connection.execute("DROP TRIGGER IF EXISTS trials_no_update")
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize("value", ["", "{", "null", "NaN", "7", '"text"', "[]", '{"seed": 1}', "x" * 100])
def test_an_edited_fact(run: Path, value: str) -> None:
    edit(run, f"UPDATE facts SET value = '{value}' WHERE key = 'config'")
    for read_only in (True, False):
        with Store(run, read_only=read_only) as store:
            with pytest.raises(Damaged, match=r"run\.db is damaged: facts:config was changed .*; delete its folder"):
                store.fact("config")
            with pytest.raises(Damaged, match="facts:config"):
                store.facts()


@pytest.mark.parametrize("column", ["key", "candidate", "measurements", "labels"])
@pytest.mark.parametrize("value", ["", "{", "null", "NaN", "7", "[]", "{}", '[{"metric": 3}]'])
def test_an_edited_trial(run: Path, column: str, value: str) -> None:
    edit(run, f"UPDATE trials SET {column} = '{value}'")
    with Store(run, read_only=True) as store, pytest.raises(Damaged, match="trials:1 was changed"):
        store.trials()


@pytest.mark.parametrize(
    "value", ["", "null", "{}", '{"metric": "latency_ms", "value": NaN, "provenance": "measured"}']
)
def test_an_edited_measurement(run: Path, value: str) -> None:
    edit(run, f"UPDATE measurements SET value = '{value}'")
    with Store(run) as store, pytest.raises(Damaged, match="measurements:k was changed"):
        store.measurement("k")


def test_rows_of_older_versions_are_read_and_told_where_they_are_no_json(run: Path) -> None:
    edit(run, "DROP TABLE seals")
    with Store(run, read_only=True) as store:
        assert store.fact("config") == {"seed": 0}
        assert len(store.trials()) == 1
    edit(run, "UPDATE facts SET value = '{'")
    with Store(run) as store:
        store.set_fact("new", 1)
        assert store.fact("new") == 1
        with pytest.raises(Damaged, match=r"facts:config cannot be read \(JSONDecodeError\)"):
            store.fact("config")


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_a_folder_that_goes_is_noticed_at_the_next_write(run: Path, how: str) -> None:
    with Store(run) as store:
        shutil.move(run, run.with_name("moved"))
        if how == "replaced":
            shutil.copytree(run.with_name("moved"), run)
        for write in (
            lambda: store.set_fact("phases", []),
            lambda: store.remember("k", MS),
            lambda: store.put_blob(b"x"),
            lambda: store.put_arrays("w", {}),
        ):
            with pytest.raises(ChipfitError, match=r"run\.db was deleted or replaced while this run was going on"):
                write()
        assert run.exists() == (how == "replaced"), "a part of the folder was made again"


def test_a_database_that_was_deleted_can_be_begun_anew_in_its_folder(run: Path) -> None:
    with Store(run) as store:
        store.put_blob(b"x")
        shutil.copy(run / "run.db-wal", run / "kept-wal")
    shutil.move(run / "kept-wal", run / "run.db-wal")
    (run / "run.db").unlink()
    with Store(run) as store:
        assert store.facts() == {}
        assert store.trials() == []


def test_a_damaged_database_says_what_to_do_and_that_works(run: Path) -> None:
    (run / "run.db").write_bytes(b"no database" * 99)
    with pytest.raises(Damaged, match="delete its folder and start the run again, or give another --out"):
        Store(run)
    (run / "run.db").unlink()
    Store(run).close()
