"""A run directory: what goes in comes out, what is not a run is said in one line, and nothing is ever overwritten."""

import hashlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from chipfit.core.errors import BadInput, ChipfitError
from chipfit.core.types import Candidate, Measurement, Plain, Trial
from chipfit.store.store import Store


def a_trial(width: int = 8, **labels: str) -> Trial:
    measured = Measurement("latency_ms", 0.42, "measured", "cpu-1", "canary-v1", 0.003, 30, {"p90": 0.5})
    return Trial(Candidate({"width": width}), (measured,), None, labels)


@pytest.fixture
def store(tmp_path: Path):
    with Store(tmp_path / "run") as opened:
        yield opened


def reopened(store: Store) -> Store:
    store.close()
    return Store(store.path)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
text = st.text(alphabet=st.characters(exclude_categories=("Cs",)))
measurements = st.builds(
    Measurement,
    metric=text,
    value=st.floats(allow_nan=False),
    provenance=st.sampled_from(("measured", "simulated", "predicted", "counted")),
    where=text,
    protocol=text,
    spread=st.floats(0, 10),
    n=st.integers(1, 10**6),
    details=st.dictionaries(text, st.floats(allow_nan=False), max_size=3),
)
trials = st.builds(
    Trial,
    candidate=st.builds(Candidate, st.dictionaries(text, plain, max_size=4)),
    measurements=st.lists(measurements, max_size=3).map(tuple),
    error=st.none() | text,
    labels=st.dictionaries(text, text, max_size=3),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(trial=trials)
def test_any_trial_comes_back_as_it_went_in(store: Store, trial: Trial):
    store.append(trial)
    back = store.trials()[-1]
    assert back == trial
    assert back.candidate.key == trial.candidate.key


def test_trials_come_back_in_order_and_by_label_after_reopening(store: Store):
    store.append(a_trial(1, role="zoo", model="a"))
    store.append(a_trial(2, role="candidate", model="a"))
    store.append(a_trial(3, role="candidate", model="b"))
    with reopened(store) as again:
        assert [t.candidate.values["width"] for t in again.trials()] == [1, 2, 3]
        assert [t.candidate.values["width"] for t in again.trials(role="candidate")] == [2, 3]
        assert [t.candidate.values["width"] for t in again.trials(role="candidate", model="b")] == [3]
        assert again.trials(role="final") == []
        assert again.trials(flavour="zoo") == []


def test_numpy_numbers_become_plain_and_other_objects_are_refused(store: Store):
    store.append(Trial(Candidate({}), (Measurement("latency_ms", float(np.float32(0.5)), "measured", n=np.int64(3)),)))  # type: ignore[arg-type]
    assert store.trials()[0].measurements[0].n == 3
    store.set_fact("accuracy", np.float32(0.25))  # type: ignore[arg-type]
    assert store.fact("accuracy") == 0.25
    with pytest.raises(TypeError, match=r"Path .* is not plain data"):
        store.set_fact("file", Path("x"))  # type: ignore[arg-type]


def test_rows_of_trials_and_test_reads_can_be_neither_changed_nor_removed(store: Store):
    store.append(a_trial())
    store.record_test_read("report")
    for statement in ("UPDATE trials SET error = 'x'", "DELETE FROM trials", "DELETE FROM test_reads"):
        with pytest.raises(sqlite3.IntegrityError, match="are append-only"):
            store._connection.execute(statement)
    assert len(store.trials()) == len(store.test_reads()) == 1


def test_facts_are_replaced_and_listed(store: Store):
    assert store.fact("seed") is None
    store.set_fact("seed", 1)
    store.set_fact("seed", 2)
    store.set_fact("phases", [["price", 1.5]])
    assert store.facts() == {"seed": 2, "phases": [["price", 1.5]]}


def test_each_opening_of_the_test_split_leaves_a_row(store: Store):
    store.record_test_read("report")
    store.record_test_read("report, again")
    assert [why for _, why in store.test_reads()] == ["report", "report, again"]
    assert store.test_reads()[0][0] <= store.test_reads()[1][0]


def test_blobs_are_kept_once_under_the_hash_of_their_content(store: Store):
    digest = store.put_blob(b"onnx")
    assert digest == store.put_blob(b"onnx") == hashlib.sha256(b"onnx").hexdigest()[:16]
    assert [p.name for p in (store.path / "blobs").iterdir()] == [digest]
    assert store.blob(digest) == b"onnx"
    (store.path / "blobs" / digest).write_bytes(b"onn")
    with pytest.raises(BadInput, match="is damaged"):
        store.blob(digest)
    store.put_blob(b"onnx")
    assert store.blob(digest) == b"onnx"
    with pytest.raises(BadInput, match="has no blob 0123"):
        store.blob("0123")


arrays = st.dictionaries(
    st.text(st.characters(categories=("L", "Nd"), include_characters="._/")).filter(lambda n: n != "__metadata__"),
    hnp.arrays(
        st.sampled_from((np.float32, np.float64, np.int64, np.uint8, np.bool_)),
        hnp.array_shapes(min_dims=0, max_dims=3),
    ),
    max_size=3,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(made=arrays)
def test_arrays_come_back_with_their_bits_shapes_and_types(store: Store, made: dict[str, np.ndarray]):
    turned = {k: a.T for k, a in made.items()}  # not contiguous: a naive writer mixes the axes up
    store.put_arrays("weights/of resnet20", turned)
    back = store.arrays("weights/of resnet20")
    assert back is not None
    assert back.keys() == turned.keys()
    for name, array in turned.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)
    assert len(list((store.path / "arrays").iterdir())) == 1


def test_arrays_that_are_missing_or_damaged(store: Store):
    assert store.arrays("weights") is None
    store.put_arrays("weights", {"a": np.ones(3, np.float32)})
    next((store.path / "arrays").iterdir()).write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}}}}}}}")
    with pytest.raises(BadInput, match=r"weights\.safetensors is damaged"):
        store.arrays("weights")


def test_what_killed_writers_left_is_swept_away(store: Store):
    store.put_blob(b"x")
    left = store.path / "blobs" / ".abc.1234.part"
    left.write_bytes(b"half")
    with reopened(store):
        assert not left.exists()


def test_a_config_goes_on_until_it_differs(tmp_path: Path):
    config: dict[str, Plain] = {"models": ("a", "b"), "max": {"latency_ms": 5.0}, "seed": 0}
    with Store.open_or_create(tmp_path / "run", config) as store:
        assert not store.finished
        store.append(a_trial())
    with Store.open_or_create(tmp_path / "run", dict(reversed(config.items()))) as store:
        assert len(store.trials()) == 1
        store.finish()
    with Store.open_or_create(tmp_path / "run", config) as store:
        assert store.finished
    with pytest.raises(BadInput) as said:
        Store.open_or_create(tmp_path / "run", config | {"max": {"latency_ms": 3.0}, "seed": 1})
    assert str(said.value) == (
        f"run {tmp_path / 'run'} was started with max.latency_ms=5.0, now max.latency_ms=3.0;"
        " give another --out, or the same options to go on"
    )
    with pytest.raises(BadInput, match="started with time=absent, now time="):
        Store.open_or_create(tmp_path / "run", config | {"time": "10m"})
    Store(tmp_path / "run").close()  # the refused openings left no lock behind


def test_a_config_fact_that_is_no_mapping_is_another_config(tmp_path: Path):
    with Store(tmp_path) as store:
        store.set_fact("config", "old")
    with pytest.raises(BadInput, match='started with config="old", now config=absent'):
        Store.open_or_create(tmp_path, {"seed": 0})


def test_a_second_opening_names_the_process_that_has_the_run(store: Store):
    with pytest.raises(BadInput, match=f"in use by process {os.getpid()}; wait for it to end"):
        Store(store.path)
    store.close()
    store.close()
    Store(store.path).close()


def test_the_lock_of_a_process_that_is_gone_is_taken_over(store: Store):
    (store.path / "run.lock").write_text("999999999")
    with reopened(store) as again:
        assert (again.path / "run.lock").read_text() == str(os.getpid())


def test_closing_frees_the_lock_though_a_forked_child_lives(store: Store):
    ready, go = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go)
        os.read(ready, 1)  # lives until the parent has opened the run a second time
        os._exit(0)
    os.close(ready)
    try:
        reopened(store).close()
    finally:
        os.close(go)
        os.waitpid(child, 0)


def test_a_reader_needs_no_lock_and_cannot_write(store: Store):
    store.append(a_trial())
    with Store(store.path, read_only=True) as reader:
        store.append(a_trial(9))
        assert len(reader.trials()) == 2
        with pytest.raises(ChipfitError, match="readonly"):
            reader.append(a_trial())
    store.append(a_trial(10))


def test_a_reader_of_an_archive_that_cannot_be_written(store: Store, monkeypatch: pytest.MonkeyPatch):
    store.append(a_trial())
    store.close()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with Store(store.path, read_only=True) as reader:
        assert len(reader.trials()) == 1
        assert sorted(p.name for p in store.path.iterdir() if p.name.startswith("run.db")) == ["run.db"]


def test_directories_that_are_no_run(tmp_path: Path):
    with pytest.raises(BadInput, match=r"is not a run directory \(it has no run.db\)"):
        Store(tmp_path / "none", read_only=True)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_bytes(b"")
    with pytest.raises(BadInput, match=r"holds 'cat.png' and no run.db"):
        Store(tmp_path / "photos")
    with pytest.raises(BadInput, match="is not a run directory"):
        Store(tmp_path / "photos" / "cat.png")
    with pytest.raises(BadInput, match="cannot be made"):
        Store(tmp_path / "photos" / "cat.png" / "run")


def test_a_run_that_was_killed_at_birth_is_made_anew(tmp_path: Path):
    for leftovers in (["run.lock"], ["run.lock", "run.db"]):
        for name in leftovers:
            (tmp_path / name).touch()
        with Store(tmp_path) as store:
            store.append(a_trial())
        (tmp_path / "run.db").unlink()
        (tmp_path / "blobs").rmdir()
        (tmp_path / "arrays").rmdir()


def test_files_that_are_no_database_damaged_or_somebody_elses(tmp_path: Path):
    (tmp_path / "run.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(BadInput, match=r"run.db is damaged \(file is not a database\)"):
        Store(tmp_path)
    (tmp_path / "run.db").unlink()
    other = sqlite3.connect(tmp_path / "run.db")
    other.execute("CREATE TABLE studies (id)")
    other.close()
    with pytest.raises(BadInput, match="was not written by chipfit"):
        Store(tmp_path)


def test_a_damaged_page_is_found_at_opening(store: Store):
    for n in range(200):
        store.append(a_trial(n))
    store.close()
    file = store.path / "run.db"
    data = bytearray(file.read_bytes())
    data[4096 : 4096 * 12] = os.urandom(4096 * 11)
    file.write_bytes(data)
    with pytest.raises(BadInput, match=r"run\.db is damaged"):
        Store(store.path)


def test_a_later_format_is_refused(store: Store):
    store._connection.execute("PRAGMA user_version = 99")
    with pytest.raises(BadInput, match="has format 99, this chipfit reads up to 1; update chipfit"):
        reopened(store)


def test_a_full_disk_is_said_in_one_line_and_keeps_what_was_there(store: Store):
    store.append(a_trial())
    store._connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(ChipfitError, match="disk is full"):
        store.set_fact("big", "x" * 10**6)
    with reopened(store) as again:
        assert again.trials()[0] == a_trial()


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("chipfit.store.lock.os.open", refuse)
    with pytest.raises(BadInput, match="cannot be written: Permission denied"):
        Store(tmp_path / "run")


def test_use_after_closing_is_a_programming_error(store: Store):
    store.close()
    with pytest.raises(sqlite3.ProgrammingError):
        store.trials()


def test_the_store_imports_no_heavy_library():
    code = (
        "import sys, chipfit.store.store, chipfit.run; print([m for m in ('torch', 'onnxruntime') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
