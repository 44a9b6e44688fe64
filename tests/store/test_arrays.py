from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from chipfit.core.errors import BadInput, Note
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


def test_a_flipped_bit_in_a_value_is_found(tmp_path: Path) -> None:
    folder = ArrayFolder(tmp_path)
    folder.put("a", {"x": np.zeros(3)})
    data = bytearray((tmp_path / "a.safetensors").read_bytes())
    data[-3] ^= 1
    (tmp_path / "a.safetensors").write_bytes(data)
    with pytest.raises(BadInput, match="its values are not those that were written"):
        folder.get("a")


def test_files_of_older_versions_are_taken_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(safetensors.numpy.save({"x": np.ones(2)}))
    found = ArrayFolder(tmp_path).get("a")
    assert found is not None
    assert found["x"].tolist() == [1, 1]


@pytest.mark.parametrize("data", [b"", b"rubbish", b"\xff" * 100])
def test_a_cache_sets_what_is_damaged_aside(tmp_path: Path, data: bytes) -> None:
    folder = ArrayFolder(tmp_path, forgiving=True)
    (tmp_path / "a.safetensors").write_bytes(data)
    with pytest.warns(Note, match=r"a\.safetensors is damaged .* set aside"):
        assert folder.get("a") is None
    assert (tmp_path / "a.safetensors.damaged").read_bytes() == data


def test_a_cache_that_cannot_be_written_is_noted(tmp_path: Path) -> None:
    (tmp_path / "profiles").write_text("a file")
    with pytest.warns(Note, match="not kept beyond this command: .*XDG_CACHE_HOME"):
        ArrayFolder(tmp_path / "profiles", forgiving=True).put("a", {"x": np.zeros(3)})
    with pytest.raises(OSError, match="File exists"):
        ArrayFolder(tmp_path / "profiles").put("a", {"x": np.zeros(3)})
