"""The sqlite file of a run: its tables, how it is opened, and its errors said to a user.

Write-ahead logging with `synchronous = NORMAL`: a commit is in the kernel's hands when it returns, so kill -9 loses
nothing that was appended, and a power cut at most the last rows, never the file. One insert costs about 0.1 ms.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chipfit.core.errors import BadInput, ChipfitError, Damaged

_APPLICATION = 0x63666974  # "cfit": tells our file from any other sqlite file
_VERSION = 1

MEASUREMENTS = "CREATE TABLE measurements (key TEXT PRIMARY KEY, value TEXT NOT NULL, at REAL NOT NULL) WITHOUT ROWID"
RUN = (
    "CREATE TABLE trials (id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, candidate TEXT NOT NULL,"
    " measurements TEXT NOT NULL, error TEXT, labels TEXT NOT NULL, at REAL NOT NULL)",
    "CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL, at REAL NOT NULL) WITHOUT ROWID",
    "CREATE TABLE test_reads (id INTEGER PRIMARY KEY AUTOINCREMENT, why TEXT NOT NULL, at REAL NOT NULL)",
    *(
        f"CREATE TRIGGER {table}_no_{verb} BEFORE {verb} ON {table}"
        f" BEGIN SELECT RAISE(ABORT, '{table} are append-only'); END"
        for table in ("trials", "test_reads")
        for verb in ("update", "delete")
    ),
    MEASUREMENTS,
)


SEALS = "CREATE TABLE IF NOT EXISTS seals (name TEXT PRIMARY KEY, digest TEXT NOT NULL) WITHOUT ROWID"
START_ANEW = "delete its folder and start the run again, or give another --out"


@contextmanager
def speaking(path: Path, remedy: str = START_ANEW) -> Iterator[None]:
    """Turns sqlite's complaints about the file into one line for the user; programming errors pass.

    Raises:
        Damaged: the file is damaged or no database; `remedy` says what to do.
        ChipfitError: the disk is full, cannot be written, or another process keeps the file busy.
    """
    try:
        yield
    except (sqlite3.ProgrammingError, sqlite3.IntegrityError):
        raise
    except sqlite3.OperationalError as e:
        raise ChipfitError(
            f"{path} cannot be used: {e}; see that the disk has room and that nobody else writes there"
        ) from e
    except sqlite3.DatabaseError as e:
        raise Damaged(f"{path} is damaged ({e}); {remedy}") from e


def connect(
    path: Path, schema: tuple[str, ...], *, read_only: bool = False, remedy: str = START_ANEW
) -> sqlite3.Connection:
    """An open database with these tables, made where the file is new or empty (a crash at birth leaves it so).

    Raises:
        Damaged: damaged; `remedy` says what to do.
        BadInput: not ours, or of a later version.
    """
    with speaking(path, remedy):
        connection = _connection(path, read_only)
        try:
            _check(connection, path, schema, read_only, remedy)
        except BaseException:
            connection.close()
            raise
    return connection


def _connection(path: Path, read_only: bool) -> sqlite3.Connection:
    if not read_only:
        return sqlite3.connect(path, timeout=30.0, isolation_level=None)
    # A reader of a write-ahead file still wants to make files beside it. Where it may not (a mounted archive) and no
    # log is there, nobody writes, and the file can be declared immutable.
    archived = not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists()
    mode = "immutable=1" if archived else "mode=ro"
    return sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, timeout=30.0, isolation_level=None)


def _check(connection: sqlite3.Connection, path: Path, schema: tuple[str, ...], read_only: bool, remedy: str) -> None:
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise Damaged(f"{path} is damaged ({' '.join(str(found).split())}); {remedy}")
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if application != _APPLICATION and not (empty and not read_only):
        raise BadInput(f"{path} was not written by chipfit; give a run directory, or a new one with --out")
    if version > _VERSION:
        raise BadInput(f"{path} has format {version}, this chipfit reads up to {_VERSION}; update chipfit")
    if not read_only:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        if empty:
            _create(connection, schema)
        connection.execute(SEALS)  # also in files of older versions, whose rows stay without


def _create(connection: sqlite3.Connection, schema: tuple[str, ...]) -> None:
    # Another process may be creating the shared measurements at this moment: take the write lock, then look again.
    connection.execute("BEGIN IMMEDIATE")
    try:
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
            for statement in (*schema, f"PRAGMA application_id = {_APPLICATION}", f"PRAGMA user_version = {_VERSION}"):
                connection.execute(statement)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
