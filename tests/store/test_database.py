"""A database is made whole or not at all."""

from pathlib import Path

import pytest

from chipfit.core.errors import ChipfitError
from chipfit.store.database import MEASUREMENTS, connect


def test_a_making_that_fails_halfway_leaves_an_empty_file_that_can_be_made_again(tmp_path: Path):
    place = tmp_path / "m.db"
    with pytest.raises(ChipfitError, match="cannot be used: near"):
        connect(place, (MEASUREMENTS, "CREATE nonsense"))
    with_tables = connect(place, (MEASUREMENTS,))
    assert with_tables.execute("SELECT name FROM sqlite_master").fetchall() == [("measurements",), ("seals",)]
    with_tables.close()
