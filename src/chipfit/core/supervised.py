"""Code of the user's own runs supervised: it ends in what it returns, or in one line that names the place.

* What it prints goes to stderr, up to `MOST_PRINTED` characters a call; stdout is for results.
* What it raises, `sys.exit` and `os._exit` among it, becomes a `BadInput` with the file and the line. Ctrl-C passes.
* It gets `seconds_allowed()` for each call (building, one batch of a loader, one forward). Python that hangs is then
  interrupted, again and again where it catches what interrupts it, and at last the process ends with exit code 2 (not
  in an interactive session, where Ctrl-C is at hand). What cannot be stopped is native code that neither returns nor
  releases Python's global lock.
* What it changes of the process (`process_state`) is put back. A process that it forks ends where it ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TextIO, TypeVar

from chipfit.core.errors import BadInput, ChipfitError
from chipfit.core.process_state import as_it_was

T = TypeVar("T")

VARIABLE = "CHIPFIT_USER_CODE_SECONDS"
"""Environment variable that raises (or lowers) the limit."""

SECONDS = 60.0
"""Time that one call of user code may take where the variable says nothing."""

MOST_PRINTED = 10_000_000
"""Characters that one call may print before it is stopped."""

AGAIN_S = 3.0
"""Seconds after which code that went on in spite of an interrupt is interrupted again."""

MOST_INTERRUPTS = 4
"""Interrupts after which the process is ended instead."""

PIP = {
    "PIL": "pillow", "cv2": "opencv-python-headless", "sklearn": "scikit-learn", "skimage": "scikit-image",
    "yaml": "pyyaml", "torchvision": "torchvision", "torchaudio": "torchaudio", "timm": "timm",
    "transformers": "transformers", "einops": "einops", "pandas": "pandas", "matplotlib": "matplotlib",
    "tqdm": "tqdm", "lightning": "lightning", "pytorch_lightning": "pytorch-lightning", "datasets": "datasets",
    "albumentations": "albumentations", "h5py": "h5py", "librosa": "librosa", "soundfile": "soundfile",
    "scipy": "scipy", "fvcore": "fvcore", "monai": "monai", "kornia": "kornia",
}  # fmt: skip
"""Packages by the name they are imported under; for others no line is proposed, since anybody may own that name."""


class _Stopped(BaseException):
    """Raised inside user code to stop it; no `except Exception` catches it."""


class _Exited(BaseException):
    """Raised in the place of `os._exit`."""


def seconds_allowed() -> float:
    """Seconds that one call of user code may take.

    Raises:
        BadInput: the environment variable holds no positive number.
    """
    text = os.environ.get(VARIABLE, "")
    try:
        seconds = float(text) if text else SECONDS
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= 1e6:
        raise BadInput(f"{VARIABLE}={text!r} is no number of seconds above zero; give one like {SECONDS:.0f}")
    return seconds


@contextmanager
def supervised(what: str, folder: Path | None = None, *, times: float = 1.0, all_theirs: bool = True) -> Iterator[None]:
    """Runs what is inside as code of the user's own.

    Args:
        what: names it in errors, such as "my_model.py:build".
        folder: where the user's files are, to find the line; without it, whatever file is in no package.
        times: the limit is so many times `seconds_allowed()`, where much more than one call is made inside.
        all_theirs: every error is the user's. Otherwise only those on whose way a file of the user's was are; others
            are mistakes of ours, and propagate.

    Raises:
        BadInput: it raised, exited, printed without end, or took too long.
    """
    seconds = times * seconds_allowed()
    try:
        with as_it_was(), _printing_to_stderr(), _without_exit(), _within(seconds, what), _ending_forks(folder):
            yield
    except (KeyboardInterrupt, ChipfitError):
        raise
    except _Stopped as e:
        raise BadInput(f"{what} {e}{_at(e, folder)}; {_way_out(str(e), seconds)}") from None
    except BaseException as e:
        if isinstance(e, GeneratorExit) and not _line(e, folder):
            raise  # this very generator is closed
        if not all_theirs and isinstance(e, Exception) and not _line(e, folder):
            raise
        raise BadInput(f"{what} raised {told(e, folder)}") from e


def supervised_items(what: str, items: Iterable[T], folder: Path | None = None) -> Iterator[T]:
    """The items of a user's iterable, each fetched under supervision.

    Raises:
        BadInput: see `supervised`.
    """
    with supervised(what, folder):
        iterator = iter(items)
    end = object()
    while True:
        with supervised(what, folder):
            item = next(iterator, end)
        if item is end:
            return
        yield item  # type: ignore[misc]


def told(e: BaseException, folder: Path | None = None) -> str:
    """An error in one line: its kind, its text, and the last line of the user's files that was on its way."""
    kind = "os._exit" if isinstance(e, _Exited) else type(e).__name__
    try:
        message = " ".join(str(e.msg if isinstance(e, SyntaxError) else e).split())[:300]
    except Exception:  # an error of the user's own may fail at that, too
        message = ""
    missing = e.name.partition(".")[0] if isinstance(e, ModuleNotFoundError) and e.name else ""
    pip = f"; install it: pip install {PIP[missing]}" if missing in PIP else ""
    return f"{kind}: {message}{_at(e, folder)}{pip}" if message else f"{kind}{_at(e, folder)}"


def _at(e: BaseException, folder: Path | None) -> str:
    line = _line(e, folder)
    return f" ({line})" if line else ""


def _line(e: BaseException, folder: Path | None) -> str:
    """Such as "my_model.py, line 7"; nothing where no file of the user's was on the way."""
    if isinstance(e, SyntaxError) and e.filename and e.lineno and _is_users(e.filename, folder):
        return f"{Path(e.filename).name}, line {e.lineno}"
    frames = [(f.f_code.co_filename, n) for f, n in traceback.walk_tb(e.__traceback__)]
    lines = [f"{Path(file).name}, line {n}" for file, n in frames if _is_users(file, folder)]
    return lines[-1] if lines else ""


_OWN = Path(__file__).resolve().parents[1]


def _is_users(file: str, folder: Path | None) -> bool:
    path = Path(file)
    if "site-packages" in path.parts or path.is_relative_to(_OWN) or not path.suffix:
        return False
    return path.is_relative_to(folder) if folder is not None else not path.is_relative_to(Path(os.__file__).parent)


def _way_out(reason: str, seconds: float) -> str:
    if "printed" in reason:
        return "print less"
    return f"make it quicker, or allow more seconds: {VARIABLE}={10 * seconds:.0f}"


class _Printed:
    """Stderr for user code, which is stopped when it has printed too much; all else is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._left: float = MOST_PRINTED

    def write(self, text: str) -> int:
        """Passes the text on."""
        self._left -= len(text)
        if self._left < 0:
            raise _Stopped(f"printed more than {MOST_PRINTED // 1_000_000} million characters and was stopped")
        return self._stream.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Passes the lines on."""
        for line in lines:
            self.write(line)

    def close(self) -> None:
        """Does nothing: the stream is not user code's to close."""

    def unlimited(self) -> None:
        """What is printed later, by threads that go on or at exit, is no longer counted."""
        self._left = float("inf")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def _printing_to_stderr() -> Iterator[None]:
    """Python's stdout and stderr are both stderr, counted. The command line sees to descriptors (`cli.stdout`)."""
    before = sys.stdout, sys.stderr
    if sys.stderr is None:  # a process without a console
        yield
        return
    counted = _Printed(sys.stderr)
    sys.stdout = sys.stderr = counted
    try:
        yield
    finally:
        counted.unlimited()
        sys.stdout, sys.stderr = before


@contextmanager
def _without_exit() -> Iterator[None]:
    """`os._exit` raises in this process; in others that user code forks it does what it does."""
    exit_at_once, here = os._exit, os.getpid()

    def raising(status: int) -> NoReturn:
        if os.getpid() != here:
            exit_at_once(status)
        raise _Exited(str(status))

    os._exit = raising
    try:
        yield
    finally:
        os._exit = exit_at_once


@contextmanager
def _ending_forks(folder: Path | None) -> Iterator[None]:
    """A process that user code forks ends where that code ends, whichever way: it must not go on as a second one of us.

    Its exit code is what Python would have made of it; an error is said.
    """
    here = os.getpid()
    try:
        yield
    except BaseException as e:
        if os.getpid() != here:
            _end_fork(e, folder)
        raise
    if os.getpid() != here:
        _exit_at_once(0)


def _end_fork(e: BaseException, folder: Path | None) -> None:
    if isinstance(e, SystemExit) and (e.code is None or isinstance(e.code, int)):
        _exit_at_once(e.code or 0)
    with contextlib.suppress(OSError):
        os.write(2, f"a forked process raised {told(e, folder)}\n".encode(errors="replace"))
    _exit_at_once(1)


@contextmanager
def _within(seconds: float, what: str) -> Iterator[None]:
    """Interrupts what is inside after so many seconds."""
    if hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread():
        with _alarm(seconds, what):
            yield
        return
    ident = threading.get_ident()
    timer = threading.Timer(seconds, _interrupt, (ident,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _late(seconds: float) -> str:
    return f"took more than {seconds:g} s and was stopped"


def _interrupt(ident: int) -> None:
    """Raises in another thread as soon as it computes in Python again."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(_StoppedInThread))


class _StoppedInThread(_Stopped):
    def __str__(self) -> str:
        return _late(seconds_allowed())


@contextmanager
def _alarm(seconds: float, what: str) -> Iterator[None]:
    """A timer whose signal raises in the main thread; around it a thread that ends what not even that can stop."""
    hits = [0]

    def stop(number: int, frame: object) -> None:
        hits[0] += 1
        if hits[0] > MOST_INTERRUPTS:
            _end(f"{what} {_late(seconds)}: it catches every interrupt")
        raise _Stopped(_late(seconds))

    last = threading.Timer(seconds + (MOST_INTERRUPTS + 2) * AGAIN_S, _end, (f"{what} {_late(seconds)}",))
    last.daemon = True
    handler = signal.signal(signal.SIGALRM, stop)
    began, (left, again) = time.monotonic(), signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_S)
    last.start()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        last.cancel()
        signal.signal(signal.SIGALRM, signal.SIG_DFL if handler is None else handler)
        if left:  # a supervisor around this one, whose time goes on
            signal.setitimer(signal.ITIMER_REAL, max(0.01, left - (time.monotonic() - began)), again)


def _end(line: str) -> None:
    """Ends the process with a line, where nobody is there to press Ctrl-C."""
    if hasattr(sys, "ps1") or "IPython" in sys.modules:
        return
    with contextlib.suppress(OSError):
        os.write(2, f"error: {line}\n".encode(errors="replace"))
    _exit_at_once(2)


_exit_at_once = os._exit
