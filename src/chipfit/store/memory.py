"""Measurements that are kept: what was timed once on a device is not timed again under the same protocol."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path
from typing import Protocol, Self

from chipfit.core.errors import BadInput
from chipfit.core.types import Measurement
from chipfit.store.database import MEASUREMENTS, connect
from chipfit.store.plain import dumps, measurement_from_plain, measurement_to_plain
from chipfit.store.seal import Rows


def measurement_key(what: str, fingerprint: str, protocol: str) -> str:
    """The key of a measurement: what was measured (`Graph.key`, a file's digest), on which device (fingerprint), how.

    The protocol names whatever changes the number: metric, fidelity, threads.
    """
    return f"{what}|{fingerprint}|{protocol}"


class MeasurementMemory(Protocol):
    """Remembers measurements by key. A `MeasurementTable` is one; so is a dict with two functions in a test."""

    def get(self, key: str) -> Measurement | None:
        """What was remembered under the key, or None."""
        ...

    def put(self, key: str, measurement: Measurement) -> None:
        """Remembers a measurement; a later one under the same key takes its place."""
        ...


class MeasurementTable:
    """The measurements of one sqlite file: of a run (through `Store.memory`) or of a user (`open`).

    Several processes may share a file; each row is written at once.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, rows: Rows | None = None) -> None:
        self._connection = connection
        self._rows = rows or Rows(connection, path)

    @classmethod
    def open(cls, path: str | Path, remedy: str = "delete it; what it remembers will be measured again") -> Self:
        """The measurements in a file of their own, made if it is not there.

        Raises:
            BadInput: the file is damaged or not ours, or its folder cannot be made.
        """
        place = Path(path)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise BadInput(
                f"folder {place.parent} for measurements cannot be made: {e.strerror}; give another one"
            ) from e
        connection = connect(place, (MEASUREMENTS,), remedy=remedy)
        return cls(connection, place, Rows(connection, place, remedy))

    def get(self, key: str) -> Measurement | None:
        """What was remembered under the key, or None."""
        found = self._rows.read("SELECT value FROM measurements WHERE key = ?", (key,))
        if not found:
            return None
        (text,) = found[0]
        return self._rows.checked(f"measurements:{key}", (key, text), lambda: measurement_from_plain(json.loads(text)))

    def put(self, key: str, measurement: Measurement) -> None:
        """Remembers a measurement; a later one under the same key takes its place."""
        row = (key, dumps(measurement_to_plain(measurement)), time.time())
        statement = "INSERT OR REPLACE INTO measurements (key, value, at) VALUES (?, ?, ?)"
        self._rows.write("measurements", statement, row, key)

    def close(self) -> None:
        """Closes the file. Only for tables that were opened on their own."""
        self._connection.close()


class LayeredMemory:
    """A near memory (the run's) before a far one (the user's).

    What only the far one knows is copied, so that a run directory holds every number that it rests on.
    """

    def __init__(self, near: MeasurementMemory, far: MeasurementMemory) -> None:
        self._near = near
        self._far = far

    def get(self, key: str) -> Measurement | None:
        """What the near or else the far memory has, or None."""
        found = self._near.get(key)
        if found is None and (found := self._far.get(key)) is not None:
            self._near.put(key, found)
        return found

    def put(self, key: str, measurement: Measurement) -> None:
        """Remembers in both."""
        self._near.put(key, measurement)
        self._far.put(key, measurement)
