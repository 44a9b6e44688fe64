"""A killed process takes its children with it, and the next one sweeps what it left on the disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chipfit.core import scratch
from chipfit.core.scratch import scratch_folder, sweep_scratch

CHILD = "from chipfit.core.orphans import end_with_parent; end_with_parent({parent}, by_signal={by_signal}); {then}"
BUSY = "print('up', flush=True)\nwhile True: pass"
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, text=True)
child.stdout.readline()
print(child.pid, flush=True)
child.wait()
"""


def gone(pid: int, seconds: float = 20.0) -> bool:
    """True once no such process runs; a zombie that nobody has waited for has ended too."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("by_signal", [True, False])
def test_a_busy_child_ends_with_its_killed_parent(by_signal: bool) -> None:
    code = CHILD.format(parent="__import__('os').getppid()", by_signal=by_signal, then=f"exec({BUSY!r})")
    with subprocess.Popen([sys.executable, "-c", PARENT, code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    assert gone(child)


def test_a_child_whose_parent_died_before_it_looked_ends_at_once() -> None:
    code = CHILD.format(parent=1 << 22, by_signal=True, then="print('still here')")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary directory of this test and of its children."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path


def test_a_scratch_folder_is_gone_at_the_end_and_kept_meanwhile(temporary: Path) -> None:
    with scratch_folder() as folder:
        (folder / "data").write_bytes(b"x")
        assert folder.parent == temporary
        assert sweep_scratch() == []
        assert (folder / "data").is_file()
    assert list(temporary.iterdir()) == []


def test_the_folder_of_a_killed_process_is_swept_and_nothing_else(temporary: Path) -> None:
    code = (
        "from chipfit.core.scratch import scratch_folder\nimport os, signal\n"
        "with scratch_folder() as f:\n (f / 'data').write_bytes(b'x'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], timeout=60)
    assert done.returncode == -signal.SIGKILL
    (left,) = temporary.iterdir()
    strangers = [temporary / n for n in ("chipfit-notes", "chipfit-12x-a", "other-99999999-ab")]
    for folder in strangers:
        folder.mkdir()
    (temporary / "chipfit-99999999-link").symlink_to(strangers[0])
    (temporary / f"chipfit-{os.getpid()}-file").write_text("")
    assert sweep_scratch() == [left]
    assert not left.exists()
    assert sorted(temporary.iterdir()) == sorted(
        [*strangers, temporary / "chipfit-99999999-link", temporary / f"chipfit-{os.getpid()}-file"]
    )


def test_a_number_that_was_given_out_again_does_not_keep_a_folder(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = temporary / f"chipfit-{os.getpid()}-abc"
    left.mkdir()
    (left / ".owner").touch()
    assert sweep_scratch() == [], "a folder that is about to be locked was swept"
    monkeypatch.setattr(scratch, "_LOCKED_BY_THEN_S", -1.0)
    assert sweep_scratch() == [left]


def test_without_a_temporary_directory_nothing_is_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr("tempfile.gettempdir", none)
    assert sweep_scratch() == []
