"""Rows in memory and rows in a file are the same rows; what is too much is told before the machine is full."""

from __future__ import annotations

import errno
import io
import mmap
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from chipfit.core import data as core
from chipfit.core.data import Split, in_file
from chipfit.core.errors import BadInput
from chipfit.data import gather, limits
from chipfit.data.gather import check_bytes, gathered, taken, walked, write_rows
from chipfit.data.load import load_data
from chipfit.data.stored import read_part, write_part
from data.files import two_classes

ROWS = np.random.default_rng(0).integers(0, 256, (50, 3, 4, 4), np.uint8)


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Everything above 500 bytes goes to a file."""
    monkeypatch.setattr(limits, "IN_MEMORY", 500)
    monkeypatch.setattr(limits, "BATCH_BYTES", 200)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "rows"))


@pytest.mark.parametrize("rows", [ROWS, ROWS.astype(np.float32) / 7])
@pytest.mark.usefixtures("small_memory")
def test_rows_in_a_file_are_the_rows_that_came(rows: core.Inputs, tmp_path: Path) -> None:
    kept = gathered(rows[k : k + 7] for k in range(0, 50, 7))
    assert in_file(kept) is not None
    assert kept.dtype == rows.dtype
    np.testing.assert_array_equal(kept, rows)
    assert list((tmp_path / "rows").iterdir()) == []  # nothing is left, however the process ends
    few = gathered(rows[k : k + 1] for k in range(2))
    assert in_file(few) is None


@pytest.mark.usefixtures("small_memory")
def test_parts_of_rows_in_a_file_are_as_those_in_memory() -> None:
    targets = np.arange(50)
    here, there = Split(ROWS, targets), Split(gathered([ROWS]), targets)
    chosen = np.array([3, 44, 44, 0, *range(10, 40)])
    for rows in (chosen, slice(5, 20), slice(0, 50, 3)):
        np.testing.assert_array_equal(there.take(rows).inputs, here.take(rows).inputs)
    assert in_file(there.take(chosen).inputs) is None
    many = taken(there, chosen)
    assert in_file(many.inputs) is not None
    np.testing.assert_array_equal(many.inputs, ROWS[chosen])
    np.testing.assert_array_equal(many.targets, targets[chosen])
    np.testing.assert_array_equal(np.concatenate(list(walked(there.inputs))), ROWS)


@pytest.mark.usefixtures("small_memory")
def test_pages_are_given_back_and_read_again() -> None:
    kept = gathered([ROWS])
    for _ in range(2):
        core.release(kept)
        np.testing.assert_array_equal(kept, ROWS)
    assert isinstance(in_file(kept[3:5].reshape(-1)), mmap.mmap)
    core.release(ROWS)


def test_a_data_set_in_a_file_is_the_one_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = two_classes(tmp_path / "set", 20)
    here = load_data(root)
    monkeypatch.setattr(limits, "IN_MEMORY", 500)
    there = load_data(root)
    assert in_file(here.train.inputs) is None
    assert in_file(there.train.inputs) is not None
    assert there.digest() == here.digest()
    assert there.notes == here.notes
    for a, b in ((here.train, there.train), (here.validation, there.validation), (here.open_test(), there.open_test())):
        np.testing.assert_array_equal(a.inputs, b.inputs)
        np.testing.assert_array_equal(a.targets, b.targets)
        np.testing.assert_array_equal(here.normalise(a.inputs), there.normalise(b.inputs))
    np.testing.assert_array_equal(here.calibration(9).inputs, there.calibration(9).inputs)


def test_a_part_is_walked_in_pieces_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    split = Split(ROWS, np.arange(50))
    assert [len(p) for p in split.pieces()] == [50]
    monkeypatch.setattr(core, "PIECE_BYTES", 4 * 3 * 4 * 4 * 20)
    assert [len(p) for p in split.pieces()] == [20, 20, 10]
    np.testing.assert_array_equal(np.concatenate([p.inputs for p in split.pieces()]), ROWS)


@pytest.mark.parametrize("large", [False, True])
def test_a_part_crosses_to_other_processes_by_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    if large:
        monkeypatch.setattr(limits, "IN_MEMORY", 500)
    for targets in (None, np.arange(50)):
        folder = tmp_path / str(targets is None)
        folder.mkdir()
        write_part(folder, Split(ROWS, targets))
        back = read_part(folder)
        assert (in_file(back.inputs) is not None) == large
        np.testing.assert_array_equal(back.inputs, ROWS)
        assert (back.targets is None) == (targets is None)


@pytest.mark.usefixtures("small_memory")
def test_more_than_a_set_may_have_is_told_while_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SET_BYTES", 1500)
    with pytest.raises(BadInput, match=r"the first 35 inputs of one part take more than 0.0 GB"):
        gathered(ROWS[k : k + 7] for k in range(0, 50, 7))


def test_a_resize_that_no_memory_holds_is_told_with_its_size() -> None:
    said = (
        "digits: 1297 inputs of 1x4096x4096 take 21.8 GB decoded, at most 16 GB are possible; give a smaller --resize"
    )
    with pytest.raises(BadInput, match=said):
        load_data("digits", resize=(4096, 4096))


@pytest.mark.usefixtures("small_memory")
def test_a_disk_without_room_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gather, "_free", lambda folder: 1000)
    with pytest.raises(BadInput, match=r"set TMPDIR to a folder on a larger one, or give less"):
        check_bytes(50, (3, 4, 4), "pictures", "give less")
    with pytest.raises(BadInput, match=r"set TMPDIR to one on a larger disk; give fewer inputs"):
        gathered([ROWS])


def test_a_disk_that_fills_up_is_told() -> None:
    class Full(io.BytesIO):
        def write(self, content: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(BadInput, match=r"the disk of '/x' is full \(No space left on device\)"):
        write_rows(Full(), ROWS, Path("/x"))


def test_a_folder_that_takes_no_file_is_not_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(limits, "IN_MEMORY", 500)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "file" / "below"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    np.testing.assert_array_equal(gathered([ROWS]), ROWS)


def test_a_walk_over_pictures_takes_the_memory_of_a_piece(tmp_path: Path) -> None:
    code = """
import resource, sys
from pathlib import Path
from PIL import Image
from chipfit.core import data as core
from chipfit.data import limits
from chipfit.data.load import load_data
root = Path(sys.argv[1])
for c in "ab":
    (root / c).mkdir(parents=True)
    for k in range(100):
        Image.new("L", (8, 8), k + ord(c)).save(root / c / f"{k}.png")
limits.IN_MEMORY, limits.BATCH_BYTES, core.PIECE_BYTES = 2**24, 2**22, 2**24
load_data(root)  # what is imported on the way stays
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
d = load_data(root, resize=(1024, 1024))
rows = sum(len(d.normalise(p.inputs)) for p in d.train.pieces())
d.calibration(4), d.digest()
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
sys.exit(f"{rows} rows, {grown} KB" if rows != 160 or grown > 100 << 10 else 0)
"""
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path / "set")], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr  # 200 MB of uint8, 800 MB of float32
