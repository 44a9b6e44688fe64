"""However a command ends, it is one line and the right exit code, never a traceback."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

import chipfit
from chipfit.api import doctor
from chipfit.cli import app
from chipfit.core.errors import Note

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(chipfit.__file__).parents[1])}


def broken(error: BaseException) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def nested() -> None:
    nested()


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (MemoryError(), 1, "not enough memory; give less data"),
        (RecursionError("maximum recursion depth"), 2, "nested too deeply"),
        (OSError(errno.ENOSPC, "No space left on device", "/home/x"), 1, "/home/x: No space left on device; free some"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "XDG_CACHE_HOME moves the cache, TMPDIR"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "a"), 1, "a: Disk quota exceeded"),
        (OSError(errno.EMFILE, "Too many open files", "a"), 1, "ulimit -n"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "aaa"), 2, "aaa: File name too long; give a shorter name"),
        (PermissionError(errno.EACCES, "Permission denied", "/root"), 2, "/root: Permission denied; give a place"),
        (OSError(errno.EROFS, "Read-only file system", "/r"), 2, "/r: Read-only file system; give a place"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/n"), 2, "/n: No such file"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "/d"), 2, "/d: Is a directory; give a file"),
        (OSError(errno.ELOOP, "Too many levels of symbolic links", "/l"), 2, "links lead to each other"),
        (
            UnicodeEncodeError("ascii", "ß.py", 0, 1, "ordinal"),
            2,
            "encoding (ascii); rename it, or set PYTHONUTF8=1",
        ),
        (OSError(errno.EIO, "Input/output error"), 1, "internal: OSError: [Errno 5] Input/output error"),
        (ValueError("two\nlines " + "x" * 999), 1, "internal: ValueError: two lines xx"),
        (KeyError("k"), 1, "internal: KeyError: 'k'; run it again with -v for the traceback, and report it"),
    ],
)
def test_what_goes_wrong_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, said: str
) -> None:
    monkeypatch.setattr(doctor, "examine", broken(error))
    assert app.main(["doctor"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert said in err
    assert len(err) < 500


def test_a_true_recursion_is_told_too(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "examine", lambda _: nested())
    assert app.main(["doctor"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_note_is_said_and_stops_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def noting(_: str) -> tuple[doctor.Finding, ...]:
        warnings.warn(Note("the cache cannot be written"), stacklevel=1)
        warnings.warn("something of a library", UserWarning, stacklevel=1)
        return ()

    monkeypatch.setattr(doctor, "examine", noting)
    assert app.main(["doctor", "-q"]) == 0
    assert capsys.readouterr().err == "note: the cache cannot be written\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_like_ctrl_c(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    own = signal.signal(number, signal.default_int_handler)  # a shell's background jobs ignore some of them
    try:
        monkeypatch.setattr(doctor, "examine", lambda _: os.kill(os.getpid(), number))
        assert app.main(["doctor", "-q"]) == 130
        assert capsys.readouterr().err == "stopped\n"
        assert signal.getsignal(number) == signal.default_int_handler
    finally:
        signal.signal(number, own)


def test_a_signal_that_is_ignored_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with app.stopping():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("closed", ["stdout", "both"])
def test_a_reader_that_has_enough(closed: str) -> None:
    code = "import sys; from chipfit.cli import main; sys.exit(main(['schema'] * 1))"
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=write, env=ENVIRONMENT, timeout=60,
        stderr=write if closed == "both" else subprocess.PIPE,
    )  # fmt: skip
    os.close(write)
    assert done.returncode == 0
    assert not done.stderr


def test_leftovers_of_killed_commands_are_swept_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "chipfit-99999999-abc").mkdir()
    (tmp_path / "chipfit-99999999-abc" / "train.safetensors").touch()
    assert app.main(["schema"]) == 0
    assert list(tmp_path.iterdir()) == []


def test_no_telemetry_leaves_files_in_the_users_cache(tmp_path: Path) -> None:
    code = "import chipfit, onnxruntime; from chipfit.device.engines.onnxruntime import engine; engine(1)"
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", code], env={**ENVIRONMENT, **home}, check=True, timeout=60)
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize(
    "words",
    [
        ["--inputs", "image=3,32,32", "ids=24:int", "--max", "latency_ms=60%"],
        ["--inputs", "image=3,32,32", "--max", "latency_ms=60%", "--inputs", "ids=24:int"],
        ["--inputs=image=3,32,32", "--inputs=ids=24:int"],
    ],
)
def test_several_inputs_stand_behind_one_word_or_each_behind_its_own(words: list[str]) -> None:
    _, bound, _ = app.build().parse_args(["check", "model.py:build", *words])
    networks = next(value for value in bound.arguments.values() if hasattr(value, "inputs"))
    assert networks.inputs == ("image=3,32,32", "ids=24:int")
