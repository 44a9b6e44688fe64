"""Rows that are known again: what was edited by hand or eaten by the disk is told, not read as if it were a result.

Each row has a digest of its text in a table of its own, written in the same transaction. A value that was edited would
else surface far away (a budget that is text, a latency that is NaN) as a mistake of ours. Rows without a digest, as
older versions wrote them, are taken as they are.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from chipfit.core.errors import ChipfitError, Damaged
from chipfit.store.database import START_ANEW, speaking

Value = TypeVar("Value")


class Rows:
    """The rows of one sqlite file, sealed as they are written and checked as they are read.

    Args:
        connection: the open file.
        path: of the file, for messages and to notice that it is gone.
        remedy: what to do where it is damaged.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, remedy: str = START_ANEW) -> None:
        self._connection, self._path, self._remedy = connection, path, remedy
        self._file = os.stat(path).st_ino
        with speaking(path, remedy):
            found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'seals'").fetchone()
        self._sealed = found is not None

    def write(self, table: str, statement: str, values: Sequence[Any], key: str | None = None) -> None:
        """Executes an insertion and seals its row; `key` names the row, which is else called by its number.

        Raises:
            ChipfitError: the file was deleted meanwhile, or cannot be written.
        """
        self.check_there()
        with speaking(self._path, self._remedy):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                number = self._connection.execute(statement, values).lastrowid
                name = f"{table}:{number if key is None else key}"
                row = (name, _digest(values[:-1]))  # all but the moment, which stands last
                self._connection.execute("INSERT OR REPLACE INTO seals (name, digest) VALUES (?, ?)", row)
            except BaseException:
                if self._connection.in_transaction:  # a full disk has rolled back already
                    self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def read(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query, as they are."""
        with speaking(self._path, self._remedy):
            return self._connection.execute(statement, values).fetchall()

    def checked(self, name: str, row: Sequence[Any], made: Callable[[], Value]) -> Value:
        """What is `made` of a row with this name, once it is known to be the row that was written.

        Raises:
            Damaged: it is another, or no text that chipfit could have written.
        """
        if self._sealed:
            seal = self.read("SELECT digest FROM seals WHERE name = ?", (name,))
            if seal and seal[0][0] != _digest(row):
                raise self._damaged(f"{name} was changed after it was written")
        try:
            return made()
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as e:
            raise self._damaged(f"{name} cannot be read ({type(e).__name__})") from e

    def check_there(self) -> None:
        """Raises ChipfitError where the file was deleted or replaced: what is written now would be lost at the end."""
        try:
            there = os.stat(self._path).st_ino == self._file
        except OSError:
            there = False
        if not there:
            raise ChipfitError(
                f"{self._path} was deleted or replaced while this run was going on; start it again, and leave its "
                "folder alone meanwhile"
            )

    def _damaged(self, what: str) -> Damaged:
        return Damaged(f"{self._path} is damaged: {what}; {self._remedy}")


def _digest(values: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(list(values)).encode()).hexdigest()[:24]
