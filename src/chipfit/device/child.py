"""The parent's end of a worker process: starts it, asks it, and ends it when it dies, hangs or talks nonsense."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from chipfit.core.errors import ChipfitError
from chipfit.core.orphans import on_main_thread
from chipfit.device.wire import Blob, Header, receive, send

START_S = 60.0
"""Time a worker has to import its runtime, on a busy machine."""

KEEP, KEEP_BYTES = 64, 1 << 28
"""Sessions (and bytes of model files behind them) that a worker keeps loaded."""


LOOK_S = 0.1
"""How often it is looked at whether a request is late."""


class DeviceFailed(ChipfitError):
    """The runtime refused, crashed on or hung on one artifact. `died` is true where the process ended by itself."""

    def __init__(self, reason: str, died: bool = False) -> None:
        super().__init__(reason)
        self.died = died


Answer = TypeVar("Answer")


def insisted(make: Callable[[], Answer]) -> Answer:
    """What `make` returns; where a worker's process dies on the way, which need not be its file's fault, once more.

    The kernel's memory killer takes the largest process, and a user may end one by hand. `make` has to load what it
    needs: the next process begins with nothing.

    Raises:
        DeviceFailed: twice, or for another reason than that the process died.
    """
    try:
        return make()
    except DeviceFailed as e:
        if not e.died:
            raise
        return make()


class Child:
    """One worker process at a time, started when it is first asked and again after it was lost.

    Args:
        engine: the module of `device.engines` that it serves.
        cores: where it may run; the system's choice where pinning is not possible.
        threads: of one inference.
        real_time: asks for real-time priority while a block is timed.
    """

    def __init__(self, engine: str, cores: Sequence[int], threads: int, real_time: bool = False) -> None:
        self._hello = {
            "engine": engine,
            "cores": list(cores),
            "threads": threads,
            "real_time": real_time,
            "keep": KEEP,
            "keep_bytes": KEEP_BYTES,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._lock = threading.Lock()
        self._watch: _Watch | None = None
        self._end: weakref.finalize[[subprocess.Popen[bytes], int], Child] | None = None
        self.loaded: set[str] = set()
        self.coming: set[str] = set()
        self.about: Header = {}

    @property
    def pid(self) -> int | None:
        """Of the worker, None when there is none."""
        return self._process.pid if self._process else None

    def start(self) -> Header:
        """What the worker says of itself ("version", "clock", "real_time", ...), starting it if there is none.

        Raises:
            DeviceFailed: it does not come up.
        """
        if self._owner != os.getpid():  # a forked copy of the parent must not speak on the parent's pipes
            self._process, self._owner, self._end = None, os.getpid(), None
        if self._process is None:
            root = str(Path(__file__).parents[2])
            path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
            self._process = subprocess.Popen(
                # -P: a user's folder may hold an onnxruntime.py or an openvino.py
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "chipfit.device.worker",
                    str(os.getpid()),
                    str(int(on_main_thread())),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,  # Ctrl-C is the parent's; the worker ends with its stdin
            )
            self._end = weakref.finalize(self, _stop, self._process, self._owner)
            self._watch = _Watch(self._process)
            self.loaded, self.coming = set(), set()
            self.about, _ = self._exchange(self._hello, (), START_S)
        return self.about

    def ask(
        self, header: Header, blobs: Sequence[Blob] = (), timeout_s: float = 60.0
    ) -> tuple[Header, list[bytearray]]:
        """The worker's reply.

        Raises:
            DeviceFailed: an error in one line; after a crash or a hang the process is gone, and the next request
                starts another.
        """
        with self._lock:
            self.start()
            reply, data = self._exchange(header, blobs, timeout_s)
        if "error" in reply:
            raise DeviceFailed(reply["error"])
        self.loaded.difference_update(reply.get("evicted", ()))
        return reply, data

    def _exchange(self, header: Header, blobs: Sequence[Blob], timeout_s: float) -> tuple[Header, list[bytearray]]:
        """Sends and receives one message; kills the worker when that takes longer than `timeout_s`."""
        process, watch = self._process, self._watch
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        assert watch is not None
        watch.due = time.monotonic() + timeout_s
        try:
            send(process.stdin, header, blobs)
            return receive(process.stdout)
        except (EOFError, OSError, ValueError) as e:
            with suppress(subprocess.TimeoutExpired):  # its own exit code, if it has one, says more than our kill
                process.wait(1.0)
            code = process.returncode
            self.close()
            if watch.late:
                raise DeviceFailed(f"no answer within {timeout_s:g} s") from e
            how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
            raise DeviceFailed(f"the runtime's process ended ({how})", died=True) from e
        except BaseException:  # Ctrl-C between request and reply: the pipe is out of step, so the worker goes
            self.close()
            raise
        finally:
            watch.due = math.inf

    def close(self) -> None:
        """Ends the worker; the next request starts another."""
        if self._end is not None:
            self._end()
        self._process, self._end, self.loaded, self.coming = None, None, set(), set()


class _Watch:
    """Kills a process that is late.

    One thread for all of its requests: to start one takes as long as a short request. Killing closes the pipe,
    which ends a blocked read or write on every system; select() would not do so.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.due, self.late = math.inf, False
        threading.Thread(target=self._until_it_ends, args=(process,), daemon=True).start()

    def _until_it_ends(self, process: subprocess.Popen[bytes]) -> None:
        while process.poll() is None:
            if time.monotonic() > self.due:
                self.late = True
                process.kill()
            time.sleep(LOOK_S)


def _stop(process: subprocess.Popen[bytes], owner: int) -> None:
    """Kills, if this is the process that started it: a worker holds nothing that is worth a farewell."""
    if os.getpid() != owner:
        return
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(OSError):  # what was still unsent has nowhere to go
                stream.close()
