from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from chipfit.core.errors import BadInput
from chipfit.store.arrays import ArrayFolder


def test_what_is_put_is_got(tmp_path: Path) -> None:
    folder = ArrayFolder(tmp_path / "new")
    assert folder.get("a/b") is None
    folder.put("a/b", {"x": np.arange(3), "y": np.zeros((2, 2), np.float32)})
    found = folder.get("a/b")
    assert found is not None
    assert set(found) == {"x", "y"}
    assert (found["x"] == [0, 1, 2]).all()


def test_the_oldest_go_beyond_the_limit(tmp_path: Path) -> None:
    folder = ArrayFolder(tmp_path, most_bytes=3000)
    for n in range(4):
        folder.put(str(n), {"x": np.zeros(250, np.float32)})
        for place in tmp_path.glob(f"{n}.*"):
            os.utime(place, (n, n))
    folder.put("last", {"x": np.zeros(250, np.float32)})
    assert [n for n in ("0", "1", "2", "3", "last") if folder.get(n) is not None] == ["3", "last"]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    folder = ArrayFolder(tmp_path)
    folder.put("a", {"x": np.zeros(3)})
    (tmp_path / "a.safetensors").write_bytes(b"rubbish")
    with pytest.raises(BadInput, match=r"a\.safetensors is damaged"):
        folder.get("a")
