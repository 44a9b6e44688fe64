"""Several training processes that share a list of tasks: one that is lost costs a task a second try, and no more."""

from __future__ import annotations

import math
import os
import pickle
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from chipfit.core.deadline import Deadline
from chipfit.train.worker import receive, send

TRIES = 2
"""How often a task is begun whose process is killed."""

START_S = 120.0
"""Time that a process has to come up, on a busy machine."""

LATE_S = 30.0
"""Seconds beyond a task's time after which its process is given up: one step may take long, but not for ever."""


class Lost(Exception):
    """The process of a task ended; says how."""


class Worker:
    """The parent's end of one training process."""

    def __init__(self) -> None:
        root = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        self.process = subprocess.Popen(
            # -P: a folder of the user's may hold a module with the name of one that it imports
            [sys.executable, "-P", "-m", "chipfit.train.worker", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C is the parent's; the process ends with its input
        )

    def receive(self) -> tuple[str, Any]:
        """The next answer.

        Raises:
            Lost: the process ended before.
        """
        assert self.process.stdout is not None
        try:
            return pickle.loads(receive(self.process.stdout))  # type: ignore[no-any-return]
        except (EOFError, OSError, ValueError) as e:
            raise Lost(self._how()) from e

    def send(self, task: Any) -> None:
        """Hands a task over.

        Raises:
            Lost: the process has ended.
        """
        assert self.process.stdin is not None
        try:
            send(self.process.stdin, task)
        except (OSError, ValueError) as e:
            raise Lost(self._how()) from e

    def _how(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(1.0)
        code = self.process.returncode
        ended = "nothing more" if code is None else f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"its process ended ({ended})"

    @contextmanager
    def killed_after(self, seconds: float) -> Iterator[None]:
        """Ends the process where what is done inside takes longer."""
        if math.isinf(seconds):
            yield
            return
        timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), self.process.kill)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def close(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with suppress(OSError):  # what was still unsent has nowhere to go
                    stream.close()


Task = Callable[[float], Any]
"""Makes what is handed to the process, from the seconds that it may take."""

Answer = tuple[int, str, Any]
"""Number of the task; "done" with its result, "failed" with a traceback, or "lost" with how."""


class Crew:
    """Workers that take tasks off one list, each in a thread that waits for its process."""

    def __init__(self, tasks: Sequence[Task], workers: int, deadline: Deadline) -> None:
        self._tasks, self._size, self._deadline = tasks, workers, deadline
        self._left = deque(range(len(tasks)))
        self._tries = [0] * len(tasks)
        self._lock = threading.Lock()
        self._answers: SimpleQueue[Answer] = SimpleQueue()
        self._workers: set[Worker] = set()
        self._closed = False

    def answers(self) -> Iterator[Answer]:
        """The answer to each task as it comes in."""
        for _ in range(self._size):
            threading.Thread(target=self._serve, daemon=True).start()
        for _ in self._tasks:
            yield self._answers.get()

    def close(self) -> None:
        """Ends all processes."""
        with self._lock:
            self._closed = True
            workers = list(self._workers)
        for worker in workers:
            worker.close()

    def _take(self) -> tuple[int, float] | None:
        """A task that nobody has begun, and its part of the time: those that are left go round by round."""
        with self._lock:
            if self._closed or not self._left:
                return None
            rounds = math.ceil(len(self._left) / self._size)
            n = self._left.popleft()
            self._tries[n] += 1
            return n, self._deadline.left() / rounds

    def _serve(self) -> None:
        worker: Worker | None = None
        while self._open():
            n: int | None = None
            try:
                worker = worker or self._started()
                if (taken := self._take()) is None:
                    break
                n, seconds = taken
                self._answers.put((n, *self._asked(worker, n, seconds)))
            except Lost as e:
                self._dismiss(worker)
                worker = None
                if self._open() or n is not None:
                    self._again(n, str(e))
        self._dismiss(worker)

    def _open(self) -> bool:
        """True while there is a task to begin."""
        with self._lock:
            return bool(self._left) and not self._closed

    def _started(self) -> Worker:
        """A process that is ready: its start is not in any task's time."""
        worker = Worker()
        with self._lock:
            self._workers.add(worker)
            closed = self._closed
        if closed:
            worker.close()
        try:
            with worker.killed_after(START_S):
                worker.receive()
        except Lost:
            self._dismiss(worker)
            raise
        return worker

    def _asked(self, worker: Worker, n: int, seconds: float) -> tuple[str, Any]:
        with worker.killed_after(seconds + LATE_S):
            worker.send(self._tasks[n](seconds))
            return worker.receive()

    def _again(self, n: int | None, how: str) -> None:
        """Puts a task back whose process was lost, or answers it; one that could not even start costs the first."""
        with self._lock:
            if n is None:
                if not self._left:
                    return
                n = self._left.popleft()
                self._tries[n] += 1
            if self._tries[n] < TRIES:
                self._left.appendleft(n)
                return
        self._answers.put((n, "lost", how))

    def _dismiss(self, worker: Worker | None) -> None:
        if worker is not None:
            worker.close()
            with self._lock:
                self._workers.discard(worker)
