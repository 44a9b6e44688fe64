"""The user's library of operator programs: what was found once is where the next search begins.

A program is named by the hash of its canonical form, so that it is there once, however it was written; with it stands
where and on which device it was good. The library is worth having and never worth stopping for: a file that is damaged
is set aside with a note, and where it cannot be written, nothing is kept.
"""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from chipfit.core.errors import BadInput, ChipfitError, Damaged
from chipfit.store.damaged import MOVED_BY, note, set_aside
from chipfit.store.database import connect
from chipfit.store.seal import Rows

FILE = "programs.db"
"""The library's name in the folder of the user's memory."""

_SCHEMA = ("CREATE TABLE uses (name TEXT PRIMARY KEY, value TEXT NOT NULL, at REAL NOT NULL) WITHOUT ROWID",)
_REMEDY = "delete it; programs will be found again"
_COMPANIONS = ("-wal", "-shm")
_LEAST_LETTERS = 4


@dataclass(frozen=True, slots=True)
class Use:
    """Where a program was good.

    Attributes:
        program: hash of its canonical form.
        text: that form.
        place: the replaced layer in words: its kind, kernel, stride, shapes and bits.
        device: fingerprint of the device.
        on: the device in words.
        speedup: time of the layer / time of the program, measured there.
        damage: what it cost alone, after repair, in nats a row.
    """

    program: str
    text: str
    place: str
    device: str
    on: str
    speedup: float
    damage: float

    @property
    def name(self) -> str:
        """What a later use takes the place of: the same program at such a place on the same device."""
        return f"{self.program}|{self.device}|{self.place}"


@dataclass(frozen=True, slots=True)
class Known:
    """A program of the library with its uses, the fastest first."""

    program: str
    text: str
    uses: tuple[Use, ...]


class ProgramLibrary:
    """The programs of one file, as far as it can be used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._rows: Rows | None = None
        self._open()

    def keep(self, use: Use) -> None:
        """Keeps a use; a later one of the same program, place and device takes its place.

        Raises:
            BadInput: a speed-up or damage that is no number, or no speed-up above 0.
        """
        if not (math.isfinite(use.speedup) and use.speedup > 0 and math.isfinite(use.damage)):
            raise BadInput(f"program {use.text!r} has speed-up {use.speedup} and damage {use.damage}; measure both")
        if self._rows is None:
            return
        row = (use.name, json.dumps(asdict(use), sort_keys=True), time.time())
        statement = "INSERT OR REPLACE INTO uses (name, value, at) VALUES (?, ?, ?)"
        try:
            self._rows.write("uses", statement, row, use.name)
        except ChipfitError as e:
            self._fail(e)

    def programs(self, device: str | None = None) -> tuple[Known, ...]:
        """All programs, those of most uses first; with `device`, those that were good there, and their uses there."""
        found: dict[str, list[Use]] = {}
        for use in self._uses():
            if device in (None, use.device):
                found.setdefault(use.program, []).append(use)
        made = (_known(uses) for uses in found.values())
        return tuple(sorted(made, key=lambda known: (-len(known.uses), known.text)))

    def find(self, name: str) -> Known:
        """The program whose hash begins so.

        Raises:
            BadInput: none does, or several.
        """
        if len(name) < _LEAST_LETTERS:
            raise BadInput(f"program {name!r} is too short to tell; give {_LEAST_LETTERS} letters or more of its hash")
        found = [known for known in self.programs() if known.program.startswith(name)]
        if not found:
            raise BadInput(f"no program {name!r} in {self._path}; see chipfit programs list")
        if len(found) > 1:
            raise BadInput(f"{len(found)} programs begin with {name!r}; give more letters")
        return found[0]

    def close(self) -> None:
        """Closes the file."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._rows = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _open(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = connect(self._path, _SCHEMA, remedy=_REMEDY)
            self._rows = Rows(self._connection, self._path, _REMEDY)
        except (ChipfitError, OSError) as e:
            self._fail(e)

    def _uses(self) -> Iterable[Use]:
        if self._rows is None:
            return ()
        try:
            rows = self._rows.read("SELECT name, value FROM uses ORDER BY at, name")
            return [self._use(name, text) for name, text in rows]
        except ChipfitError as e:
            self._fail(e)
            return ()

    def _use(self, name: str, text: str) -> Use:
        if self._rows is None:
            raise AssertionError("rows are read before the file is closed")
        return self._rows.checked(f"uses:{name}", (name, text), lambda: Use(**json.loads(text)))

    def _fail(self, error: Exception) -> None:
        """Does without the file, which is set aside where it is damaged."""
        self.close()
        if isinstance(error, Damaged):
            why = str(error).partition(" is damaged")[2].partition("; ")[0].strip(" :()")
            set_aside(self._path, why or "it cannot be read", _COMPANIONS, "programs are found again")
            return
        note(f"programs are not kept: {error}; {MOVED_BY}")


def _known(uses: list[Use]) -> Known:
    fastest = sorted(uses, key=lambda use: (-use.speedup, use.name))
    return Known(fastest[0].program, fastest[0].text, tuple(fastest))
