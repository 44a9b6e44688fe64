"""Who remembers: one run in one directory, safe against kill -9 at any moment.

    run.db      sqlite: trials and test reads (append-only), measurements by key, facts by key
    blobs/      files by the hash of their content
    arrays/     named sets of arrays (weights, statistics), safetensors: nothing in them is ever executed
    run.lock    held by the one process that writes

Everything the report shows is read from here and from nowhere else.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import sqlite3
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from chipfit.core.errors import BadInput, Damaged
from chipfit.core.types import Measurement, Plain, Trial
from chipfit.store.arrays import ArrayFolder, Arrays
from chipfit.store.atomic import sweep, write_atomically
from chipfit.store.database import RUN, connect
from chipfit.store.lock import LOCK_NAME, lock, unlock
from chipfit.store.memory import MeasurementTable
from chipfit.store.plain import differences, dumps, trial_from_texts, trial_to_texts
from chipfit.store.seal import Rows

DATABASE_NAME = "run.db"
_LOGS = (f"{DATABASE_NAME}-wal", f"{DATABASE_NAME}-shm")
OURS = frozenset({
    LOCK_NAME, *_LOGS, "blobs", "arrays", "best", "export", "config.yaml",
    "report.html", "candidates.csv", "front.json", "model_card.md",
})  # fmt: skip
"""What a run leaves in its directory beside its database: where that was deleted the others do not stop a new run."""


class Store:
    """A run directory, opened: made if it is new or empty, locked against other writers.

    With `read_only` an existing run is read without the lock, also while another process writes it.

    >>> import tempfile
    >>> from chipfit.core.types import Candidate
    >>> with Store(tempfile.mkdtemp()) as store:
    ...     store.append(Trial(Candidate({"width": 8}), labels={"role": "candidate"}))
    ...     [t.candidate.values["width"] for t in store.trials(role="candidate")]
    [8]
    """

    def __init__(self, path: str | Path, *, read_only: bool = False) -> None:
        """Opens a run.

        Raises:
            BadInput: not a run directory, damaged, in use by a live process, or it cannot be made or written.
        """
        self.path = Path(path)
        self.read_only = read_only
        self._lock: int | None = None
        self._check_directory()
        if not read_only:
            self._lock = lock(self.path)
            if not self._file.exists():
                for name in _LOGS:  # of a database that was deleted: sqlite would play it back into the new one
                    (self.path / name).unlink(missing_ok=True)
        try:
            self._connection: sqlite3.Connection = connect(self._file, RUN, read_only=read_only)
        except BaseException:
            self._release()
            raise
        self._rows = Rows(self._connection, self._file)
        self.memory = MeasurementTable(self._connection, self._file, self._rows)
        self._arrays = ArrayFolder(self.path / "arrays")
        if not read_only:
            for folder in (self.path, self._folder("blobs"), self._folder("arrays")):
                sweep(folder)

    @classmethod
    def open_or_create(
        cls, path: str | Path, config: Mapping[str, Plain], idle: Callable[[Store], bool] = lambda _: False
    ) -> Store:
        """The run of this configuration: a new one, or one to go on with; `finished` tells whether it has ended.

        Args:
            path: of the directory.
            config: of the run.
            idle: True for a run of another configuration that holds nothing worth keeping, which this one replaces.

        Raises:
            BadInput: the directory holds a run of another configuration (names the first key that differs), or any
                reason for which `Store` cannot open it.
        """
        store = cls(path)
        try:
            if differences(store.fact("config") or config, config) and idle(store):
                store.begin_anew(config)
            stored = store.fact("config")
            if stored is None:
                store.set_fact("config", config)
            elif differs := differences(stored, config):
                key, was, now = differs[0]
                raise BadInput(
                    f"run {path} was started with {key}={was}, now {key}={now};"
                    " give another --out, or the same options to go on"
                )
        except BaseException:
            store.close()
            raise
        return store

    def begin_anew(self, config: Mapping[str, Plain]) -> None:
        """Makes an empty run of this configuration of it: rows, files and arrays go, the lock stays."""
        self._connection.close()
        for name in (DATABASE_NAME, *(OURS - {LOCK_NAME})):
            place = self.path / name
            shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
        self._connection = connect(self._file, RUN)
        self._rows = Rows(self._connection, self._file)
        self.memory = MeasurementTable(self._connection, self._file, self._rows)
        self.set_fact("config", config)

    def _check_directory(self) -> None:
        if self._file.is_file():
            return
        if self.read_only or (self.path.exists() and not self.path.is_dir()):
            raise BadInput(f"{self.path} is not a run directory (it has no {DATABASE_NAME}); give the --out of a run")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            strangers = sorted(p.name for p in self.path.iterdir() if p.name not in OURS and not p.name.startswith("."))
        except OSError as e:
            raise BadInput(
                f"run directory {self.path} cannot be made: {e.strerror}; give another one with --out"
            ) from e
        if strangers:
            raise BadInput(
                f"{self.path} is not a run directory: it holds {strangers[0]!r} and no {DATABASE_NAME};"
                " give a new or empty one with --out"
            )

    @property
    def _file(self) -> Path:
        return self.path / DATABASE_NAME

    def _folder(self, name: str) -> Path:
        folder = self.path / name
        folder.mkdir(exist_ok=True)
        return folder

    # Trials

    def append(self, trial: Trial) -> None:
        """Adds a row for good: once this returns, kill -9 does not lose it."""
        row = (trial.candidate.key, *trial_to_texts(trial), time.time())
        statement = "INSERT INTO trials (key, candidate, measurements, error, labels, at) VALUES (?, ?, ?, ?, ?, ?)"
        self._rows.write("trials", statement, row)

    def trials(self, **labels: str) -> list[Trial]:
        """Trials in the order of their appending; with labels, those that carry all of them."""
        where = "".join(" AND json_extract(labels, '$.' || json_quote(?)) = ?" for _ in labels)
        values = tuple(v for pair in labels.items() for v in pair)
        columns = "id, key, candidate, measurements, error, labels"
        rows = self._rows.read(f"SELECT {columns} FROM trials WHERE 1{where} ORDER BY id", values)
        return [
            self._rows.checked(f"trials:{n}", (key, *texts), partial(trial_from_texts, *texts))
            for n, key, *texts in rows
        ]

    # Measurements

    def measurement(self, key: str) -> Measurement | None:
        """What was remembered under a key (see `memory.measurement_key`), or None."""
        return self.memory.get(key)

    def remember(self, key: str, measurement: Measurement) -> None:
        """Remembers a measurement; a later one under the same key takes its place."""
        self.memory.put(key, measurement)

    # Facts

    def fact(self, key: str) -> Plain | None:
        """What is known under a key, or None. Tuples have become lists."""
        rows = self._rows.read("SELECT value FROM facts WHERE key = ?", (key,))
        return self._fact(key, rows[0][0]) if rows else None

    def facts(self) -> dict[str, Plain]:
        """All facts by key."""
        rows = self._rows.read("SELECT key, value FROM facts ORDER BY key")
        return {key: self._fact(key, text) for key, text in rows}

    def _fact(self, key: str, text: str) -> Plain:
        known: Plain = self._rows.checked(f"facts:{key}", (key, text), partial(json.loads, text))
        return known

    def set_fact(self, key: str, value: Plain) -> None:
        """Puts a fact in the place of what was under the key."""
        statement = "INSERT OR REPLACE INTO facts (key, value, at) VALUES (?, ?, ?)"
        self._rows.write("facts", statement, (key, dumps(value), time.time()), key)

    @property
    def finished(self) -> bool:
        """True once `finish` was called: there is a result to print and nothing to go on with."""
        return self.fact("finished") is True

    def finish(self) -> None:
        """Marks the run as ended."""
        self.set_fact("finished", True)

    def record_test_read(self, why: str) -> None:
        """Leaves a row for one opening of the test split. Call it before the split is opened."""
        self._rows.write("test_reads", "INSERT INTO test_reads (why, at) VALUES (?, ?)", (why, time.time()))

    def test_reads(self) -> list[tuple[float, str]]:
        """(seconds since 1970, why) of each opening of the test split."""
        return [(at, why) for at, why in self._rows.read("SELECT at, why FROM test_reads ORDER BY id")]

    # Files

    def put_blob(self, data: bytes) -> str:
        """Keeps bytes; returns their digest (sha256, 16 hex digits, as `Artifact.digest`)."""
        self._rows.check_there()
        digest = hashlib.sha256(data).hexdigest()[:16]
        place = self._folder("blobs") / digest
        if not (place.is_file() and place.read_bytes() == data):
            write_atomically(place, data)
        return digest

    def blob(self, digest: str) -> bytes:
        """The bytes of a digest.

        Raises:
            Damaged: the file is gone or is no longer what it was.
        """
        place = self.path / "blobs" / digest
        again = f"chipfit resume {shlex.quote(str(self.path))} makes it again"
        if not place.is_file():
            raise Damaged(f"run {self.path} has no blob {digest}; {again}")
        data = place.read_bytes()
        if hashlib.sha256(data).hexdigest()[:16] != digest:
            raise Damaged(f"blob {place} is damaged; {again}")
        return data

    def put_arrays(self, name: str, arrays: Arrays) -> None:
        """Keeps a set of arrays in the place of what was under the name; a reader meets the old or the new set."""
        self._rows.check_there()
        self._arrays.put(name, arrays)

    def arrays(self, name: str) -> dict[str, NDArray[Any]] | None:
        """The set of arrays under a name, or None.

        Raises:
            BadInput: the file is damaged.
        """
        return self._arrays.get(name)

    # Closing

    def close(self) -> None:
        """Closes the files and frees the lock; a second call does nothing."""
        self._connection.close()
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            unlock(self._lock)
            self._lock = None

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
