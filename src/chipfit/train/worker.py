"""A training process: it reads tasks from its standard input, trains, and answers on its standard output.

It watches its parent from its first moment, before anything heavy is imported: once its input has ended or its parent
is another, there is nobody to train for, and it goes. Time is handed over as seconds that are left, counted from when a
task comes in: neither its own start nor a clock that is set changes what it has.
"""

from __future__ import annotations

import os
import pickle
import struct
import sys
import threading
import time
import traceback
from queue import SimpleQueue
from typing import IO, Any

from chipfit.core.orphans import end_with_parent

_HEAD = struct.Struct("<Q")


def send(to: IO[bytes], message: Any) -> None:
    """Writes one message, which only the two ends of this pipe exchange."""
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    to.write(_HEAD.pack(len(data)))
    to.write(data)
    to.flush()


def receive(source: IO[bytes]) -> bytes:
    """The next message, still packed.

    Raises:
        EOFError: the other end is gone.
    """
    (size,) = _HEAD.unpack(_read(source, _HEAD.size))
    return _read(source, size)


def _read(source: IO[bytes], size: int) -> bytes:
    data = source.read(size)
    if len(data) < size:
        raise EOFError("the other end of the pipe is gone")
    return data


Inbox = SimpleQueue[tuple[float, bytes]]
"""Tasks, still packed, with the moment at which each came in."""


def _listen(source: IO[bytes], inbox: Inbox) -> None:
    while True:
        try:
            data = receive(source)
        except (EOFError, OSError):
            os._exit(1)
        inbox.put((time.monotonic(), data))


def main(parent: int) -> None:
    """Answers each task with ("done", result) or ("failed", traceback), after a first ("ready", None)."""
    end_with_parent(parent, by_signal=False)  # it is a thread of the parent that starts this
    inbox: Inbox = SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, inbox), daemon=True).start()
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what anything prints must not mix with the answers

    from chipfit.train.jobs import work

    send(out, ("ready", None))
    while True:
        came, data = inbox.get()
        answer: tuple[str, Any]
        try:
            answer = ("done", work(pickle.loads(data), came))
        except Exception:  # told to the parent, which decides
            answer = ("failed", traceback.format_exc())
        send(out, answer)


if __name__ == "__main__":
    main(int(sys.argv[1]))
