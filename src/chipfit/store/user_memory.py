"""The user's own measurements, across runs: worth having, and never worth stopping for.

A file that is damaged is set aside; where the place cannot be written, or the disk is full, what is measured is
remembered until this process ends. Either is noted once.
"""

from __future__ import annotations

from pathlib import Path

from chipfit.core.errors import ChipfitError, Damaged
from chipfit.core.types import Measurement
from chipfit.store.damaged import MOVED_BY, note, set_aside
from chipfit.store.memory import MeasurementTable

_COMPANIONS = ("-wal", "-shm")


class UserMemory:
    """Measurements by key in a file of the user's, as far as that can be used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._unwritten: dict[str, Measurement] = {}
        self._table: MeasurementTable | None = None
        self._open()

    def get(self, key: str) -> Measurement | None:
        """What was remembered under the key, or None."""
        if key in self._unwritten or self._table is None:
            return self._unwritten.get(key)
        try:
            return self._table.get(key)
        except Damaged as e:
            self._start_anew(e)
        except ChipfitError as e:
            self._do_without(e)
        return None

    def put(self, key: str, measurement: Measurement) -> None:
        """Remembers a measurement; a later one under the same key takes its place."""
        if self._table is not None:
            try:
                self._table.put(key, measurement)
                return
            except Damaged as e:
                self._start_anew(e)
            except ChipfitError as e:
                self._do_without(e)
        self._unwritten[key] = measurement

    def close(self) -> None:
        """Closes the file."""
        if self._table is not None:
            self._table.close()
            self._table = None

    def _open(self) -> None:
        try:
            self._table = MeasurementTable.open(self._path)
        except Damaged as e:
            self._start_anew(e)
        except ChipfitError as e:
            self._do_without(e)

    def _start_anew(self, error: Damaged) -> None:
        """Sets a damaged file aside and opens another; where that is damaged at once, does without."""
        self.close()
        set_aside(self._path, _reason(error), _COMPANIONS)
        try:
            self._table = MeasurementTable.open(self._path)
        except ChipfitError as e:
            self._do_without(e)

    def _do_without(self, error: ChipfitError) -> None:
        self.close()
        note(f"measurements are not remembered beyond this command: {error}; {MOVED_BY}")


def _reason(error: Damaged) -> str:
    """Why, without the file's name and the remedy: "FILE is damaged (why); remedy"."""
    text = str(error).partition(" is damaged")[2].partition("; ")[0]
    return text.strip(" :()") or "it cannot be read"
